"""A loss that is not finite ends the run before the update: no such number reaches a weight.

A weight can become infinite where the loss is not: no epoch and no checkpoint
(`checkpoints.save`) ends with one.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from refaug_det.errors import UserError
from refaug_det.runs.checkpoints import refuse_not_finite, unwrapped

IDS_SHOWN = 4


class FiniteLossHook(Hook):
    """Looks at every loss between the forward pass and the backward pass.

    The runner registers it; it changes nothing while losses are finite.

    Raises:
        UserError: with the iteration, the parts of the loss, and the images; or
            with a weight that is not finite at the end of an epoch.
    """

    priority = 'VERY_HIGH'  # at an epoch's end, before anything of it is kept

    def before_train(self, runner: Any) -> None:
        model: Any = unwrapped(runner.model)
        self.model, parse = model, model.parse_losses

        def checked(losses: dict) -> tuple[torch.Tensor, dict]:
            loss, parts = parse(losses)
            if not torch.isfinite(loss):
                shown = ', '.join(f'{name} {float(value.detach()):.4g}'
                                  for name, value in parts.items())
                raise UserError(f'the loss is not finite in iteration {runner.iter + 1} (epoch '
                                f'{runner.epoch + 1}): {shown}', f'images {self.ids}',
                                'no update was made of it: lower the rate, or check these images')
            return loss, parts

        model.parse_losses = checked

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.ids = _ids(data_batch or {})

    def after_train_epoch(self, runner: Any) -> None:
        refuse_not_finite(runner, runner.iter)

    def close(self) -> None:
        """Give the model's own function back; the runner calls this however training ends."""
        if hasattr(self, 'model'):
            self.model.__dict__.pop('parse_losses', None)


def _ids(batch: dict) -> str:
    """The first few images of a batch: mmdet's ids, or numbers in the training data."""
    ids = [getattr(sample, 'img_id', '?') for sample in batch.get('data_samples', ())]
    if not ids and 'index' in batch:
        ids = [int(index) for index in batch['index']]
    more = f' and {len(ids) - IDS_SHOWN} more' if len(ids) > IDS_SHOWN else ''
    return (', '.join(map(str, ids[:IDS_SHOWN])) or 'unknown') + more
