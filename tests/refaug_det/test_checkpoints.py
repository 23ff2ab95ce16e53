"""Checkpoints: whole or absent, read without running code, and a resumed run is the same run."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import ValLoop

from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, records

ONE_EPOCH = 4  # iterations

PICKLE = functools.partial(pickle.dump, protocol=2)


class Payload:
    """Unpickling this runs code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('iter_*.pth'))


def put(folder: Path, iteration: int, **fields: object) -> Path:
    path = folder / f'iter_{iteration}.pth'
    torch.save(dict(format=checkpoints.FORMAT, iteration=iteration, **fields), path)
    return path


# What is in the folder

def test_the_newest_of_several_is_found_by_number(tmp_path):
    for iteration in (9, 100, 20):
        put(tmp_path, iteration)
    (tmp_path / 'iter_999.pth.partial').write_bytes(b'')
    (tmp_path / 'iter_best.pth').write_bytes(b'')
    path, state = checkpoints.newest_valid(tmp_path)
    assert path.name == 'iter_100.pth'
    assert state['iteration'] == 100


@pytest.mark.parametrize('torn', [
    lambda data: b'', lambda data: data[:len(data) // 2], lambda data: b'<html>not found</html>',
    lambda data: data[:-200] + bytes(200)], ids=['empty', 'half', 'html', 'tail'])
def test_a_torn_checkpoint_gives_way_to_the_older_one(tmp_path, capsys, torn):
    put(tmp_path, 4)
    newest = put(tmp_path, 8, ballast=torch.zeros(500))
    assert checkpoints.newest_valid(tmp_path)[0] == newest  # as long as it is whole
    newest.write_bytes(torn(newest.read_bytes()))
    assert checkpoints.newest_valid(tmp_path)[0].name == 'iter_4.pth'
    assert 'iter_8.pth cannot be read' in capsys.readouterr().out


def test_a_checkpoint_of_another_program_is_not_taken(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'iter_5.pth')
    assert checkpoints.newest_valid(tmp_path) is None
    assert checkpoints.newest_valid(tmp_path / 'nowhere') is None


@pytest.mark.parametrize('save', [torch.save, PICKLE], ids=['torch', 'pickle'])
def test_nothing_in_a_checkpoint_is_executed(tmp_path, save):
    mark = tmp_path / 'mark'
    with open(tmp_path / 'iter_7.pth', 'wb') as file:
        save(dict(format=checkpoints.FORMAT, payload=Payload(mark)), file)
    assert checkpoints.newest_valid(tmp_path) is None
    assert not mark.exists()
    if save is PICKLE:  # the payload is live: an ordinary unpickling runs it
        pickle.loads((tmp_path / 'iter_7.pth').read_bytes())
        assert mark.exists()


def test_a_write_that_fails_leaves_the_older_one_and_no_remains(train_tiny, monkeypatch):
    write = torch.save

    def disk_full_at_the_third(state, file):
        if state['iteration'] == 3:
            file.write(b'half a checkpoint')
            raise OSError(28, 'No space left on device')
        write(state, file)

    monkeypatch.setattr(torch, 'save', disk_full_at_the_third)
    with pytest.raises(OSError, match='No space left'):
        train_tiny('--work-dir', 'run')
    assert names(Path('run')) == ['iter_1.pth', 'iter_2.pth']
    assert not list(Path('run').glob('.*.partial'))
    assert checkpoints.newest_valid('run')[1]['iteration'] == 2
    assert records.read('run').status == 'failed'


def test_old_checkpoints_go_after_the_new_one_stands(train_tiny, monkeypatch):
    standing = []
    unlink = Path.unlink

    def watched(path, *args, **kwargs):
        if path.name.startswith('iter_'):
            standing.append(names(path.parent))
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, 'unlink', watched)
    train_tiny('--work-dir', 'run')
    assert names(Path('run')) == ['iter_11.pth', 'iter_12.pth']
    assert standing
    assert all(len(found) == 3 for found in standing)


# Resume

@pytest.mark.parametrize(('stop', 'workers', 'later'), [
    (ONE_EPOCH, 0, 0), (ONE_EPOCH + 2, 0, 0), (ONE_EPOCH + 1, 2, 0), (2 * ONE_EPOCH - 1, 0, 2)])
