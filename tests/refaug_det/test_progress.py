"""What is said while a run goes: epoch, phase, loss, rate, speed, and a time left that is true."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from refaug_det.runs import progress
from refaug_det.runs.jobs import share_done
from refaug_det.runs.progress import RefAugProgressHook, clock, validations_left

BATCH = dict(inputs=torch.zeros(4, 3), label=torch.zeros(4))


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Trip:
    """A run of 5 epochs of 10 iterations, tested every second epoch, on a clock of its own."""

    def __init__(self, monkeypatch, terminal: bool = False, every_s: float = 0.0) -> None:
        self.clock = Clock()
        monkeypatch.setattr(progress, 'time', self.clock)
        self.hook = RefAugProgressHook(every_s)
        self.hook.console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        self.runner = SimpleNamespace(
            iter=0, epoch=0, max_iters=50, max_epochs=5, val_dataloader=range(3),
            message_hub=SimpleNamespace(runtime_info=dict(phase='augmented')),
            optim_wrapper=SimpleNamespace(param_groups=[dict(lr=0.1)], skipped=0),
            train_loop=SimpleNamespace(val_interval=2, val_begin=1))
        self.hook.before_train(self.runner)

    def train(self, iterations: int, seconds: float) -> None:
        for _ in range(iterations):
            self.clock.now += seconds
            self.hook.after_train_iter(self.runner, self.runner.iter % 10, BATCH,
                                       dict(loss=torch.tensor(2.5)))
            self.runner.iter += 1
            self.runner.epoch = self.runner.iter // 10

    def validate(self, seconds: float) -> None:
        self.hook.before_val_epoch(self.runner)
        for batch in range(3):
            self.clock.now += seconds / 3
            self.hook.after_val_iter(self.runner, batch)
        self.hook.after_val_epoch(self.runner, {'top-1': 12.345})


def test_a_line_says_what_one_wants_to_know(monkeypatch, capsys):
    trip = Trip(monkeypatch)
    trip.train(1, 60.0)  # the first iteration starts the workers: it counts for nothing
    assert capsys.readouterr().out == ''
    trip.train(5, 0.5)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == '  epoch 1/5 (augmented) ETA 0:00:22 loss 2.500 lr 0.1 8 img/s 2.00 it/s'
    assert share_done(line) == pytest.approx(0.1)  # what the demo reads


def test_the_time_left_counts_the_tests(monkeypatch, capsys):
    trip = Trip(monkeypatch)
    trip.train(20, 0.5)
    trip.validate(30.0)
    said = capsys.readouterr().out
    assert 'epoch 2/5, testing: batch 2/3' in said
    assert '12.35' in trip.hook.console.file.getvalue()
    trip.train(1, 0.5)
    line = capsys.readouterr().out
    assert '2.00 it/s' in line  # the test does not slow it
    # 29 iterations at 0.5 s, and the tests after epochs 4 and 5
    assert f'ETA {clock(29 * 0.5 + 2 * 30.0)} loss' in line
    trip.hook.validations = 0
    trip.train(1, 0.5)
    assert f'ETA {clock(28 * 0.5)} loss' in capsys.readouterr().out


@pytest.mark.parametrize(('epoch', 'interval', 'begin', 'left'), [
    (0, 1, 1, 5), (4, 1, 1, 1), (5, 1, 1, 0), (0, 2, 1, 3), (2, 2, 1, 2), (0, 99, 1, 1),
    (0, 1, 4, 2), (0, 1, 9, 0)])
def test_validations_left(epoch, interval, begin, left):
    assert validations_left(epoch, 5, interval, begin) == left


def test_several_processes_count_the_images_of_all(monkeypatch, capsys):
    monkeypatch.setattr(progress, 'get_world_size', lambda: 8)
    trip = Trip(monkeypatch)
    trip.train(3, 0.5)
    assert ' 64 img/s 2.00 it/s' in capsys.readouterr().out


def test_lines_come_at_intervals(monkeypatch, capsys):
    trip = Trip(monkeypatch, every_s=10.0)
    trip.train(50, 1.0)
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_updates_that_were_left_out_are_said(monkeypatch, capsys):
    trip = Trip(monkeypatch)
    trip.train(2, 1.0)
    assert 'skipped' not in capsys.readouterr().out
    trip.runner.optim_wrapper.skipped = 3
    trip.train(1, 1.0)
    assert ' 3 updates skipped' in capsys.readouterr().out


def test_a_bar_in_a_terminal(monkeypatch, capsys):
    trip = Trip(monkeypatch, terminal=True)
    assert trip.hook.bar is not None
    trip.train(20, 1.0)
    trip.hook.bar.refresh()
    trip.validate(9.0)
    trip.hook.close()
    assert trip.hook.bar is None
    said = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', trip.hook.console.file.getvalue())
    assert '40% epoch 2/5 (augmented) ETA 0:00:30 loss 2.500' in said
    assert 'epoch 2/5, testing: batch 3/3' in said
    assert 'top-1 12.3' in said
    assert 'loss' not in capsys.readouterr().out  # no lines beside the bar
