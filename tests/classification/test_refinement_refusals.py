"""Refinement stops a run in which an augmented sample could pass for a clean one."""

import pytest
import torch
from mmengine.registry import DATASETS

from classification.datasets import RefAugImageFolder
from classification.refinement import Phases
from refaug_det.errors import UserError
from refaug_det.runs import randomness


@DATASETS.register_module(force=True)
class DatasetThatIgnoresStrength(RefAugImageFolder):
    """Takes the switch and does nothing with it."""

    def __getitem__(self, index):
        self.strength = None
        return super().__getitem__(index)


@DATASETS.register_module(force=True)
class DatasetThatDoesNotTell(RefAugImageFolder):
    """Its samples do not say whether they were augmented."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        del sample['augmented']
        return sample


@DATASETS.register_module(force=True)
class DatasetWithoutPhases(torch.utils.data.Dataset):
    """A data set of someone who has never heard of refinement."""

    def __init__(self, **folder):
        self.hidden = RefAugImageFolder(**folder)

    def __len__(self):
        return len(self.hidden)

    def __getitem__(self, index):
        return self.hidden[index]


@pytest.mark.parametrize('kind', ['DatasetThatIgnoresStrength', 'DatasetThatDoesNotTell'])
@pytest.mark.parametrize('workers', [0, 2])
def test_proof_stops_a_data_set_that_goes_on_augmenting(observe, kind, workers):
    with pytest.raises(RuntimeError, match=r'12 of 12 samples .* in epoch 3'):
        observe(dataset=observe.folder(type=kind), workers=workers, persistent=workers > 0)


def test_proof_stops_workers_that_miss_the_epoch(observe, monkeypatch):
    def without_epoch(self, key):
        return self.dataset[key[1]]

    monkeypatch.setattr(randomness.KeyedDataset, '__getitem__', without_epoch)
    with pytest.raises(RuntimeError, match=r'12 of 12 samples .* in epoch 3'):
        observe(workers=2, persistent=True)


def test_proof_stops_batch_augments_that_go_on(observe, monkeypatch):
    monkeypatch.setattr(Phases, 'strength', lambda self, epoch: 1.0)
    plain = observe.folder(pipeline=[dict(type='RefAugTransform', name='RandomHorizontalFlip')])
    with pytest.raises(RuntimeError, match=r'12 of 12 samples .* in epoch 3'):
        observe(dataset=plain)


def test_data_set_without_phases_is_refused(observe):
    with pytest.raises(UserError) as caught:
        observe(dataset=observe.folder(type='DatasetWithoutPhases'))
    assert caught.value.where == 'DatasetWithoutPhases'
    assert caught.value.fix


@pytest.mark.parametrize(('epochs', 'says'), [(-1, 'epochs -1'), (5, 'refinement epochs of 4')])
def test_more_refinement_than_epochs_is_refused(observe, epochs, says):
    with pytest.raises(UserError, match=says):
        observe(refine=epochs)
