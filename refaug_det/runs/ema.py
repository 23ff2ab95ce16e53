"""Exponential moving average of the weights, evaluated and exported in place of the last ones."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from refaug_det.errors import UserError
from refaug_det.runs.checkpoints import unwrapped


@HOOKS.register_module()
class RefAugEMAHook(Hook):
    """Averages the weights over the updates: average <- average + momentum (weights - average).

    From the end of an epoch's training to the begin of the next, the model holds
    the average: validation, the kept weights of the augmented phase, the
    checkpoint of the epoch and the exported backbone all are of the averaged
    weights. The optimiser goes on with the live ones. Buffers (the running
    statistics of batch norm) are not averaged: they are the live model's. The
    average begins anew with the refinement: it would else carry weights of the
    augmented phase through it.

    Args:
        momentum: weight of the newest weights, in (0, 1); 1 - momentum is
            called the decay elsewhere. The average begins as the weights
            after the first update.

    Raises:
        UserError: momentum out of range.
    """

    priority = 'NORMAL'  # before the refinement hook keeps weights and the checkpoint is saved

    def __init__(self, momentum: float = 1e-4) -> None:
        if not 0 < momentum < 1:
            raise UserError(f'momentum {momentum}', 'RefAugEMAHook.momentum',
                            'it is in (0, 1), such as 1e-4 for a decay of 0.9999')
        self.momentum = momentum
        self.phase: str | None = None
        self.swapped = False  # does the model hold the average, and `average` the live weights?

    def before_run(self, runner: Any) -> None:
        self.model = unwrapped(runner.model)
        self.average = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(1 - self.momentum))

    def before_train_epoch(self, runner: Any) -> None:
        if self.swapped:
            self._swap()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        phase = runner.message_hub.runtime_info.get('phase')
        if phase != self.phase:
            self.average.n_averaged.zero_()  # the next update is the first
            self.phase = phase
        self.average.update_parameters(self.model)

    def after_train_epoch(self, runner: Any) -> None:
        self._swap()

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: the weights that the model does not hold, and which these are."""
        return dict(swapped=self.swapped, phase=self.phase, average=self.average.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.swapped, self.phase = state['swapped'], state['phase']
        self.average.load_state_dict(state['average'])

    @torch.no_grad()
    def _swap(self) -> None:
        for average, live in zip(self.average.module.parameters(), self.model.parameters(),
                                 strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)
        self.swapped = not self.swapped
