"""A run that is asked to end finishes its iteration, saves, says so, and goes on bitwise equal."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import MODELS

from refaug_det.errors import exits_cleanly
from refaug_det.runs import checkpoints, directory, records, signals, torchrun
from refaug_det.runs.loops import keyed_dataloader

QUIET = ('--cfg-options', 'default_hooks.checkpoint.interval=99',
         'default_hooks.checkpoint.interval_iters=99')  # only a signal saves
TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture
def send(monkeypatch):
    """`send(5, SIGTERM)` sends a signal in the midst of the fifth forward pass, once."""
    def at(call: int, *numbers: int, mode: str = 'loss') -> None:
        network, calls = MODELS.get('TinyNetwork'), []
        forward = network.forward

        def watched(self, inputs, label, mode_='tensor', **kwargs):
            now = kwargs.pop('mode', mode_)
            calls.extend([now] if now == mode else [])
            if now == mode and len(calls) == call:
                for number in numbers:
                    os.kill(os.getpid(), number)
            return forward(self, inputs, label, mode=now)

        monkeypatch.setattr(network, 'forward', watched)

    return at


def saved(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).glob('iter_*.pth'))


@pytest.mark.figure('R14')
@pytest.mark.parametrize(('call', 'number', 'code', 'mode', 'iteration'), [
    (2, TERM, 143, 'loss', 2), (7, INT, 130, 'loss', 7), (8, TERM, 143, 'loss', 8),
    (12, INT, 130, 'loss', 12), (1, TERM, 143, 'predict', 4), (4, TERM, 143, 'predict', 8)])
def test_a_signal_ends_the_run_after_the_iteration(
        train_tiny, straight, same, send, tally, call, number, code, mode, iteration):
    send(call, number, mode=mode)
    with pytest.raises(signals.Interrupted) as caught:
        train_tiny('--work-dir', 'cut', *QUIET)
    assert caught.value.exit_code == code
    cut = records.read('cut')
    assert cut.status == 'interrupted'
    assert f'{signal.Signals(number).name}, ended after iteration {iteration} ' in cut.error
    assert saved('cut') == [f'iter_{iteration}.pth']
    resumed = train_tiny('--work-dir', 'cut', '--resume', *QUIET)
    equal = same(resumed.weights, straight.weights)
    tally(int(not equal), 1)
    assert equal
    for row, expected in zip(resumed.history, straight.history, strict=True):
        assert row['top-1'] == expected['top-1']
    done = iteration // 4 * 11 + iteration % 4 * 3  # of three epochs of 11 images
    assert len(resumed.drawn) == 33 - done
    assert resumed.record.status == 'done'
    assert resumed.record.error is None
    assert resumed.record.wall_time_s >= cut.wall_time_s > 0


@pytest.mark.figure('R14')
def test_without_the_hook_a_signal_is_not_kept(train_tiny, send, monkeypatch):
    monkeypatch.setattr(signals.SignalHook, '_end', lambda *args: None)
    send(2, TERM)
    assert train_tiny('--work-dir', 'deaf', *QUIET).record.status == 'done'
    monkeypatch.setattr(signals.SignalHook, 'before_train', lambda *args: None)
    send(2, TERM)
    with pytest.raises(signals.Interrupted, match='outside of training'):  # at once
        train_tiny('--work-dir', 'none', *QUIET)
    assert saved('none') == []


def test_a_second_interrupt_ends_the_run_at_once(train_tiny, send, monkeypatch):
    send(2, INT, INT)
    with pytest.raises(signals.Interrupted, match='twice') as caught:
        train_tiny('--work-dir', 'twice', *QUIET)
    assert caught.value.exit_code == 130
    assert saved('twice') == []
    assert records.read('twice').status == 'interrupted'
    send(2, TERM, TERM)  # as `timeout` sends it, to the process and to its group
    with pytest.raises(signals.Interrupted, match='after iteration 2'):
        train_tiny('--work-dir', 'group', *QUIET)
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')  # torchrun sends its copy of the first
    send(2, INT, INT)
    with pytest.raises(signals.Interrupted, match='after iteration 2'):
        train_tiny('--work-dir', 'copy', *QUIET)


def test_signals_are_given_back(train_tiny, send):
    before = [signal.getsignal(number) for number in (TERM, INT)]
    train_tiny('--work-dir', 'run')
    assert [signal.getsignal(number) for number in (TERM, INT)] == before
    send(1, TERM)
    with pytest.raises(signals.Interrupted):
        train_tiny('--work-dir', 'cut')
    assert [signal.getsignal(number) for number in (TERM, INT)] == before


def test_a_signal_outside_of_training_is_recorded_too(tmp_path, capsys):
    record = records.RunRecord('a', 'classification')
    tmp_path.joinpath('run').mkdir()

    @exits_cleanly
    def main():
        with directory.recorded(tmp_path / 'run', record):
            os.kill(os.getpid(), TERM)
            raise AssertionError('not reached')

    assert main() == 143
    assert records.read(tmp_path / 'run').status == 'interrupted'
    assert capsys.readouterr().err == 'interrupted: SIGTERM, outside of training\n'


def test_as_many_checkpoints_are_kept_as_the_config_says(train_tiny, send):
    options = ('--cfg-options', 'default_hooks.checkpoint.keep=9')
    send(6, TERM)
    with pytest.raises(signals.Interrupted):
        train_tiny('--work-dir', 'cut', *options)
    assert len(saved('cut')) == 6


# Several processes

def asks(monkeypatch, world: int, iteration: int, batch: int, of: int = 100) -> list[str]:
    """Which hooks ask the other processes."""
    found: list[str] = []
    monkeypatch.setattr(signals, 'get_world_size', lambda: world)
    monkeypatch.setattr(signals, 'all_reduce', lambda *args: found.append(name))
    runner = SimpleNamespace(iter=iteration, epoch=0, train_dataloader=range(of), hooks=[])
    for name in ('after_train_iter', 'after_val_iter', 'after_train_epoch', 'after_val_epoch'):
        arguments = (runner, batch) if name.endswith('iter') else (runner,)
        getattr(signals.SignalHook(), name)(*arguments)
    return found


def test_processes_ask_each_other_at_the_same_moments(monkeypatch):
    ends = ['after_train_epoch', 'after_val_epoch']
    assert asks(monkeypatch, 1, 3, 3) == ['after_train_iter', 'after_val_iter', *ends]
    assert asks(monkeypatch, 2, 3, 3) == ends
    assert asks(monkeypatch, 2, 9, 9) == ['after_train_iter', *ends]
    assert asks(monkeypatch, 2, 9, 9, of=10) == ends  # the epoch's end asks


def test_what_one_process_heard_ends_all(monkeypatch, tmp_path):
    monkeypatch.setattr(signals, 'all_reduce', lambda tensor, op: tensor.fill_(15))
    kept = []
    monkeypatch.setattr(checkpoints, 'save', lambda runner, *position: kept.append(position))
    hook = signals.SignalHook()
    with pytest.raises(signals.Interrupted) as caught:
        hook.after_train_epoch(SimpleNamespace(iter=8, epoch=1, hooks=[
            checkpoints.RefAugCheckpointHook(keep=5)]))
    assert hook.asked == 0  # this one heard nothing
    assert kept == [(2, 8, 5)]
    assert caught.value.exit_code == 143


def test_torchrun_ends_with_the_code_of_the_signal(monkeypatch):
    from torch.distributed.elastic.multiprocessing import SignalException

    def stopped(argv):
        raise SignalException('got SIGTERM', sigval=TERM)

    monkeypatch.setattr('torch.distributed.run.main', stopped)
    assert torchrun.main([]) == 143


# Workers

@pytest.mark.parametrize('spared', [True, False])
def test_workers_outlive_a_signal_to_all(monkeypatch, spared):
    if not spared:
        monkeypatch.setattr(signals, '_in_worker', lambda then, worker: None)
    loader = keyed_dataloader(dict(
        dataset=dict(type='DrawingDataset'), batch_size=1, num_workers=1, prefetch_factor=1,
        collate_fn=dict(type='default_collate'), sampler=dict(shuffle=False)), seed=0)
    batches = iter(loader)
    found = [int(next(batches)['index'])]
    for number in (INT, TERM):
        os.kill(batches._workers[0].pid, number)
    try:
        if spared:
            assert found + [int(batch['index']) for batch in batches] == list(range(10))
        else:
            with pytest.raises(RuntimeError, match='DataLoader worker'):
                list(batches)
    finally:
        batches._shutdown_workers()


def test_a_worker_keeps_its_own_start():
    called = []
    loader = signals.spare_workers(SimpleNamespace(worker_init_fn=called.append))
    before = [signal.getsignal(number) for number in (TERM, INT)]
    try:
        loader.worker_init_fn(3)
    finally:
        for number, handler in zip((TERM, INT), before, strict=True):
            signal.signal(number, handler)
    assert called == [3]
