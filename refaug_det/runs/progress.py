"""One line of progress: where the run is, how fast, what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn


def clock(seconds: float) -> str:
    """Seconds as `h:mm:ss`."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}'


def headline(metrics: Mapping[str, float | None], most: int = 3) -> str:
    """The first few overall metrics that have a value, on one line."""
    overall = [(name, value) for name, value in metrics.items()
               if isinstance(value, (int, float)) and '/' not in name]
    return ', '.join(f'{name} {value:.2f}' for name, value in overall[:most])


def validations_left(epoch: int, of: int, interval: int, begin: int = 1) -> int:
    """How many validations are due after `epoch` epochs of `of`."""
    return sum(one >= begin and (one % interval == 0 or one == of)
               for one in range(epoch + 1, of + 1))


@HOOKS.register_module()
class RefAugProgressHook(Hook):
    """Epoch, phase, loss, rate, speed and ETA: a live bar in a terminal, lines elsewhere.

    The speed is that of this part of the run without its first iteration, which
    starts the workers. The ETA counts the validations, once one has been timed.

    Args:
        every_s: seconds between two lines where the output is no terminal.
    """

    priority = 'LOWEST'

    def __init__(self, every_s: float = 10.0) -> None:
        self.every_s = every_s
        self.console = Console()
        self.bar: Progress | None = None
        self.task: Any = None

    def before_train(self, runner: Any) -> None:
        self.said = self.begun = time.monotonic()
        self.iterations, self.images = -1, 0  # since `begun`; -1: the first is not over
        self.validations, self.validating = 0, 0.0  # how many, seconds in all of them
        if is_main_process() and self.console.is_terminal:
            self.bar = Progress(BarColumn(10), TaskProgressColumn(), TextColumn(
                '{task.description}'), console=self.console, transient=True)
            self.task = self.bar.add_task('starting', total=runner.max_iters,
                                          completed=runner.iter)
            self.bar.start()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        now = time.monotonic()
        self.iterations += 1
        if self.iterations == 0:
            self.begun = now
            return
        self.images += _size(data_batch) * get_world_size()
        if self._due(now):
            self._say(self._line(runner, now, outputs or {}), runner.iter + 1)

    def before_val_epoch(self, runner: Any) -> None:
        self.entered = time.monotonic()

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                       outputs: Any = None) -> None:
        if self._due(time.monotonic()):
            self._say(f'  epoch {runner.epoch}/{runner.max_epochs}, testing: '
                      f'batch {batch_idx + 1}/{len(runner.val_dataloader)}', runner.iter)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self.validations += 1
        self.validating += time.monotonic() - self.entered
        if is_main_process() and metrics:
            self.console.print(f'  epoch {runner.epoch}/{runner.max_epochs}: {headline(metrics)}',
                               highlight=False)

    def after_train(self, runner: Any) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back; the runner calls this also when training raises."""
        if self.bar:
            self.bar.stop()
            self.bar = None

    def _due(self, now: float) -> bool:
        if not is_main_process() or now - self.said < (0.5 if self.bar else self.every_s):
            return False
        self.said = now
        return True

    def _say(self, text: str, completed: int) -> None:
        if self.bar:
            self.bar.update(self.task, completed=completed, description=text.strip())
        else:
            print(text, flush=True)

    def _line(self, runner: Any, now: float, outputs: dict) -> str:
        rate = self.iterations / max(now - self.begun - self.validating, 1e-9)
        left = (runner.max_iters - runner.iter - 1) / rate
        if self.validations:
            loop = runner.train_loop
            left += self.validating / self.validations * validations_left(
                runner.epoch, runner.max_epochs, loop.val_interval, loop.val_begin)
        phase = runner.message_hub.runtime_info.get('phase')
        loss = outputs.get('loss')
        skipped = getattr(runner.optim_wrapper, 'skipped', 0)
        parts = [f'  epoch {runner.epoch + 1}/{runner.max_epochs}',
                 f'({phase})' if phase else '', f'ETA {clock(left)}',  # what must not be cut off
                 f'loss {float(loss):.3f}' if loss is not None else '',
                 f'lr {runner.optim_wrapper.param_groups[0]["lr"]:.3g}',
                 f'{rate * self.images / self.iterations:.0f} img/s', f'{rate:.2f} it/s',
                 f'{skipped} updates skipped' if skipped else '']
        return ' '.join(p for p in parts if p)


def _size(batch: Any) -> int:
    """Images of a collated batch: a dict of tensors or lists."""
    return len(next(iter(batch.values()))) if batch else 0