def test_a_resumed_run_is_bitwise_equal(train_tiny, straight, same, stop, workers, later):
    words = ('--work-dir', 'cut', '--cfg-options', 'train_dataloader.num_workers=')
    with pytest.raises(KeyboardInterrupt):
        train_tiny(*words[:-1], f'{words[-1]}{workers}', stop=stop)
    cut = records.read('cut')
    assert cut.status == 'interrupted'
    resumed = train_tiny('--resume', *words[:-1], f'{words[-1]}{later}')
    assert same(resumed.weights, straight.weights)
    assert resumed.record.status == 'done'
    assert resumed.record.id == cut.id
    assert [row['epoch'] for row in resumed.history] == [1, 2, 3]
    assert [row['top-1'] for row in resumed.history] == [row['top-1'] for row in straight.history]
    if not later:  # no image of a batch that is done is decoded again
        done = min(stop, 12)
        assert len(resumed.drawn) == len(straight.drawn) - (done // 4 * 11 + done % 4 * 3)


def test_that_comparison_can_fail(train_tiny, straight, same):
    assert same(train_tiny('--work-dir', 'again').weights, straight.weights)
    assert not same(train_tiny('--work-dir', 'other', '--seed', 1).weights, straight.weights)


@pytest.mark.parametrize('what', ['optimizer', 'samples', 'iterations'])
def test_resume_without_one_of_its_parts_is_another_run(
        train_tiny, straight, same, monkeypatch, what):
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', stop=ONE_EPOCH + 2)
    if what == 'optimizer':
        restore = checkpoints.restore
        monkeypatch.setattr(checkpoints, 'restore', lambda runner, state: restore(
            runner, dict(state, optimizer=runner.optim_wrapper.state_dict())))
    elif what == 'samples':
        monkeypatch.setattr('refaug_det.runs.randomness.seed_from', lambda *parts: None)
    else:
        monkeypatch.setattr('refaug_det.runs.loops.seed_from', lambda *parts: None)
    assert not same(train_tiny('--work-dir', 'cut', '--resume').weights, straight.weights)


def test_a_run_stopped_in_its_last_validation_makes_up_for_it(
        train_tiny, straight, same, monkeypatch):
    calls = []

    def stopped(self):
        calls.append(self)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(self)

    validate = ValLoop.run
    monkeypatch.setattr(ValLoop, 'run', stopped)
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut')
    resumed = train_tiny('--work-dir', 'cut', '--resume')
    assert len(calls) == 4
    assert resumed.record.metrics == straight.record.metrics != {}
    assert same(resumed.weights, straight.weights)


def test_resume_of_a_finished_run_changes_nothing(train_tiny, straight, same):
    train_tiny('--work-dir', 'run')
    again = train_tiny('--work-dir', 'run', '--resume')
    assert same(again.weights, straight.weights)
    assert again.drawn == []
    assert again.record.metrics == straight.record.metrics


def test_resume_with_nothing_to_resume_starts_anew(train_tiny, straight, same, capsys):
    assert same(train_tiny('--work-dir', 'new', '--resume').weights, straight.weights)
    assert 'nothing to resume from' in capsys.readouterr().out


def test_resume_with_another_seed_is_refused(train_tiny):
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'run', stop=1)
    with pytest.raises(UserError, match='seed: 0 -> 1'):
        train_tiny('--work-dir', 'run', '--resume', '--seed', 1)


def test_a_checkpoint_of_another_seed_or_model_is_refused():
    model = torch.nn.Linear(2, 2)
    runner = SimpleNamespace(seed=0, work_dir='run', model=model)
    with pytest.raises(UserError, match='has seed 3, not 0') as caught:
        checkpoints.restore(runner, dict(seed=3))
    assert '--seed 3' in caught.value.fix
    with pytest.raises(UserError, match='another model'):
        checkpoints.restore(runner, dict(seed=0, state_dict=torch.nn.Linear(3, 2).state_dict()))


def test_state_is_plain_and_on_the_host(train_tiny):
    runner = train_tiny('--work-dir', 'run').runner
    state = checkpoints.newest_valid('run')[1]
    assert (state['epoch'], state['iteration'], state['seed']) == (3, 12, 0)
    assert len(state['param_schedulers']) == 2
    assert state['optimizer'].keys() >= {'state', 'param_groups'}
    assert state['state_dict'].keys() == runner.model.state_dict().keys()
    assert not any(value.requires_grad for value in state['state_dict'].values())
    assert checkpoints.unwrapped(SimpleNamespace(module=runner.model)) is runner.model
    assert checkpoints.unwrapped(runner.model) is runner.model
