"""Curves go to trackers as they are in the history, and change nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs import config as configs
from refaug_det.runs import trackers

needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec('tensorboard') is None,
                                       reason='pip install "refaug-det[tensorboard]"')


def scalars(folder: str) -> dict[str, dict[int, float]]:
    """name -> step -> value, from all event files below a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    found: dict[str, dict[int, float]] = {}
    for path in Path(folder).rglob('events.out.tfevents.*'):
        events = EventAccumulator(str(path)).Reload()
        for name in events.Tags()['scalars']:
            found.setdefault(name, {}).update(
                {event.step: event.value for event in events.Scalars(name)})
    return found


@needs_tensorboard
def test_tensorboard_has_what_the_history_has(train_tiny, straight, same):
    run = train_tiny('--work-dir', 'run', '--track', 'tensorboard', '--cfg-options',
                     'default_hooks.logger.interval=1')
    found = scalars('run')
    assert found['top-1'] == {row['epoch']: pytest.approx(row['top-1']) for row in run.history}
    rates = [found['lr'][step] for step in (4, 8, 12)]  # the last iteration of an epoch
    assert rates == pytest.approx([row['lr'] for row in run.history])
    assert len(found['loss']) == 12
    assert same(run.weights, straight.weights)
    assert run.record.config_digest == straight.record.config_digest


@needs_tensorboard
def test_a_run_that_is_cut_keeps_its_curves_and_goes_on_untracked(train_tiny, straight, same):
    options = ('--work-dir', 'cut', '--cfg-options', 'default_hooks.logger.interval=1')
    with pytest.raises(KeyboardInterrupt):
        train_tiny(*options, '--track', 'tensorboard', stop=6)
    assert sorted(scalars('cut')['loss']) == list(range(1, 7))
    assert same(train_tiny(*options, '--resume').weights, straight.weights)


@pytest.mark.parametrize('name', trackers.TRACKERS)
def test_a_package_that_is_not_installed(train_tiny, monkeypatch, name):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=f'{name} is not installed') as caught:
        train_tiny('--work-dir', 'run', '--track', name)
    assert caught.value.fix == f'pip install "refaug-det[{name}]"'
    assert not Path('run').exists()


@pytest.mark.parametrize('before', [{}, dict(visualizer=dict(
    type='DetLocalVisualizer', name='visualizer', vis_backends=[]))])
def test_backends_are_added_and_neutral(monkeypatch, before):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: True)
    cfg = Config(dict(before, train_dataloader=dict(batch_size=2)))
    plain = json.loads(json.dumps(cfg.to_dict()))
    trackers.track(cfg, [], 'a-seed0')
    assert cfg.to_dict() == plain
    trackers.track(cfg, ['wandb', 'mlflow'], 'a-seed0')
    kinds = [backend.type for backend in cfg.visualizer.vis_backends]
    assert kinds[-2:] == ['WandbVisBackend', 'MLflowVisBackend']
    assert cfg.visualizer.type == before.get('visualizer', {}).get('type', 'Visualizer')
    assert cfg.visualizer.vis_backends[-1].run_name == 'a-seed0'
    assert 'name' not in cfg.visualizer
    assert not configs.differences(plain, cfg.to_dict())
    assert protocol.protocol_of(plain) == protocol.protocol_of(cfg.to_dict())


def test_every_tracker_is_an_extra_and_a_backend_of_mmengine():
    from importlib.metadata import metadata

    from mmengine.registry import VISBACKENDS
    for name in trackers.TRACKERS:
        assert name in metadata('refaug-det').get_all('Provides-Extra')
    for kind in ('TensorboardVisBackend', 'WandbVisBackend', 'MLflowVisBackend'):
        assert VISBACKENDS.get(kind) is not None
