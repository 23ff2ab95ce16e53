"""The run directory: claimed by one run, its record true whatever happens."""

from __future__ import annotations

import json
import os

import pytest

from refaug_det.errors import UserError
from refaug_det.runs import processes, records
from refaug_det.runs.directory import claim, recorded
from refaug_det.runs.records import RunRecord

CONFIG = dict(lr=0.1, work_dir='a', model=dict(depth=50))


def record() -> RunRecord:
    return RunRecord('r50', 'detection', started=records.now())


@pytest.fixture
def used(tmp_path):
    """A directory in which a run was interrupted."""
    folder = tmp_path / 'used'
    claim(folder, CONFIG, first := record())
    for name in ('iter_4.pth', 'weights_augmented.safetensors', 'history.json', 'mine.txt'):
        (folder / name).write_text('[]')
    with pytest.raises(KeyboardInterrupt), recorded(folder, first):
        raise KeyboardInterrupt
    return folder


def test_a_new_directory_is_made_with_its_config(tmp_path):
    folder = tmp_path / 'deep' / 'down'
    claim(folder, CONFIG, record())
    assert os.listdir(folder) == ['config.json']
    assert json.loads((folder / 'config.json').read_text()) == CONFIG
    claim(folder, CONFIG, record())  # no run was recorded in it: nothing can be lost


def test_a_used_directory_is_refused(used):
    before = {path: path.read_bytes() for path in used.iterdir()}
    with pytest.raises(UserError, match='used before') as caught:
        claim(used, CONFIG, record())
    assert '--resume' in caught.value.fix
    assert '--overwrite' in caught.value.fix
    assert {path: path.read_bytes() for path in used.iterdir()} == before


def test_overwrite_removes_the_run_and_nothing_else(used):
    claim(used, dict(CONFIG, lr=0.5), record(), overwrite=True)
    assert sorted(os.listdir(used)) == ['.lock', 'config.json', 'mine.txt']
    assert json.loads((used / 'config.json').read_text())['lr'] == 0.5


def test_resume_goes_on_with_the_record(used):
    (used / '.iter_8.pth.77.partial').write_text('torn')
    earlier, later = records.read(used), record()
    assert later.id != earlier.id
    claim(used, dict(CONFIG, work_dir='b'), later, resume=True)
    assert (later.id, later.started) == (earlier.id, earlier.started)
    assert sorted(os.listdir(used)) == ['.lock', 'config.json', 'history.json', 'iter_4.pth',
                                        'mine.txt', 'run.json', 'weights_augmented.safetensors']


@pytest.mark.parametrize(('change', 'said'), [
    (dict(lr=1.0), 'lr: 0.1 -> 1.0'), (dict(model=dict(depth=18)), 'model.depth: 50 -> 18'),
    (dict(momentum=0.9), 'momentum: None -> 0.9'), (dict(lr='0.1'), "lr: 0.1 -> '0.1'")])
def test_resume_with_another_config_is_refused(used, change, said):
    with pytest.raises(UserError) as caught:
        claim(used, {**CONFIG, **change}, record(), resume=True)
    assert said in caught.value.what
    assert json.loads((used / 'config.json').read_text()) == CONFIG


def test_many_changes_are_counted(used):
    with pytest.raises(UserError, match='d: None -> 1; and 6 more'):
        claim(used, dict.fromkeys(['lr', *'abcdefgh'], 1), record(), resume=True)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        with pytest.raises(UserError, match='cannot make the run directory') as caught:
            claim(path, CONFIG, record())
        assert caught.value.where == str(path)


# The record

def test_a_record_says_running_then_done(tmp_path):
    with recorded(tmp_path, record()) as found:
        now = records.read(tmp_path)
        assert (now.status, now.ended, now.error) == ('running', None, None)
        found.metrics['AP'] = 40.0
    end = records.read(tmp_path)
    assert (end.status, end.error, end.metrics) == ('done', None, {'AP': 40.0})
    assert end.ended >= end.started
    assert end.wall_time_s >= 0


@pytest.mark.parametrize(('error', 'status', 'said'), [
    (RuntimeError('loss is nan'), 'failed', 'RuntimeError: loss is nan'),
    (UserError('no such image', 'a.jpg', 'mend'), 'failed', 'no such image'),
    (SystemExit(3), 'failed', 'SystemExit: 3'), (MemoryError(), 'failed', 'MemoryError'),
    (KeyboardInterrupt(), 'interrupted', 'KeyboardInterrupt')])
def test_a_record_says_why_it_ended(tmp_path, error, status, said):
    with pytest.raises(type(error)), recorded(tmp_path, record()):
        raise error
    end = records.read(tmp_path)
    assert end.status == status
    assert said in end.error
    assert end.ended


def test_the_time_of_a_resumed_run_adds_up(used):
    first = records.read(used)
    first.wall_time_s = 100.0
    first.write(used)
    claim(used, CONFIG, later := record(), resume=True)
    assert later.wall_time_s == 100.0
    with recorded(used, later):
        assert records.read(used).wall_time_s == 100.0  # should it be killed now
    assert 100.0 <= records.read(used).wall_time_s < 200.0


def test_the_time_of_a_killed_part_is_taken_from_its_files(used):
    killed = records.read(used)
    killed.status, killed.wall_time_s = 'running', 100.0
    killed.write(used)
    begun = (used / 'run.json').stat().st_mtime
    os.utime(used / 'history.json', (begun + 40, begun + 40))
    os.utime(used / 'iter_4.pth', (begun + 50, begun + 50))
    claim(used, CONFIG, later := record(), resume=True)
    assert later.wall_time_s == 150.0
    os.utime(used / 'history.json', (begun - 9, begun - 9))
    os.utime(used / 'iter_4.pth', (begun - 9, begun - 9))  # it wrote nothing
    claim(used, CONFIG, later := record(), resume=True)
    assert later.wall_time_s == 100.0


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with recorded(tmp_path, record()):
        assert not os.listdir(tmp_path)
    assert not os.listdir(tmp_path)
    monkeypatch.setenv('RANK', '0')
    with recorded(tmp_path, record()):
        assert sorted(os.listdir(tmp_path)) == ['.lock', 'run.json']


@pytest.mark.parametrize(('variables', 'rank', 'size'), [
    ({}, 0, 1), (dict(RANK='3', WORLD_SIZE='8'), 3, 8),
    (dict(SLURM_PROCID='2', SLURM_NTASKS='4'), 2, 4),
    (dict(RANK='1', WORLD_SIZE='2', SLURM_PROCID='0', SLURM_NTASKS='1'), 1, 2)])
def test_processes(monkeypatch, variables, rank, size):
    for name in ('RANK', 'WORLD_SIZE', 'SLURM_PROCID', 'SLURM_NTASKS'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processes.rank() == rank
    assert processes.world_size('pytorch') == size
    assert processes.world_size('none') == 1  # whatever the job around it is
    assert processes.is_first() == (rank == 0)
