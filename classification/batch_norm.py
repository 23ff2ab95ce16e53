"""Batch-norm statistics re-estimated with the weights left alone: a control arm.

Refinement changes weights and statistics at once. An arm that re-estimates the
statistics on clean images, without an update, tells which of the two did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from refaug_det.errors import UserError
from refaug_det.runs.checkpoints import unwrapped


def norms(network: nn.Module) -> list[_BatchNorm]:
    """The batch-norm layers of a network that keep running statistics."""
    return [module for module in network.modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats]


@contextmanager
def averaging(network: nn.Module, begin: bool = True) -> Iterator[None]:
    """Within, running statistics are the mean over all batches seen in training mode.

    Args:
        network: outside, its momenta are as before.
        begin: forget what was averaged before.
    """
    layers = norms(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = None  # torch's word for a cumulative average
        if begin:
            layer.reset_running_stats()
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@torch.no_grad()
def reestimate(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace the running statistics by their mean over some batches.

    Args:
        network: only its buffers change; it is left in the mode it was in.
        batches: (B, 3, H, W) each, normalised. Every batch weighs the same.

    Source: as `torch.optim.swa_utils.update_bn`.
    """
    mode = network.training
    network.train()
    try:
        with averaging(network):
            for images in batches:
                network(images)
    finally:
        network.train(mode)


@OPTIM_WRAPPERS.register_module()
class RefAugNoUpdate(OptimWrapper):
    """An optimizer wrapper under which training passes batches through, and updates nothing."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with torch.no_grad():
            yield

    def update_params(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


@HOOKS.register_module()
class RefAugBatchNormHook(Hook):
    """Lets a run average batch-norm statistics over all its batches.

    With `RefAugNoUpdate` and an epoch of refinement it is the control arm.

    Raises:
        UserError: the network has no batch norm to re-estimate.
    """

    def before_train(self, runner: Any) -> None:
        network = unwrapped(runner.model).network
        if not norms(network):
            raise UserError('the network keeps no batch-norm statistics',
                            type(network).__name__, 'there is nothing to re-estimate')
        self._within = averaging(network, begin=runner.iter == 0)  # a resumed run goes on
        self._within.__enter__()

    def after_train(self, runner: Any) -> None:
        self._within.__exit__(None, None, None)
