"""SIGTERM and SIGINT end a run after the iteration in progress, with a checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from refaug_det.runs import checkpoints

AGREE_EVERY = 10  # iterations between two times at which several processes ask each other


class Interrupted(KeyboardInterrupt):
    """The run was asked to end; the process exits with 128 + the signal's number, as shells count.

    Args:
        number: SIGTERM (Slurm's pre-emption, `docker stop`) or SIGINT (Ctrl-C).
        how: where the run stands.
    """

    def __init__(self, number: int, how: str) -> None:
        self.exit_code = 128 + number
        super().__init__(f'{signal.Signals(number).name}, {how}')


@contextmanager
def heard() -> Iterator[None]:
    """Within, SIGTERM raises as Ctrl-C does, so that what is open can be closed."""
    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, 'outside of training')

    before = _set({signal.SIGTERM: end})
    try:
        yield
    finally:
        _set(before)


@contextmanager
def noted() -> Iterator[list[int]]:
    """Within, SIGTERM and SIGINT interrupt nothing: they are added to the list it gives."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = _set(dict.fromkeys((signal.SIGTERM, signal.SIGINT), note))
    try:
        yield asked
    finally:
        _set(before)


class SignalHook(Hook):
    """Keeps a signal until the iteration has ended, saves a checkpoint, and ends the run.

    A second Ctrl-C ends the process at once, except under torchrun, which sends
    its own copy of the first and kills what lingers; SIGTERM often comes twice
    (`timeout`, Slurm). Several processes agree every `AGREE_EVERY` iterations,
    and after an epoch and a validation; one alone also ends within a validation.

    Raises:
        Interrupted: after the checkpoint is written.
    """

    priority = 'LOWEST'  # all else has been done in the iteration

    def __init__(self) -> None:
        self.asked = 0  # number of the signal
        self._before: dict[int, Any] = {}

    def before_train(self, runner: Any) -> None:
        self.asked = 0
        self._before = _set(dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._keep))

    def close(self) -> None:
        """Give the signals back; the runner calls this however training ends."""
        _set(self._before)
        self._before = {}

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        inside = batch_idx + 1 < len(runner.train_dataloader)  # else the epoch's end asks
        due = get_world_size() == 1 or (runner.iter + 1) % AGREE_EVERY == 0
        if inside and due:
            self._end(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Any) -> None:
        self._end(runner, runner.epoch + 1, runner.iter)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                       outputs: Any = None) -> None:
        if get_world_size() == 1:  # the shares of several processes may differ in length
            self._end(runner, runner.epoch, runner.iter)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._end(runner, runner.epoch, runner.iter)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        alone = 'TORCHELASTIC_RUN_ID' not in os.environ
        if self.asked and number == signal.SIGINT and alone:
            raise Interrupted(number, 'twice: ended at once, without a new checkpoint')
        self.asked = number

    def _end(self, runner: Any, epoch: int, iteration: int) -> None:
        asked = torch.tensor(self.asked)
        all_reduce(asked, 'max')
        if asked:
            keep = [hook.keep for hook in runner.hooks
                    if isinstance(hook, checkpoints.RefAugCheckpointHook)]
            checkpoints.save(runner, epoch, iteration, *keep)
            raise Interrupted(int(asked), f'ended after iteration {iteration} with a checkpoint; '
                              '--resume goes on')


def spare_workers(loader: Any) -> Any:
    """Have the workers of a DataLoader outlive a signal that is sent to the whole process group.

    Ctrl-C and Slurm signal every process; without its workers a run could not
    finish the iteration. Returns the loader.
    """
    loader.worker_init_fn = partial(_in_worker, loader.worker_init_fn)
    return loader


def _in_worker(then: Callable[[int], None] | None, worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # only the first: it is also how a parent ends a worker that does not end by itself
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if then is not None:
        then(worker)


def _set(handlers: dict[int, Any]) -> dict[int, Any]:
    """Set signal handlers; returns those before. Only a main thread can."""
    try:
        return {number: signal.signal(number, handler) for number, handler in handlers.items()}
    except ValueError:
        return {}
