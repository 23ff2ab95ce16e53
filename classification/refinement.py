"""Refinement (He et al. 2019): the last epochs train without intensive augmentation.

The phase is derived from the epoch, never stored, so a resumed run is in the
right phase by construction. The epoch reaches the workers with every sample
index (`refaug_det.runs.randomness.SampleKey`), so no worker can miss the switch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from refaug_det.errors import UserError
from refaug_det.runs import files
from refaug_det.runs.checkpoints import unwrapped
from refaug_det.runs.randomness import leaves

AUGMENTED, REFINEMENT = 'augmented', 'refinement'
AUGMENTED_WEIGHTS = 'weights_augmented.safetensors'


@dataclass(frozen=True)
class Phases:
    """T1 augmented epochs, then T2 epochs of refinement.

    Attributes:
        start: first epoch (from 0) of the refinement phase, T1.
    """

    start: int

    def of(self, epoch: int) -> str:
        return REFINEMENT if epoch >= self.start else AUGMENTED

    def strength(self, epoch: int) -> float:
        """Strength of every augmentation in an epoch, in [0, 1]: a step."""
        return 0.0 if epoch >= self.start else 1.0


@HOOKS.register_module()
class RefAugRefinementHook(Hook):
    """Switches all augmentation off for the last epochs, and proves it on the samples.

    Args:
        epochs: T2, how many of `train_cfg.max_epochs` are refinement; 0 for none.
        lr: constant learning rate of the refinement; by default the last rate
            of the augmented phase goes on.

    At the end of the augmented phase the backbone's weights (the network's,
    where it is no detector backbone) are kept in
    `weights_augmented.safetensors`: one run yields both cells of a paper row.

    Raises:
        UserError: more refinement epochs than epochs; a data set that knows
            nothing of phases.
        RuntimeError: an augmented sample reached the network in refinement.
    """

    priority = 'BELOW_NORMAL'  # after buffers are synchronised, before history and checkpoint

    def __init__(self, epochs: int, lr: float | None = None) -> None:
        self.epochs, self.lr = epochs, lr

    def before_train(self, runner: Any) -> None:
        if not 0 <= self.epochs <= runner.max_epochs:
            raise UserError(f'{self.epochs} refinement epochs of {runner.max_epochs}',
                            'RefAugRefinementHook.epochs', 'train_cfg.max_epochs is T1 + T2')
        self.phases = Phases(runner.max_epochs - self.epochs)
        datasets = list(leaves(runner.train_loop.dataset))
        if not all(hasattr(dataset, 'strength') for dataset in datasets):
            raise UserError('this data set cannot switch its augmentation off',
                            type(datasets[0]).__name__, 'use RefAugImageFolder, or give your '
                            'data set epoch and strength, and its samples augmented')
        for dataset in datasets:
            dataset.strength = self.phases.strength

    def before_train_epoch(self, runner: Any) -> None:
        model = unwrapped(runner.model)
        model.strength = self.phases.strength(runner.epoch)
        model.seen = model.seen_augmented = 0
        runner.message_hub.update_info('phase', self.phases.of(runner.epoch))
        if runner.epoch == self.phases.start and self.epochs:
            runner.logger.info(f'refinement begins: augmentation off, rate {self.lr or "kept"}')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self.lr is not None and self.phases.of(runner.epoch) == REFINEMENT:
            for group in runner.optim_wrapper.param_groups:
                group['lr'] = self.lr

    def after_train_epoch(self, runner: Any) -> None:
        model = unwrapped(runner.model)
        share = model.seen_augmented / max(model.seen, 1)
        runner.message_hub.update_info('augmented_share', share)
        if share and self.phases.of(runner.epoch) == REFINEMENT:
            raise RuntimeError(f'{model.seen_augmented} of {model.seen} samples that reached the '
                               f'network in epoch {runner.epoch + 1}, of the refinement, were '
                               'augmented, or did not say that they were not')
        if self.epochs and runner.epoch + 1 == self.phases.start and is_main_process():
            _save_weights(Path(runner.work_dir) / AUGMENTED_WEIGHTS, model)


def _save_weights(path: Path, model: Any) -> None:
    from safetensors.torch import save
    network = model.network
    state = getattr(network, 'backbone_state', network.state_dict)()
    files.write_bytes(path, save({k: v.detach().cpu().contiguous() for k, v in state.items()}))
