"""Randomness keyed on (seed, epoch, index): no generator state, nothing to restore.

Every random draw of a run is a pure function of the seed and of where in the
run it happens. So final weights do not depend on the number of workers, on
their persistence, or on where the run was interrupted and resumed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Dataset, Sampler


class SampleKey(NamedTuple):
    """What the sampler hands to the workers: the epoch travels with the index."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here


def key(*parts: int | str) -> int:
    """A 64-bit integer in [0, 2**64), a stable hash of `parts`."""
    text = '\x1f'.join(map(str, parts)).encode('utf-8')
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'little')


def seed_from(*parts: int | str) -> None:
    """Seed `random`, `numpy.random` and `torch` (CUDA included) from `key(*parts)`."""
    value = key(*parts)
    random.seed(value)
    np.random.seed([value & 0xFFFFFFFF, value >> 32])
    torch.default_generator.manual_seed(value)  # manual_seed asks every backend: 150x slower
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)


def leaves(dataset: Any) -> Iterator[Any]:
    """The data sets inside concatenations, repetitions and subsets."""
    inner = getattr(dataset, 'datasets', None) or (
        [dataset.dataset] if hasattr(dataset, 'dataset') else [])
    if not inner:
        yield dataset
    for one in inner:
        yield from leaves(one)


class KeyedDataset(Dataset):
    """Seeds every sample from (seed, epoch, index) before it is drawn.

    Args:
        dataset: any map-style dataset, wrapped or not. A data set in it that
            has an attribute `epoch` is told the epoch of each sample, in the
            very process that draws it.
        seed: seed of the run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self._epoch_aware = [leaf for leaf in leaves(dataset) if hasattr(leaf, 'epoch')]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, sample_key: SampleKey) -> Any:
        epoch, index = sample_key
        for dataset in self._epoch_aware:
            dataset.epoch = epoch
        seed_from(self.seed, 'sample', epoch, index)
        return self.dataset[index]

    def __getitems__(self, sample_keys: list[SampleKey]) -> list[Any]:
        """The samples of a batch, as torch asks for them: on one thread, as in workers.

        A mean over an image is divided among the threads, and differs with their number.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return [self[sample_key] for sample_key in sample_keys]
        finally:
            torch.set_num_threads(threads)

    def get_data_info(self, sample_key: SampleKey) -> dict:
        """For batch samplers that group by aspect ratio (mmdet)."""
        return self.dataset.get_data_info(sample_key[1])

    @property
    def metainfo(self) -> dict:
        return getattr(self.dataset, 'metainfo', {})


@DATA_SAMPLERS.register_module()
class RefAugKeyedSampler(Sampler):
    """Yields `SampleKey`s of one epoch, every rank its share.

    The order is a function of (seed, epoch). With several ranks the tail is
    filled up with samples from the front, so that all ranks do equal work.

    Args:
        dataset: anything with a length.
        seed: seed of the run.
        shuffle: a new order every epoch; otherwise dataset order.
        rank, world_size: this process among all.
    """

    def __init__(self, dataset: Sized, seed: int, shuffle: bool = True,
                 rank: int = 0, world_size: int = 1) -> None:
        self.dataset, self.seed, self.shuffle = dataset, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.world_size)

    def __iter__(self) -> Iterator[SampleKey]:
        count = len(self.dataset)
        order: np.ndarray = np.arange(count)
        if self.shuffle:
            order = np.random.default_rng(key(self.seed, 'order', self.epoch)).permutation(count)
        order = np.resize(order, len(self) * self.world_size)
        for index in order[self.rank::self.world_size]:
            yield SampleKey(self.epoch, int(index))


class ResumableBatches(Sampler[list]):
    """A batch sampler that can leave out the batches already done, at index level."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.skip = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list]:
        skip, self.skip = self.skip, 0
        for number, batch in enumerate(self.batches):
            if number >= skip:
                yield batch
