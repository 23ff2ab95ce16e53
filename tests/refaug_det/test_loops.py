"""Samples do not depend on who draws them; one iteration is one update, in however many parts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler

from refaug_det.runs.loops import (
    RefAugTrainLoop,
    keyed_dataloader,
    micro_batches,
    without_idle_options,
)

CONFIG = dict(dataset=dict(type='DrawingDataset'), batch_size=4, num_workers=0,
              collate_fn=dict(type='default_collate'),
              sampler=dict(type='DefaultSampler', shuffle=True))


def epochs(loader, count: int = 3) -> list[list]:
    """Index, epoch and draws of every sample, epoch by epoch."""
    found = []
    for epoch in range(count):
        loader.batch_sampler.batches.sampler.set_epoch(epoch)
        found.append([(int(i), int(e), tuple(d.tolist())) for batch in loader for i, e, d in
                      zip(batch['index'], batch['epoch'], batch['draws'], strict=True)])
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()
        loader._iterator = None
    return found


@pytest.mark.parametrize(('workers', 'persistent'), [(0, True), (1, False), (2, False), (2, True)])
def test_samples_do_not_depend_on_the_workers(workers, persistent):
    expected = epochs(keyed_dataloader(CONFIG, seed=1))
    found = epochs(keyed_dataloader(
        dict(CONFIG, num_workers=workers, persistent_workers=persistent), seed=1))
    assert found == expected
    assert [{epoch for _, epoch, _ in rows} for rows in found] == [{0}, {1}, {2}]
    assert len({draws for rows in found for _, _, draws in rows}) == 30  # none comes twice
    assert found != epochs(keyed_dataloader(CONFIG, seed=2))


def test_skipped_batches_do_not_touch_the_data_set():
    loader = keyed_dataloader(CONFIG, seed=1)
    whole = [batch['index'].tolist() for batch in loader]
    loader = keyed_dataloader(CONFIG, seed=1)
    loader.batch_sampler.skip = 2
    assert [batch['index'].tolist() for batch in loader] == whole[2:]
    assert loader.dataset.dataset.asked == whole[2]


def test_options_of_a_dataloader_config():
    config = dict(CONFIG, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=False))
    before = repr(config)
    loader = keyed_dataloader(config, seed=0)
    assert [batch['index'].tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(loader) == 2
    assert repr(config) == before
    config.pop('collate_fn')
    assert isinstance(next(iter(keyed_dataloader(config, seed=0)))['index'], list)  # mmengine's


@DATA_SAMPLERS.register_module(force=True)
class ByShape(BatchSampler):
    """Groups by aspect ratio as mmdet's does: it asks the sampler's data set."""

    def __init__(self, sampler, batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)

    def __iter__(self):
        groups: dict[bool, list] = {True: [], False: []}
        for sample in self.sampler:
            info = self.sampler.dataset.get_data_info(sample)
            group = groups[info['width'] > info['height']]
            group.append(sample)
            if len(group) == self.batch_size:
                yield group[:]
                group.clear()
        yield from (group for group in groups.values() if group)


@pytest.mark.parametrize('name', ['ByShape', 'mmdet.AspectRatioBatchSampler'])
def test_batches_by_aspect_ratio(name):
    if name.startswith('mmdet'):
        from detection import train  # noqa: F401  (registration)
    config = dict(CONFIG, batch_size=2, batch_sampler=dict(type=name),
                  dataset=dict(type='DrawingDataset', length=12))
    loader = keyed_dataloader(config, seed=0)
    first = [batch['index'].tolist() for batch in loader]
    assert all(len({index % 3 == 0 for index in batch}) == 1 for batch in first)
    assert sorted(index for batch in first for index in batch) == list(range(12))
    assert len(loader) == len(first)
    loader.batch_sampler.skip = 4
    assert [batch['index'].tolist() for batch in loader] == first[4:]
    loader.batch_sampler.batches.sampler.set_epoch(1)
    assert [batch['index'].tolist() for batch in loader] != first
    without = keyed_dataloader(dict(config, batch_sampler=None), seed=0)
    assert any(len({int(i) % 3 == 0 for i in batch['index']}) == 2 for batch in without)


# Updates

def sizes(batch: dict, most: int | None) -> list[int]:
    return [len(part['x']) for part in micro_batches(batch, most)]


@pytest.mark.parametrize(('size', 'most', 'expected'), [
    (8, None, [8]), (8, 8, [8]), (8, 9, [8]), (8, 4, [4, 4]), (8, 3, [2, 3, 3]),
    (7, 4, [3, 4]), (5, 1, [1] * 5), (1, 4, [1]), (9, 8, [4, 5])])
def test_parts_are_nearly_equal_and_never_too_large(size, most, expected):
    assert sizes(dict(x=list(range(size))), most) == expected


def test_parts_keep_the_order_and_belong_together():
    batch = dict(inputs=torch.arange(7), data_samples=list('abcdefg'))
    parts = micro_batches(batch, 3)
    assert torch.cat([part['inputs'] for part in parts]).tolist() == list(range(7))
    assert [x for part in parts for x in part['data_samples']] == list('abcdefg')
    assert all(len(part['inputs']) == len(part['data_samples']) for part in parts)


def test_idle_options():
    config = dict(num_workers=0, persistent_workers=True, prefetch_factor=2, batch_size=3)
    assert without_idle_options(config) == dict(num_workers=0, batch_size=3)
    assert without_idle_options(dict(config, num_workers=1)) == dict(config, num_workers=1)
    assert len(config) == 4


class Linear(BaseModel):
    """Mean squared error of a linear map: its gradient is a mean over the images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2, dtype=torch.float64)
        self.passes: list[int] = []

    def forward(self, inputs, targets, mode='tensor'):
        self.passes.append(len(inputs))
        return dict(loss=(self.layer(inputs) - targets).square().mean())


