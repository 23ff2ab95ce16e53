"""A loss that is not finite ends the run before the update, and says where it came from."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from refaug_det.errors import UserError
from refaug_det.runs import finite

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


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_it_stops_before_the_update(train_tiny, bad, straight, same, value):
    bad(value)
    with pytest.raises(UserError, match=rf'not finite in iteration {STOP} \(epoch 2\): loss') as e:
        train_tiny('--work-dir', 'run', *EVERY)
    assert 'images' in e.value.where
    saved = sorted(int(path.stem[5:]) for path in Path('run').glob('iter_*.pth'))
    assert saved == list(range(1, STOP))
    assert all(torch.isfinite(v).all() for n in saved for v in checkpoint(n).values())
    assert json.loads(Path('run/run.json').read_text())['status'] == 'failed'


def test_without_it_the_weights_are_spoilt(train_tiny, bad, monkeypatch):
    monkeypatch.setattr(finite.FiniteLossHook, 'before_train', lambda self, runner: None)
    bad(float('nan'))
    weights = train_tiny('--work-dir', 'run', *EVERY).weights
    assert Path('run/iter_12.pth').is_file()  # it goes on to the end
    assert len(weights)


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
    from types import SimpleNamespace
    samples = [SimpleNamespace(img_id=f'{n:06d}') for n in range(6)]
    assert finite._ids(dict(data_samples=samples)) == '000000, 000001, 000002, 000003 and 2 more'
    assert finite._ids(dict(index=torch.tensor([7, 9]))) == '7, 9'
    assert finite._ids({}) == 'unknown'
