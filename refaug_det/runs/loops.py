"""The training loop: mmengine's, with keyed randomness and resume inside an epoch."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS, LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import BatchSampler, DataLoader

from refaug_det.errors import UserError
from refaug_det.runs import history, signals
from refaug_det.runs.randomness import (
    KeyedDataset,
    RefAugKeyedSampler,
    ResumableBatches,
    seed_from,
)

_GIVE_WAY = (None, 'DefaultSampler', 'InfiniteSampler', 'RefAugKeyedSampler')


def keyed_dataloader(cfg: dict, seed: int, rank: int = 0, world_size: int = 1) -> DataLoader:
    """Build a training dataloader whose every draw is keyed on (seed, epoch, index).

    Args:
        cfg: an mmengine dataloader config; not changed. Its sampler gives way
            to the keyed one (`shuffle` is kept); a `batch_sampler` (mmdet's
            grouping by aspect ratio) is kept, fed by the keyed sampler.
        seed: seed of the run.
        rank, world_size: this process among all.

    Raises:
        UserError: a sampler that does more than shuffle.
    """
    cfg = without_idle_options(cfg)
    dataset = DATASETS.build(cfg.pop('dataset'))
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    keyed = KeyedDataset(dataset, seed)
    given = cfg.pop('sampler', None) or {}
    if given.get('type') not in _GIVE_WAY:
        raise UserError(f'{given["type"]} would be ignored: samples are drawn by the keyed sampler',
                        'train_dataloader.sampler', 'leave it out, or use DefaultSampler')
    shuffle = given.get('shuffle', True)
    sampler = RefAugKeyedSampler(keyed, seed, shuffle, rank, world_size)
    batch_size, drop_last = cfg.pop('batch_size'), cfg.pop('drop_last', False)
    grouping = cfg.pop('batch_sampler', None)
    batches: Any = BatchSampler(sampler, batch_size, drop_last)
    if grouping is not None:
        batches = DATA_SAMPLERS.build(
            grouping, default_args=dict(sampler=sampler, batch_size=batch_size))
    collate = dict(cfg.pop('collate_fn', None) or dict(type='pseudo_collate'))
    collate_fn = partial(FUNCTIONS.get(collate.pop('type')), **collate)
    return signals.spare_workers(DataLoader(
        keyed, batch_sampler=ResumableBatches(batches), collate_fn=collate_fn, **cfg))


def without_idle_options(cfg: dict) -> dict:
    """A copy of a dataloader config without the options of workers where it has none.

    torch refuses `persistent_workers` and `prefetch_factor` with `num_workers=0`.
    """
    idle = () if cfg.get('num_workers') else ('persistent_workers', 'prefetch_factor')
    return {key: value for key, value in cfg.items() if key not in idle}


def end_workers(loader: Any) -> None:
    """End persistent workers; left to the garbage collector, each may take seconds to end."""
    iterator = getattr(loader, '_iterator', None)
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None


@LOOPS.register_module()
class RefAugTrainLoop(EpochBasedTrainLoop):
    """Epochs of keyed samples; one iteration is one update of the weights.

    Args:
        max_epochs: length of the run; left out where `max_iters` is given.
        micro_batch: most images a device sees at once. A larger batch goes
            through in equal parts whose gradients add up before the update,
            so an epoch never ends inside an accumulation.
        max_iters: updates after which the run ends, its last epoch cut short.
        As mmengine's `EpochBasedTrainLoop` for the rest. The dataloader config
        goes through `keyed_dataloader`: any data set of any OpenMMLab config.
    """

    def __init__(self, runner: Any, dataloader: dict, max_epochs: int | None = None,
                 micro_batch: int | None = None, max_iters: int | None = None,
                 **kwargs: Any) -> None:
        if (max_epochs is None) == (max_iters is None):
            raise UserError(f'max_epochs={max_epochs} and max_iters={max_iters}', 'train_cfg',
                            'give one of them')
        loader = keyed_dataloader(dataloader, runner.seed, get_rank(), get_world_size())
        epochs = max_epochs if max_iters is None else -(-max_iters // len(loader))
        super().__init__(runner, loader, epochs, **kwargs)
        self.micro_batch = micro_batch
        if max_iters is not None:
            self._max_iters = max_iters

    @property
    def dataset(self) -> Any:
        """The training dataset inside the keyed wrapper."""
        return self.dataloader.dataset.dataset

    def run(self) -> Any:
        """As mmengine's; a run that was stopped in a validation makes up for it."""
        runner = self.runner
        runner.call_hook('before_train')
        after_epoch = self._epoch and self._iter == min(
            self._epoch * len(self.dataloader), self._max_iters)
        if after_epoch and not history.test_metrics(history.row(runner.work_dir, self._epoch)):
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        runner.call_hook('after_train')
        return runner.model

    def run_epoch(self) -> None:
        """One epoch, without the batches that a resumed run has already done."""
        done = self._iter - self._epoch * len(self.dataloader)
        batches = self.dataloader.batch_sampler
        batches.skip = done
        batches.batches.sampler.set_epoch(self._epoch)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, data_batch in enumerate(self.dataloader, start=done):
            if self._iter >= self._max_iters:
                break
            seed_from(self.runner.seed, 'iteration', self._iter, get_rank())
            self.run_iter(number, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """One update, from one or several forward and backward passes."""
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        parts = micro_batches(data_batch, self.micro_batch)
        self._count_parts(len(parts))
        outputs: dict[str, Any] = {}
        for part in parts:
            for name, value in runner.model.train_step(part, runner.optim_wrapper).items():
                outputs[name] = outputs.get(name, 0) + value.detach() / len(parts)
        runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch,
                         outputs=outputs)
        self._iter += 1

    def _validate(self) -> None:
        """Where it is due after the epoch that has ended."""
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()

    def _count_parts(self, parts: int) -> None:
        """Tell mmengine's OptimWrapper to update after exactly `parts` backward passes."""
        optim = self.runner.optim_wrapper
        optim._accumulative_counts = optim._max_counts = parts
        optim._inner_count = optim._remainder_counts = 0


def micro_batches(batch: dict, most: int | None) -> list[dict]:
    """Split a collated batch (a dict of tensors or lists) into parts of nearly equal size.

    Args:
        batch: every value indexable along the images.
        most: images a part may have; None for one part.
    """
    size = len(next(iter(batch.values())))
    count = 1 if most is None else max(1, -(-size // most))
    if count == 1:
        return [batch]
    edges = [size * i // count for i in range(count + 1)]
    return [{key: value[a:b] for key, value in batch.items()}
            for a, b in pairwise(edges)]
