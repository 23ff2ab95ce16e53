"""A loss that is not finite ends the run before the update, and says where it came from.

A weight that is not finite, of a loss that is, ends it before anything is kept of it.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, finite

STOP = 6  # the update that would be made of the bad loss, from 1: the second of the second epoch


@pytest.fixture
def bad(monkeypatch):
    """The loss of update `STOP` is `value`, with finite gradients."""
    def make(value):
        real, calls = F.cross_entropy, []

        def loss(logits, labels, **options):
            calls.append(1)
            return real(logits, labels, **options) + (value if len(calls) == STOP else 0.0)

        monkeypatch.setattr(F, 'cross_entropy', loss)
    return make


EVERY = ('--cfg-options', 'default_hooks.checkpoint.interval_iters=1',
         'default_hooks.checkpoint.keep=99')


def checkpoint(iteration, folder='run'):
    return torch.load(Path(folder) / f'iter_{iteration}.pth', weights_only=True)['state_dict']


@pytest.mark.figure('R12')
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_it_stops_before_the_update(train_tiny, bad, straight, same, tally, value):
    bad(value)
    with pytest.raises(UserError, match=rf'not finite in iteration {STOP} \(epoch 2\): loss') as e:
        train_tiny('--work-dir', 'run', *EVERY)
    assert 'images' in e.value.where
    saved = sorted(int(path.stem[5:]) for path in Path('run').glob('iter_*.pth'))
    finite = all(torch.isfinite(v).all() for n in saved for v in checkpoint(n).values())
    tally(int(saved != list(range(1, STOP)) or not finite), 1)
    assert saved == list(range(1, STOP))
    assert finite
    assert json.loads(Path('run/run.json').read_text())['status'] == 'failed'


@pytest.mark.figure('R12')
def test_without_it_the_update_is_made(train_tiny, bad, monkeypatch):
    monkeypatch.setattr(finite.FiniteLossHook, 'before_train', lambda self, runner: None)
    bad(float('nan'))
    train_tiny('--work-dir', 'run', *EVERY)
    assert Path('run/iter_12.pth').is_file()  # it goes on to the end


def spoil(monkeypatch, name, value, update=STOP):
    """A weight or buffer of that name becomes `value` in one update, whose loss is finite."""
    from refaug_det.runs import loops
    run_iter, calls = loops.RefAugTrainLoop.run_iter, []

    def spoilt(loop, *args):
        calls.append(1)
        if len(calls) == update:
            loop.runner.model.state_dict()[name].fill_(value)
        run_iter(loop, *args)

    monkeypatch.setattr(loops.RefAugTrainLoop, 'run_iter', spoilt)


@pytest.mark.figure('R12')
@pytest.mark.parametrize(('name', 'value'), [
    ('net.1.running_var', float('inf')), ('net.1.running_mean', float('nan'))])
def test_a_buffer_that_is_not_finite_is_not_kept(train_tiny, monkeypatch, name, value):
    spoil(monkeypatch, name, value)  # training does not use it
    with pytest.raises(UserError, match='no checkpoint was written of it') as caught:
        train_tiny('--work-dir', 'run', *EVERY)
    assert caught.value.what == f'{name} is not finite after iteration {STOP}'
    assert not Path(f'run/iter_{STOP}.pth').exists()
    with monkeypatch.context() as patch:  # negative control
        for module in (finite, checkpoints):
            patch.setattr(module, 'refuse_not_finite', lambda runner, iteration: None)
        spoil(patch, name, value)
        train_tiny('--work-dir', 'blind', *EVERY)
    assert not checkpoint(STOP, 'blind')[name].isfinite().all()


def test_a_statistic_of_minus_infinity_is_a_fault():
    runner = SimpleNamespace(model=torch.nn.BatchNorm1d(2), work_dir='run')
    checkpoints.refuse_not_finite(runner, 1)
    runner.model.running_mean[0] = -torch.inf
    with pytest.raises(UserError, match='running_mean is not finite'):
        checkpoints.refuse_not_finite(runner, 1)


def test_a_mask_of_minus_infinity_is_no_fault():
    model = torch.nn.Linear(1, 1)
    runner = SimpleNamespace(model=model, work_dir='run')
    model.register_buffer('mask', torch.full((2, 2), -torch.inf).triu(1))
    checkpoints.refuse_not_finite(runner, 1)
    for value in (torch.inf, torch.nan):
        model.mask[0, 0] = value
        with pytest.raises(UserError, match='mask is not finite'):
            checkpoints.refuse_not_finite(runner, 1)
    model.mask[0, 0] = 0
    with torch.no_grad():
        model.weight.fill_(-torch.inf)
    with pytest.raises(UserError, match='weight is not finite'):
        checkpoints.refuse_not_finite(runner, 1)


def test_what_was_mended_goes_on_as_if_nothing_had_been(train_tiny, bad, straight, same,
                                                        monkeypatch):
    with monkeypatch.context() as patch:
        real, calls = F.cross_entropy, []

        def loss(logits, labels, **options):
            calls.append(1)
            return real(logits, labels, **options) * (float('nan') if len(calls) == STOP else 1.0)

        patch.setattr(F, 'cross_entropy', loss)
        with pytest.raises(UserError):
            train_tiny('--work-dir', 'run', *EVERY)
    assert same(train_tiny('--work-dir', 'run', '--resume', *EVERY).weights, straight.weights)


def test_images_are_named():
    samples = [SimpleNamespace(img_id=f'{n:06d}') for n in range(6)]
    assert finite._ids(dict(data_samples=samples)) == '000000, 000001, 000002, 000003 and 2 more'
    assert finite._ids(dict(index=torch.tensor([7, 9]))) == '7, 9'
    assert finite._ids({}) == 'unknown'