def trained(micro_batch: int | None, **options: object) -> SimpleNamespace:
    """Three iterations of the loop on the same batches; counts the updates."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, losses, updates = Linear(), [], []
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), **options)
    step = optim.step
    optim.step = lambda **kwargs: (updates.append(len(model.passes)), step(**kwargs))

    def hook(name, outputs=None, **_):
        if name == 'after_train_iter':
            losses.append(float(outputs['loss']))

    loop = RefAugTrainLoop.__new__(RefAugTrainLoop)
    loop.micro_batch, loop._iter = micro_batch, 0
    loop._runner = SimpleNamespace(model=model, optim_wrapper=optim, call_hook=hook)
    optim.initialize_count_status(model, 0, 3)
    for number in range(3):
        batch = dict(inputs=torch.randn(8, 4, generator=generator, dtype=torch.float64),
                     targets=torch.randn(8, 2, generator=generator, dtype=torch.float64))
        loop.run_iter(number, batch)
    return SimpleNamespace(weights=model.layer.weight.detach(), losses=losses, updates=updates,
                           passes=model.passes, iterations=loop._iter)


@pytest.mark.parametrize('most', [4, 2, 1])
@pytest.mark.parametrize('options', [{}, dict(clip_grad=dict(max_norm=0.1))])
def test_equal_parts_make_the_update_of_the_whole_batch(most, options):
    whole, parts = trained(None, **options), trained(most, **options)
    assert parts.passes == [most] * (24 // most)
    assert (whole.iterations, parts.iterations) == (3, 3)
    assert whole.updates == [1, 2, 3]
    assert parts.updates == [8 // most, 16 // most, 24 // most]  # after the last part of each
    assert torch.allclose(parts.weights, whole.weights, rtol=0, atol=1e-14)
    assert parts.losses == pytest.approx(whole.losses, abs=1e-14)


def test_that_comparison_can_fail(monkeypatch):
    whole = trained(None)
    unequal = trained(3)  # 2, 3 and 3 images count alike: close, but another update
    assert not torch.allclose(unequal.weights, whole.weights, rtol=0, atol=1e-6)
    monkeypatch.setattr(RefAugTrainLoop, '_count_parts', lambda *_: None)
    each = trained(4)  # without counting, every part is an update
    assert each.updates == [1, 2, 3, 4, 5, 6]
    assert not torch.allclose(each.weights, whole.weights, rtol=0, atol=1e-6)
