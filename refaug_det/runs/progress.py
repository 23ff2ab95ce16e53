"""One line of progress: where the run is, how fast, what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


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


@HOOKS.register_module()
class RefAugProgressHook(Hook):
    """Epoch, phase, loss, speed and ETA: a live bar in a terminal, lines elsewhere.

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
        self.first, self.begun = runner.iter, time.monotonic()
        self.said = self.begun
        if is_main_process() and self.console.is_terminal:
            self.bar = Progress(TextColumn('{task.description}'), BarColumn(None),
                                MofNCompleteColumn(), console=self.console, transient=True)
            self.task = self.bar.add_task('starting', total=runner.max_iters, completed=runner.iter)
            self.bar.start()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        now = time.monotonic()
        pause = 0.5 if self.bar else self.every_s
        if not is_main_process() or now - self.said < pause:
            return
        self.said = now
        text = self._line(runner, now, outputs or {})
        if self.bar:
            self.bar.update(self.task, completed=runner.iter + 1, description=text)
        else:
            print(text, flush=True)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
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

    def _line(self, runner: Any, now: float, outputs: dict) -> str:
        done = runner.iter + 1 - self.first
        rate = done / max(now - self.begun, 1e-9)
        phase = runner.message_hub.runtime_info.get('phase')
        loss = outputs.get('loss')
        parts = [f'  epoch {runner.epoch + 1}/{runner.max_epochs}',
                 f'({phase})' if phase else '',
                 f'loss {float(loss):.3f}' if loss is not None else '',
                 f'{rate:.2f} it/s', f'ETA {clock((runner.max_iters - runner.iter - 1) / rate)}']
        return ' '.join(p for p in parts if p)
