"""Augmentations that mix a batch, on the device: pure functions, then what configs name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import nn

from refaug_det.errors import UserError

Mixed = tuple[torch.Tensor, torch.Tensor]
Lambda = float | torch.Tensor  # of the batch, or (B,) of every sample
Passed = tuple[torch.Tensor, torch.Tensor, bool]  # logits (B, K), targets (B, K), mixed?
PAIRINGS = ('permutation', 'reversed')


def interpolate(values: torch.Tensor, lam: Lambda, partner: torch.Tensor) -> torch.Tensor:
    """Convex combination of each of (B, ...) values with its partner's; `lam` weighs its own."""
    if isinstance(lam, torch.Tensor):
        lam = lam.to(values).view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values[partner], values, lam)


def mixup(images: torch.Tensor, targets: torch.Tensor, lam: Lambda,
          partner: torch.Tensor) -> Mixed:
    """Convex combination of a batch with a permutation of itself.

    Args:
        images: (B, 3, H, W), normalised; not changed.
        targets: (B, K), rows sum to one; not changed.
        lam: weight of the image itself, in [0, 1]; of the batch, or (B,).
        partner: (B,) int64, index of each image's partner.

    Returns:
        Mixed images and targets, of the same shapes.

    Source: Zhang et al. 2018, eq. 2.
    """
    return interpolate(images, lam, partner), interpolate(targets, lam, partner)


