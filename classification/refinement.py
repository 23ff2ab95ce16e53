"""Refinement (He et al. 2019): the last epochs train without intensive augmentation.

The phase is derived from the epoch, never stored, so a resumed run is in the
right phase by construction. The epoch reaches the workers with every sample
index (`refaug_det.runs.randomness.SampleKey`), so no worker can miss the switch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from classification.transforms import Pipeline
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
        weaken: over how many epochs before it the augmentation fades.
    """

    start: int
    weaken: int = 0

    def of(self, epoch: int) -> str:
        return REFINEMENT if epoch >= self.start else AUGMENTED

    def strength(self, epoch: int) -> float:
        """Strength of every augmentation in an epoch, in [0, 1]: a step, or a linear ramp.

        Source: He et al. 2019, section 4.1 ("weaken the intensity ... gradually").
        """
        return min(1.0, max(0.0, (self.start - epoch) / (self.weaken + 1)))


def cosine(lr: float, progress: float) -> float:
    """Learning rate that falls from `lr` to 0 along half a cosine; `progress` in [0, 1]."""
    return lr * (1 + math.cos(math.pi * progress)) / 2


@HOOKS.register_module()
class RefAugRefinementHook(Hook):
    """Switches all augmentation off for the last epochs, and proves it on the samples.

    Args:
        epochs: T2, how many of `train_cfg.max_epochs` are refinement; 0 for none.
        lr: learning rate of the refinement; by default the last rate of the
            augmented phase goes on.
        schedule: `constant`, or `cosine` from `lr` to 0 (the paper's future work).
        weaken: over how many epochs before the switch the augmentation fades
            linearly (Mixup's alpha, the others' probability).
        pipeline: transforms of the refinement; by default those of training
            without its augmentations. `[]` removes the standard crop and flip
            too (the paper's ablation).
        optimizer_state: momentum buffers at the switch: `carried` or `reset`.

    At the end of the augmented phase the network's weights are kept in
    `weights_augmented.safetensors`: one run yields both cells of a paper row.

    Raises:
        UserError: epochs out of range; cosine without a rate; no such schedule
            or state; a data set that knows nothing of phases.
        RuntimeError: an augmented sample reached the network in refinement.
    """

    priority = 'BELOW_NORMAL'  # after buffers are synchronised, before history and checkpoint

    def __init__(self, epochs: int, lr: float | None = None, schedule: str = 'constant',
                 weaken: int = 0, pipeline: Sequence[dict] | None = None,
                 optimizer_state: str = 'carried') -> None:
        for name, value, known in (('schedule', schedule, ('constant', 'cosine')),
                                   ('optimizer_state', optimizer_state, ('carried', 'reset'))):
            if value not in known:
                raise UserError(f'{name} {value!r}', f'RefAugRefinementHook.{name}',
                                f'it is {" or ".join(known)}')
        numbers = dict(epochs=epochs, weaken=weaken, lr=0 if lr is None else lr)
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
                    math.isfinite(value)) or value < 0 or (name != 'lr' and value != int(value)):
                raise UserError(f'{name} {value!r}', f'RefAugRefinementHook.{name}',
                                'a rate of 0 or more, whole numbers of epochs')
        if schedule == 'cosine' and lr is None:
            raise UserError('a cosine without a rate to begin at', 'RefAugRefinementHook.lr',
                            'set lr')
        self.epochs, self.lr, self.schedule, self.weaken = epochs, lr, schedule, weaken
        self.optimizer_state = optimizer_state
        self.restored: dict[str, int] = {}
        self.pipeline = None if pipeline is None else Pipeline(pipeline)

    def before_run(self, runner: Any) -> None:
        for group in runner.optim_wrapper.param_groups:
            group.setdefault('initial_lr', group['lr'])  # kept in checkpoints

    def before_train(self, runner: Any) -> None:
        self.model = unwrapped(runner.model)
        self._refuse(runner)
        if not 0 <= self.epochs <= runner.max_epochs:
            raise UserError(f'{self.epochs} refinement epochs of {runner.max_epochs}',
                            'RefAugRefinementHook.epochs', 'train_cfg.max_epochs is T1 + T2')
        self.phases = Phases(runner.max_epochs - self.epochs, self.weaken)
        if not 0 <= self.weaken < max(self.phases.start, 1):
            raise UserError(f'augmentation that fades over {self.weaken} of '
                            f'{self.phases.start} augmented epochs', 'RefAugRefinementHook.weaken',
                            'at least one epoch is at full strength')
        datasets = list(leaves(runner.train_loop.dataset))
        if not all(hasattr(dataset, 'strength') for dataset in datasets):
            raise UserError('this data set cannot switch its augmentation off',
                            type(datasets[0]).__name__, 'subclass classification.datasets.'
                            'LabelledImages, or give yours epoch, strength, and augmented samples')
        for dataset in datasets:
            dataset.strength = self.phases.strength
            if self.pipeline is not None:
                _refuse_sizes(dataset, self.pipeline)
                dataset.pipeline.in_refinement = self.pipeline

    def before_train_epoch(self, runner: Any) -> None:
        model = unwrapped(runner.model)
        model.strength = self.phases.strength(runner.epoch)
        model.seen = self.restored.pop('seen', 0)
        model.seen_augmented = self.restored.pop('seen_augmented', 0)
        runner.message_hub.update_info('phase', self.phases.of(runner.epoch))
        if runner.epoch != self.phases.start or not self.epochs:
            return
        runner.logger.info(f'refinement begins: augmentation off, rate '
                           f'{"kept" if self.lr is None else self.lr}')
        # a run resumed inside this epoch has had its reset
        if self.optimizer_state == 'reset' and runner.iter == self._begin(runner):
            runner.optim_wrapper.optimizer.state.clear()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self.lr is None or self.phases.of(runner.epoch) != REFINEMENT:
            return
        begin = self._begin(runner)
        progress = (runner.iter - begin) / (runner.max_iters - begin)
        rate = self.lr if self.schedule == 'constant' else cosine(self.lr, progress)
        base = runner.optim_wrapper.optimizer.defaults['lr']
        for group in runner.optim_wrapper.param_groups:  # paramwise_cfg's multiples are kept
            group['lr'] = rate * (group['initial_lr'] / base if base else 1)

    def after_train_epoch(self, runner: Any) -> None:
        model = unwrapped(runner.model)
        share = model.seen_augmented / max(model.seen, 1)
        runner.message_hub.update_info('augmented_share', share)
        if share and self.phases.of(runner.epoch) == REFINEMENT:
            raise RuntimeError(f'{model.seen_augmented} of {model.seen} samples that reached the '
                               f'network in epoch {runner.epoch + 1}, of the refinement, were '
                               'augmented, or did not say that they were not')
        if self.epochs and runner.epoch + 1 == self.phases.start and is_main_process():
            _save_weights(Path(runner.work_dir) / AUGMENTED_WEIGHTS, model.network)
        model.seen = model.seen_augmented = 0

    def state_dict(self) -> dict[str, int]:
        """For checkpoints inside an epoch: what has reached the network in it."""
        return dict(seen=self.model.seen, seen_augmented=self.model.seen_augmented)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.restored = dict(state)

    def _refuse(self, runner: Any) -> None:
        """What would go wrong at the switch only, after all augmented epochs."""
        hooks = sum(isinstance(hook, RefAugRefinementHook) for hook in runner.hooks)
        if hooks > 1:
            raise UserError(f'{hooks} refinements in one run', 'custom_hooks', 'leave one')
        falls = [type(one).__name__ for one in runner.param_schedulers or []
                 if type(one).__name__.startswith('Cosine')]
        if self.lr is None and falls and 0 < self.epochs < runner.max_epochs:
            raise UserError(f'after {falls[0]} the last rate is next to nothing',
                            'RefAugRefinementHook.lr', 'set lr (the paper: "reasonably small")')

    def _begin(self, runner: Any) -> int:
        """The first iteration of the refinement."""
        return self.phases.start * len(runner.train_dataloader)


def _refuse_sizes(dataset: Any, pipeline: Pipeline) -> None:
    """Look at some images for what would else stop the first batch of the refinement."""
    if not hasattr(dataset, 'read') or not hasattr(dataset, 'pipeline'):
        raise UserError('this data set takes no pipeline for the refinement',
                        type(dataset).__name__, 'subclass classification.datasets.LabelledImages')
    count = len(dataset)
    some = sorted({count * part // 16 for part in range(16)}) if count else []
    shapes = {tuple(pipeline(dataset.read(index)[0], 0.0)[0].shape) for index in some}
    if len(shapes) > 1:
        raise UserError(f'images of the refinement would differ in size: {sorted(shapes)[:3]}',
                        'RefAugRefinementHook.pipeline', 'end it with a crop or resize to one size')


def _save_weights(path: Path, network: Any) -> None:
    from safetensors.torch import save
    files.write_bytes(path, save({key: value.detach().cpu().contiguous()
                                  for key, value in network.state_dict().items()}))
