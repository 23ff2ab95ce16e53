"""Runs of a number of updates: the last epoch is cut short, and resume is bitwise equal."""

from __future__ import annotations

import pytest
from mmengine.runner import ValLoop

from refaug_det.errors import UserError

BUDGET = ('--cfg-options', 'train_cfg.max_iters=10', 'train_cfg.max_epochs=None')  # 4 an epoch


def test_it_ends_inside_an_epoch_and_is_validated_there(train_tiny, straight, same):
    run = train_tiny('--work-dir', 'run', *BUDGET)
    assert [(row['epoch'], row['iteration']) for row in run.history] == [(1, 4), (2, 8), (3, 10)]
    assert (run.runner.max_iters, run.runner.max_epochs) == (10, 3)
    assert run.record.metrics == {'top-1': run.history[-1]['top-1']}
    assert [row['loss'] for row in run.history][:2] == [row['loss'] for row in straight.history][:2]
    assert not same(run.weights, straight.weights)
    whole = train_tiny('--work-dir', 'whole', '--cfg-options', 'train_cfg.max_iters=12',
                       'train_cfg.max_epochs=None')
    assert same(whole.weights, straight.weights)


@pytest.mark.parametrize('stop', [3, 8, 9])
def test_a_resumed_run_is_bitwise_equal(train_tiny, same, stop):
    whole = train_tiny('--work-dir', 'whole', *BUDGET)
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', *BUDGET, stop=stop)
    resumed = train_tiny('--work-dir', 'cut', '--resume', *BUDGET)
    assert same(resumed.weights, whole.weights)
    assert resumed.record.metrics == whole.record.metrics
    assert len(resumed.drawn) < len(whole.drawn)
    again = train_tiny('--work-dir', 'cut', '--resume', *BUDGET)
    assert same(again.weights, whole.weights)
    assert again.drawn == []


def test_a_validation_that_was_cut_off_is_made_up_for(train_tiny, monkeypatch):
    validate, calls = ValLoop.run, []

    def stopped(self):
        calls.append(self)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(self)

    monkeypatch.setattr(ValLoop, 'run', stopped)
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', *BUDGET)
    assert train_tiny('--work-dir', 'cut', '--resume', *BUDGET).record.metrics != {}
    assert len(calls) == 4


@pytest.mark.parametrize('options', [['train_cfg.max_iters=10'], ['train_cfg.max_epochs=None']])
def test_both_lengths_or_none_are_refused(train_tiny, options):
    with pytest.raises(UserError, match=r'max_epochs=.* and max_iters='):
        train_tiny('--work-dir', 'run', '--cfg-options', *options)