def cutmix_box(height: int, width: int, lam: float,
               centre: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rectangle (y1, y2, x1, x2) of area share 1 - lam, clipped at the border.

    Source: Yun et al. 2019, eq. 2.
    """
    cut_h, cut_w = int(height * math.sqrt(1 - lam)), int(width * math.sqrt(1 - lam))
    y, x = centre
    return (max(y - cut_h // 2, 0), min(y + cut_h // 2, height),
            max(x - cut_w // 2, 0), min(x + cut_w // 2, width))


def cutmix(images: torch.Tensor, targets: torch.Tensor, box: tuple[int, int, int, int],
           partner: torch.Tensor) -> Mixed:
    """Paste a rectangle of each image's partner; targets mix by the area really pasted.

    Args:
        images: (B, 3, H, W); not changed.
        targets: (B, K), rows sum to one; not changed.
        box: (y1, y2, x1, x2) in pixels, half-open, within the image.
        partner: (B,) int64.

    Source: Yun et al. 2019; lambda recomputed from the clipped box, as in its code.
    """
    y1, y2, x1, x2 = box
    mixed = images.clone()
    mixed[:, :, y1:y2, x1:x2] = images[partner, :, y1:y2, x1:x2]
    lam = 1 - (y2 - y1) * (x2 - x1) / (images.shape[-2] * images.shape[-1])
    return mixed, torch.lerp(targets[partner], targets, lam)


class BatchAugment(nn.Module):
    """Base of the batch augments: decides per batch whether to act, and draws.

    Args:
        alpha: of Beta(alpha, alpha), from which lambda is drawn; > 0.
        probability: share of batches that are mixed, in [0, 1].

    Raises:
        UserError: out of range.
    """

    def __init__(self, alpha: float, probability: float = 1.0) -> None:
        super().__init__()
        if not 0 < alpha < math.inf or not 0 <= probability <= 1:
            raise UserError(f'alpha {alpha}, probability {probability}', type(self).__name__,
                            'alpha is above 0, a probability in [0, 1]')
        self.alpha, self.probability = alpha, probability

    def forward(self, images: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator,
                strength: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Mix a batch; also says whether it did.

        Args:
            images: (B, 3, H, W).
            targets: (B, K).
            rng: every draw comes from it.
            strength: in [0, 1], of gradual weakening; 0 never mixes.
        """
        if strength <= 0 or rng.random() >= self.chance(strength):
            return images, targets, False
        lam = self.draw_lambda(len(images), strength, rng)
        partner = self.draw_partner(len(images), rng).to(images.device)
        return *self.mix(images, targets, lam, partner, rng), True

    def through(self, network: nn.Module, images: torch.Tensor, targets: torch.Tensor,
                rng: np.random.Generator, strength: float = 1.0) -> Passed:
        """Mix a batch and pass it through a network: logits, targets, and whether it was mixed."""
        images, targets, mixed = self(images, targets, rng, strength)
        return network(images), targets, mixed

    def draw_lambda(self, batch: int, strength: float, rng: np.random.Generator) -> Lambda:
        return float(rng.beta(*2 * [self.concentration(strength)]))

    def draw_partner(self, batch: int, rng: np.random.Generator) -> torch.Tensor:
        return torch.from_numpy(rng.permutation(batch))

    def chance(self, strength: float) -> float:
        return self.probability

    def concentration(self, strength: float) -> float:
        return self.alpha

    def mix(self, images: torch.Tensor, targets: torch.Tensor, lam: Lambda,
            partner: torch.Tensor, rng: np.random.Generator) -> Mixed:
        raise NotImplementedError


@MODELS.register_module()
class RefAugMixup(BatchAugment):
    """Mixup. Weakened, its alpha shrinks.

    Args:
        alpha: of Beta(alpha, alpha), from which lambda is drawn; > 0.
        probability: share of batches that are mixed, in [0, 1].
        per_sample: a lambda of its own for every image, instead of one a batch.
        pairing: `permutation`, a random one a batch, or `reversed`: the first
            image with the last, and so on.

    Raises:
        UserError: out of range, or no such pairing.

    Source: Zhang et al. 2018; the defaults are their code's.
    """

    def __init__(self, alpha: float, probability: float = 1.0, per_sample: bool = False,
                 pairing: str = 'permutation') -> None:
        super().__init__(alpha, probability)
        if pairing not in PAIRINGS:
            raise UserError(f'pairing {pairing!r}', type(self).__name__,
                            f'it is one of {", ".join(PAIRINGS)}')
        self.per_sample, self.pairing = per_sample, pairing

    def concentration(self, strength: float) -> float:
        return self.alpha * strength

    def draw_lambda(self, batch: int, strength: float, rng: np.random.Generator) -> Lambda:
        if not self.per_sample:
            return super().draw_lambda(batch, strength, rng)
        return torch.from_numpy(rng.beta(*2 * [self.concentration(strength)], size=batch))

    def draw_partner(self, batch: int, rng: np.random.Generator) -> torch.Tensor:
        if self.pairing == 'reversed':
            return torch.arange(batch - 1, -1, -1)
        return super().draw_partner(batch, rng)

    def mix(self, images: torch.Tensor, targets: torch.Tensor, lam: Lambda,
            partner: torch.Tensor, rng: np.random.Generator) -> Mixed:
        return mixup(images, targets, lam, partner)


@MODELS.register_module()
class RefAugCutMix(BatchAugment):
    """CutMix: one box and one permutation a batch. Weakened, it acts more rarely."""

    def __init__(self, alpha: float = 1.0, probability: float = 0.5) -> None:
        super().__init__(alpha, probability)

    def chance(self, strength: float) -> float:
        return self.probability * strength

    def mix(self, images: torch.Tensor, targets: torch.Tensor, lam: float,
            partner: torch.Tensor, rng: np.random.Generator) -> Mixed:
        height, width = images.shape[-2:]
        centre = int(rng.integers(height)), int(rng.integers(width))
        return cutmix(images, targets, cutmix_box(height, width, lam, centre), partner)


def through_one(augments: Sequence[BatchAugment], network: nn.Module, images: torch.Tensor,
                targets: torch.Tensor, rng: np.random.Generator, strength: float) -> Passed:
    """One of several batch augments, drawn uniformly, and the network.

    Returns:
        Logits, targets, and whether the batch was mixed; never where the list is empty.
    """
    if not augments:
        return network(images), targets, False
    augment = augments[int(rng.integers(len(augments)))]
    return augment.through(network, images, targets, rng, strength)
