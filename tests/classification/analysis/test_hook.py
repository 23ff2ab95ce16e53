"""Risks by epoch: what is measured, that training does not notice, and resume."""

import json
import random
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from classification.analysis import gaps, hook, loading
from classification.analysis.hook import RefAugRiskHook, untouched
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints

BASE = 'toy_mixup_refine.py'
REFINE = "dict(type='RefAugRefinementHook', epochs=1)"
RISKS = "dict(type='RefAugRiskHook', every=2, images=12)"


def checkpoint(run):
    """All tensors of the last checkpoint, by name."""
    _, state = checkpoints.newest_valid(run)
    momenta = {f'momentum {name}': entry['momentum_buffer']
               for name, entry in state['optimizer']['state'].items()}
    return {**state['state_dict'], **momenta}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_does_not_notice(mixup_run, trained, monkeypatch):
    without = checkpoint(trained('without', BASE, REFINE))
    assert same(checkpoint(mixup_run), without)
    monkeypatch.setattr(hook, 'untouched', lambda network: nullcontext())
    touched = checkpoint(trained('touched', BASE, REFINE, RISKS))
    assert not same(touched, without)  # measured in training mode: batch norm has moved


def test_rows_are_the_risks_of_the_epochs_weights(mixup_run):
    rows = hook.read(mixup_run)
    assert [(row['epoch'], row['phase'], row['images']) for row in rows] == [
        (2, 'augmented', 12), (3, 'refinement', 12)]
    for row, weights in zip(rows, ('augmented', 'last'), strict=True):
        entry = gaps.measure(loading.open_run(mixup_run), weights, images=12, resamples=2)
        for name in hook.KINDS.values():
            assert row[name] == pytest.approx(entry[name]['value'], abs=1e-6)
    assert rows[0]['test'] != rows[1]['test']


def test_rows_survive_a_kill(mixup_run, trained, tmp_path_factory):
    """A run whose last epoch was lost: its row is measured again, the earlier one is kept."""
    copy = mixup_run.parent / 'resumed'
    shutil.copytree(mixup_run, copy)
    newest, _ = checkpoints.newest_valid(copy)
    newest.unlink()
    rows = hook.read(copy)
    assert len(rows) == 2
    changed = [dict(rows[0], test=-1.0), dict(rows[1], test=-2.0)]
    (copy / hook.FILE_NAME).write_text(json.dumps(changed))
    trained('resumed', BASE, REFINE, RISKS, words=('--resume',))
    assert hook.read(copy) == [changed[0], rows[1]]
    assert same(checkpoint(copy), checkpoint(mixup_run))


def test_modes_and_generators_are_as_before():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    network[1].eval()

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    with untouched(network):
        assert not network[0].training
        draws = random.random(), np.random.rand(), torch.rand(())
        assert states() != before
    assert draws
    assert states() == before
    assert [module.training for module in network.modules()] == [True, True, False]
    with pytest.raises(ZeroDivisionError), untouched(network):
        raise ZeroDivisionError
    assert network[0].training


@pytest.mark.parametrize('options', [dict(every=0), dict(images=0)])
def test_bad_options(options):
    with pytest.raises(UserError):
        RefAugRiskHook(**options)


def test_a_run_without_test_images_is_refused(mixup_run):
    cfg = loading.open_run(mixup_run).cfg
    cfg.val_dataloader = None
    with pytest.raises(UserError, match='no test images'):
        loading.images_of(cfg, 'clean')
