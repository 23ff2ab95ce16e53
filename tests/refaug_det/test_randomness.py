"""Randomness is a function of (seed, epoch, index), whoever draws it and wherever."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from torch.utils.data import BatchSampler, Subset

from refaug_det.runs.randomness import (
    KeyedDataset,
    RefAugKeyedSampler,
    ResumableBatches,
    SampleKey,
    key,
    leaves,
    seed_from,
)

PLAIN = dict(type='DrawingDataset')  # of conftest.py: samples are draws of all generators


def draws() -> tuple:
    """One draw of each generator that augmentations use."""
    return random.random(), np.random.rand(), float(torch.rand(()))


# Keys

@pytest.mark.parametrize(('parts', 'value'), [
    ((), 0xb4b2797457a0a6e4), ((0,), 0x75dfcd439d7d2b84), ((7, 'order', 3), 0xa94e3a952dba406c),
    ((0, 'sample', 0, 0), 0xda497c9573a7da92), ((0, 'sample', 1, 2), 0xb78cf131dbc71aa5)])
def test_keys_never_change(parts, value):
    assert key(*parts) == value  # else a run started before an update ends otherwise after it


def test_keys_differ():
    keys = {key(seed, word, epoch, index) for seed in range(8) for word in ('sample', 'order')
            for epoch in range(16) for index in range(64)}
    assert len(keys) == 8 * 2 * 16 * 64
    assert all(0 <= value < 2**64 for value in keys)
    assert max(keys) > 2**63  # of all 64 bits
    assert key(1, 23) != key(12, 3)
    assert key('a') == key('a')


def test_all_generators_are_seeded():
    seed_from(3, 'sample', 1, 2)
    first = draws()
    draws()
    seed_from(3, 'sample', 1, 2)
    assert draws() == first
    for other in ((4, 'sample', 1, 2), (3, 'order', 1, 2), (3, 'sample', 2, 1)):
        seed_from(*other)
        assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_every_key_is_a_seed_that_the_generators_take(monkeypatch):
    for value in (0, 2**32 - 1, 2**63, 2**64 - 1):
        monkeypatch.setattr('refaug_det.runs.randomness.key', lambda *_, value=value: value)
        seed_from(0)
        first = draws()
        seed_from(0)
        assert draws() == first


# Samples

def test_a_sample_depends_on_its_key_alone():
    dataset = DATASETS.build(PLAIN)
    keyed = KeyedDataset(dataset, seed=5)
    first = keyed[SampleKey(2, 3)]['draws']
    keyed[SampleKey(0, 1)]
    draws()
    assert torch.equal(keyed[SampleKey(2, 3)]['draws'], first)
    assert not torch.equal(keyed[SampleKey(3, 3)]['draws'], first)
    assert not torch.equal(keyed[SampleKey(2, 4)]['draws'], first)
    assert not torch.equal(KeyedDataset(dataset, seed=6)[SampleKey(2, 3)]['draws'], first)
    assert len(keyed) == 10
    assert keyed.metainfo == {'classes': ('a',)}
    assert keyed.get_data_info(SampleKey(1, 3))['width'] == 200


def test_samples_are_drawn_on_one_thread_as_in_workers():
    class Threads(list):
        def __getitem__(self, index):
            return torch.get_num_threads()

    number = torch.get_num_threads()
    keyed = KeyedDataset(Threads([0, 1]), 0)
    try:
        torch.set_num_threads(3)
        assert keyed.__getitems__([SampleKey(0, 1)] * 2) == [1, 1]
        assert keyed[SampleKey(0, 1)] == torch.get_num_threads() == 3
        loader = torch.utils.data.DataLoader(keyed, batch_sampler=[[SampleKey(0, 0)]])
        assert next(iter(loader)).tolist() == [1]  # torch asks for batches
    finally:
        torch.set_num_threads(number)


BOTH = dict(type='ConcatDataset', datasets=[PLAIN, PLAIN])


@pytest.mark.parametrize(('config', 'inside'), [
    (PLAIN, 1), (BOTH, 2), (dict(type='RepeatDataset', dataset=PLAIN, times=2), 1),
    (dict(type='RepeatDataset', dataset=BOTH, times=2), 2),
    (dict(type='ClassBalancedDataset', dataset=PLAIN, oversample_thr=0.1), 1)])
def test_the_epoch_reaches_every_data_set_inside(config, inside):
    outer = DATASETS.build(config)
    assert len(list(leaves(outer))) == inside
    for epoch in (0, 7):
        sample = KeyedDataset(outer, 0)[SampleKey(epoch, len(outer) - 1)]
        assert sample['epoch'] == epoch
        assert [leaf.epoch for leaf in leaves(outer)] == [epoch] * inside


def test_the_epoch_reaches_a_subset_and_is_not_forced_on_others():
    inner = DATASETS.build(PLAIN)
    assert KeyedDataset(Subset(inner, [1, 2]), 0)[SampleKey(4, 1)]['epoch'] == 4
    assert KeyedDataset([5, 6], 0)[SampleKey(4, 1)] == 6


# Order

def order(length: int = 20, epoch: int = 0, **kwargs: object) -> list[int]:
    sampler = RefAugKeyedSampler(range(length), **{'seed': 0, **kwargs})
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    assert all(sample.epoch == epoch for sample in found)
    return [sample.index for sample in found]


def test_the_order_is_a_function_of_seed_and_epoch():
    assert order() == order()
    assert order() != order(epoch=1)
    assert order() != order(seed=1)
    assert sorted(order()) == list(range(20))
    assert order() != list(range(20))
    assert order(shuffle=False, epoch=3) == list(range(20))


@pytest.mark.parametrize('length', [1, 3, 20, 21, 23])
@pytest.mark.parametrize('world_size', [2, 4, 5])
def test_ranks_share_all_samples_equally(length, world_size):
    shares = [order(length, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    together = [index for share in shares for index in share]
    assert set(together) == set(range(length))
    assert len(together) - length < world_size  # no more is filled up than must be
    if length % world_size == 0:
        assert sorted(together) == sorted(order(length))


# Batches

def test_batches_already_done_are_left_out_once():
    batches = ResumableBatches(BatchSampler(range(10), 3, drop_last=False))
    whole = list(batches)
    assert (len(batches), len(whole)) == (4, 4)
    batches.skip = 3
    assert list(batches) == whole[3:]
    assert list(batches) == whole
