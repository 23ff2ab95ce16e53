"""Which runs a grid wants, and how far each is, read from run directories alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from refaug_det.comparison import grid
from refaug_det.comparison.grid import Plan, Trial
from refaug_det.errors import UserError
from refaug_det.runs import files, locks
from refaug_det.runs.records import RunRecord

CONFIG = dict(model=dict(backbone=dict(depth=18), type='A'), train_cfg=dict(max_epochs=4),
              optim=dict(lr=0.1), randomness=dict(seed=9), work_dir='elsewhere')
SHA = 'a' * 64


def trials(folder: Path, backbones='ab', seeds=(0, 1), config=CONFIG, sha256=SHA) -> list[Trial]:
    return grid.trials({name: Plan(config, sha256) for name in backbones}, seeds, folder)


def begin(trial: Trial, status='running', epochs=0, **values) -> None:
    """Leave in its directory what a run leaves."""
    record = RunRecord(trial.backbone, 'detection', status=status, seed=trial.seed,
                       config_digest=trial.digest,
                       backbone=dict(name=trial.backbone, sha256=trial.sha256, run=None))
    for key, value in values.items():
        setattr(record, key, value)
    record.write(trial.work_dir)
    files.write_json(trial.work_dir / 'config.json', trial.config)
    files.write_json(trial.work_dir / 'history.json', [dict(epoch=n + 1) for n in range(epochs)])


@pytest.mark.parametrize(('text', 'seeds'), [
    ('5', [0, 1, 2, 3, 4]), ('1', [0]), ('0,3', [0, 3]), ('7,', [7]), (' 3, 0 ', [3, 0])])
def test_seeds(text, seeds):
    assert grid.seeds_of(text) == seeds


@pytest.mark.parametrize('text', ['0', '', ',', 'a', '1.5', '-1', '0,0', '1;2'])
def test_bad_seeds(text):
    with pytest.raises(UserError):
        grid.seeds_of(text)


def test_backbones():
    assert grid.backbones_of('a, b,') == ['a', 'b']
    for text, said in (('', 'no backbone'), ('a,b,a', 'named twice: a')):
        with pytest.raises(UserError, match=said):
            grid.backbones_of(text)


def test_protocols(tmp_path):
    for stem in ('faster_rcnn_r50_fpn_voc07', 'retinanet_r50_fpn_voc07', 'toy'):
        (tmp_path / f'{stem}.py').write_text('')
    assert grid.config_of('voc07', tmp_path).stem == 'faster_rcnn_r50_fpn_voc07'
    assert grid.config_of('retinanet_r50_fpn_voc07', tmp_path).stem == 'retinanet_r50_fpn_voc07'
    assert grid.config_of(str(tmp_path / 'toy.py'), Path('x')) == tmp_path / 'toy.py'
    for unknown, near in (('voc70', 'voc07'), ('tyo', 'toy'), ('qqq', 'one of voc07,')):
        with pytest.raises(UserError, match='no protocol') as caught:
            grid.config_of(unknown, tmp_path)
        assert near in caught.value.fix


def test_a_grid_has_all_backbones_at_the_first_seed_first(tmp_path):
    found = trials(tmp_path)
    assert [trial.name for trial in found] == ['a seed 0', 'b seed 0', 'a seed 1', 'b seed 1']
    assert found[2].work_dir == tmp_path / 'a-seed1'
    assert [trial.config['randomness'] for trial in found[1:3]] == [dict(seed=0), dict(seed=1)]
    assert len({trial.digest for trial in found}) == 2  # the names are not in this config


def test_names_become_directories(tmp_path):
    found = trials(tmp_path, ['torchvision://resnet50', 'random:a/../b', '../c'], [0])
    assert [trial.work_dir.name for trial in found] == [
        'torchvision-resnet50-seed0', 'random-a-..-b-seed0', 'c-seed0']
    with pytest.raises(UserError, match='named twice: a-b'):
        trials(tmp_path, ['a:b', 'a/b'])


def test_states(tmp_path):
    found = trials(tmp_path, 'abcde', [0])
    begin(found[1], 'done', 4)
    begin(found[2], 'failed', 1)
    begin(found[3], 'interrupted', 2)
    begin(found[4], 'running', 3)
    states = [grid.state_of(trial) for trial in found]
    assert [(state.status, state.share) for state in states] == [
        ('new', 0), ('done', 1), ('failed', 0.25), ('cut off', 0.5), ('cut off', 0.75)]
    assert [grid.option(state) for state in states] == [None, *['--resume'] * 4]


def test_a_run_that_is_counted_in_iterations(tmp_path):
    trial, = trials(tmp_path, 'a', [0], config={**CONFIG, 'train_cfg': dict(max_iters=200)})
    assert grid.share_done(trial) == 0
    files.write_json(trial.work_dir / 'history.json', [dict(epoch=1, iteration=50)])
    assert grid.share_done(trial) == 0.25
    unknown, = trials(tmp_path, 'a', [0], config={**CONFIG, 'train_cfg': None})
    assert grid.share_done(unknown) == 0


def test_a_run_that_a_process_is_at_is_running(tmp_path):
    new, cut = trials(tmp_path, 'ab', [0])
    begin(cut, 'interrupted', 1)
    taken = [locks.take(trial.work_dir / locks.FILE_NAME) for trial in (new, cut)]
    assert [grid.state_of(trial).status for trial in (new, cut)] == ['running'] * 2
    assert [grid.state_of(trial, locked=True).status for trial in (new, cut)] == ['new', 'cut off']
    for descriptor in taken:
        os.close(descriptor)
    assert [grid.state_of(trial).status for trial in (new, cut)] == ['new', 'cut off']


@pytest.mark.parametrize('status', ['done', 'interrupted', 'failed', 'running'])
@pytest.mark.parametrize(('other', 'said'), [
    (dict(config={**CONFIG, 'optim': dict(lr=0.2)}), 'optim.lr: 0.1 / 0.2'),
    (dict(sha256='b' * 64), 'weights of a (sha256): aaaaaaaaaaaa / bbbbbbbbbbbb'),
    (dict(sha256=None), 'weights of a (sha256): aaaaaaaaaaaa / None')])
def test_another_run_is_refused_with_what_differs(tmp_path, status, other, said):
    there, = trials(tmp_path, 'a', [0])
    begin(there, status, 4)
    wanted, = trials(tmp_path, 'a', [0], **other)
    state = grid.state_of(wanted)
    assert (state.status, state.differs, grid.option(state)) == ('other', (said,), '--overwrite')
    with pytest.raises(UserError) as caught:
        grid.refuse_others({wanted: state})
    assert said in caught.value.what
    assert caught.value.where == str(there.work_dir)
    assert '--overwrite' in caught.value.fix
    grid.refuse_others({there: grid.state_of(there)})


def test_what_changes_no_result_makes_no_other_run(tmp_path):
    there, = trials(tmp_path, 'a', [0])
    begin(there, 'done', 4, config_digest='of an older version')
    moved, = trials(tmp_path, 'a', [0], config={**CONFIG, 'work_dir': 'x', 'log_level': 'INFO'})
    assert moved.digest == there.digest
    assert grid.state_of(moved).status == 'done'
    (there.work_dir / 'config.json').unlink()
    assert 'model.type: None' in ' '.join(grid.state_of(moved).differs)  # nothing to go by


def test_a_run_of_which_the_backbone_is_not_recorded_yet(tmp_path):
    there, = trials(tmp_path, 'a', [0])
    begin(there, backbone=None)
    assert grid.state_of(there).status == 'cut off'


def test_usual_time(tmp_path):
    found = trials(tmp_path, 'abcd', [0])
    assert grid.usual_time(found, tmp_path) is None
    for trial, seconds in zip(found, (100.0, 300.0, 120.0, None), strict=True):
        begin(trial, 'done', 4, wall_time_s=seconds)
    begin(trials(tmp_path, 'e')[0], 'failed', wall_time_s=1.0)
    begin(trials(tmp_path, 'f', config={**CONFIG, 'optim': dict(lr=9)})[0], 'done', wall_time_s=2.0)
    deeper = {**CONFIG, 'model': dict(backbone=dict(depth=50), type='A')}
    begin(trials(tmp_path, 'g', config=deeper)[0], 'done', wall_time_s=140.0)
    begin(trials(tmp_path, 'h')[0], 'done', 4, wall_time_s=3.0)
    (tmp_path / 'h-seed0' / 'run.json').write_text('{}')  # no reason to stop a grid
    assert grid.usual_time(found, tmp_path) == 130  # of 100, 300, 120 and 140


@pytest.mark.parametrize(('shares', 'parallel', 'seconds'), [
    ([], 1, 0), ([0], 1, 60), ([0, 0.5], 1, 90), ([0, 0.5], 2, 60), ([0.5] * 8, 4, 60)])
def test_time_left(shares, parallel, seconds):
    assert grid.time_left(shares, 60.0, parallel) == pytest.approx(seconds)
    assert grid.time_left(shares, None, parallel) == (0 if not shares else None)
