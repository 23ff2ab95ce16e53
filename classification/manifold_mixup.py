"""Manifold Mixup (Verma et al. 2019): Mixup of hidden states, at a depth drawn per batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import nn

from classification.batch_augments import Lambda, Passed, RefAugMixup, interpolate
from refaug_det.errors import UserError


@contextmanager
def mixing_after(module: nn.Module, lam: Lambda, partner: torch.Tensor) -> Iterator[None]:
    """Within, the module's output (B, ...) is mixed with its partners'.

    Args:
        module: anywhere in a network; called once within.
        lam: weight of the sample's own hidden state, in [0, 1]; of the batch, or (B,).
        partner: (B,) int64, index of each sample's partner.

    Raises:
        RuntimeError: the module was not called exactly once: then targets and
            hidden states would not be mixed alike.
    """
    calls = 0

    def mixed(module: nn.Module, inputs: tuple, hidden: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return interpolate(hidden, lam, partner)

    handle = module.register_forward_hook(mixed)
    try:
        yield
    finally:
        handle.remove()
    if calls != 1:
        raise RuntimeError(f'the mix point {type(module).__name__} was called {calls} times')


@MODELS.register_module()
class RefAugManifoldMixup(RefAugMixup):
    """Manifold Mixup: as Mixup, but at a point of the network that is drawn per batch.

    Args:
        alpha, probability, per_sample, pairing: see `RefAugMixup`.
        points: 0 is the input, i > 0 the output of the network's
            `mix_points[i - 1]` (`layer1`, `layer2`).

    Called without a network (`forward`), it mixes at the input. Weakened, its
    alpha shrinks.

    Raises:
        UserError: no points, or one below 0.

    Source: Verma et al. 2019, section 2. Their code trains with binary cross
    entropy on the softmax: `criterion='softmax_bce'` of `RefAugClassifier`.
    """

    def __init__(self, alpha: float = 1.0, probability: float = 1.0, per_sample: bool = False,
                 pairing: str = 'permutation', points: Sequence[int] = (0, 1, 2)) -> None:
        super().__init__(alpha, probability, per_sample, pairing)
        if not points or min(points) < 0:
            raise UserError(f'points {tuple(points)}', type(self).__name__,
                            '0 for the input, 1 and more for mix points of the network')
        self.points = tuple(points)

    def through(self, network: nn.Module, images: torch.Tensor, targets: torch.Tensor,
                rng: np.random.Generator, strength: float = 1.0) -> Passed:
        """Pass a batch through a network that mixes it at one point.

        Args:
            network: has `mix_points`, unless the only point is the input.
            images: (B, 3, H, W); not changed.
            targets: (B, K); not changed.
            rng: every draw comes from it; the point comes last, so that at
                the input this is Mixup with the same draws.
            strength: in [0, 1], of gradual weakening; 0 never mixes.

        Raises:
            UserError: the network has no such mix point.
        """
        modules = (None, *getattr(network, 'mix_points', ()))
        if max(self.points) >= len(modules):
            raise UserError(f'mix point {max(self.points)} of {type(network).__name__}, which has '
                            f'{len(modules) - 1}', f'{type(self).__name__}.points', 'name fewer '
                            'points, or a network with more (RefAugTimm: mix_points)')
        if strength <= 0 or rng.random() >= self.chance(strength):
            return network(images), targets, False
        lam = self.draw_lambda(len(images), strength, rng)
        partner = self.draw_partner(len(images), rng).to(images.device)
        module = modules[self.points[int(rng.integers(len(self.points)))]]
        targets = interpolate(targets, lam, partner)
        if module is None:
            return network(interpolate(images, lam, partner)), targets, True
        with mixing_after(module, lam, partner):
            return network(images), targets, True
