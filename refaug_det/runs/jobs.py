"""Run independent commands side by side, with one line of progress for all of them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refaug_det.errors import UserError
from refaug_det.runs import signals
from refaug_det.runs.progress import clock

POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: what progress calls it.
        command: program and arguments.
        log: file that takes its output.
        weight: its expected duration relative to the other jobs'.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    weight: float = 1.0


class Eta:
    """Time left for a list of jobs, from the time that the work so far took.

    Args:
        total: sum of the weights of all jobs.
    """

    def __init__(self, total: float) -> None:
        self.total, self.done, self.begun = total, 0.0, time.monotonic()

    def left(self, running: Mapping[str, float]) -> float | None:
        """Seconds left, given the weight done within running jobs; None if unknown yet."""
        done = self.done + sum(running.values())
        elapsed = time.monotonic() - self.begun
        return None if done <= 0 else elapsed * (self.total - done) / done


def told(parts: Any, name: str, every_s: float = 10.0) -> Iterator[Any]:
    """The parts of some work, with a line of progress every `every_s` seconds.

    Args:
        parts: sized and iterable, such as a list or a dataloader.
        name: what the line calls the work.
    """
    eta, said = Eta(len(parts)), time.monotonic()
    for part in parts:
        yield part
        eta.done += 1
        if time.monotonic() - said >= every_s:
            said = time.monotonic()
            print(f'  {name}: {100 * eta.done / eta.total:.0f} %, '
                  f'{clock(eta.left({}) or 0)} left', flush=True)


def run_jobs(jobs: Sequence[Job], *, parallel: int, environment: Mapping[str, str], eta: Eta,
             every_s: float = 10.0) -> None:
    """Run all jobs, at most `parallel` at a time; print a line every `every_s` seconds.

    Raises:
        UserError: a job failed; the others are stopped. It names the log.
        Interrupted: SIGTERM or SIGINT; the jobs have ended.
    """
    waiting = list(jobs)
    running: dict[Job, subprocess.Popen] = {}
    said = time.monotonic()
    with signals.noted() as asked:
        try:
            while (waiting or running) and not asked:
                while waiting and len(running) < parallel:
                    job = waiting.pop(0)
                    running[job] = start(job, environment)
                time.sleep(POLL_S)
                _reap(running, eta)
                if running and time.monotonic() - said >= every_s:
                    said = time.monotonic()
                    print(_progress(list(running), eta), flush=True)
        finally:
            end(list(running.values()), asked)
    if asked:
        raise signals.Interrupted(asked[0], 'the same command goes on')


def end(processes: Sequence[subprocess.Popen], asked: Sequence[int]) -> None:
    """Have processes end after their iteration, and wait for it.

    Args:
        asked: signals heard so far, which may grow; a second SIGINT kills the processes.
    """
    for process in processes:
        process.terminate()
    if processes and asked:
        print(f'ending {len(processes)} runs after their iteration; Ctrl-C kills them', flush=True)
    while any(process.poll() is None for process in processes):
        if signal.SIGINT in asked[1:]:
            for process in processes:
                process.kill()
        time.sleep(POLL_S)


def _reap(running: dict[Job, subprocess.Popen], eta: Eta) -> None:
    """Take out what has ended."""
    for job, process in list(running.items()):
        if process.poll() is None:
            continue
        del running[job]
        if process.returncode:
            raise UserError(f'{job.name} failed: {reason(job.log)}', job.log, 'read the log')
        eta.done += job.weight
        print(f'[{clock(time.monotonic() - eta.begun)}] done: {job.name} '
              f'({last_line(job.log)})', flush=True)


def last_line(log: Path) -> str:
    """The last line of a job's output that is not empty."""
    lines = _text(log).splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), '')


def reason(log: Path) -> str:
    """Why a job failed: the error that it wrote last, else its last line."""
    errors = re.findall(r'^(?:error|\w+Error): .*', _text(log)[-4000:], re.MULTILINE)
    return errors[-1].strip() if errors else last_line(log)


def share_done(output: str) -> float:
    """Share of a run that its output says is behind it, in [0, 1].

    Args:
        output: lines of which some begin with `epoch 3/12`, or `epoch 3/12:` when it ended.
    """
    found = re.findall(r'epoch (\d+)/(\d+)(:?)', output)
    if not found:
        return 0.0
    epoch, of, ended = found[-1]
    return (int(epoch) - (0 if ended else 0.5)) / int(of)


def start(job: Job, environment: Mapping[str, str],
          descriptors: Sequence[int] = ()) -> subprocess.Popen:
    """Start a job; a log that is there goes on.

    Ctrl-C in a terminal does not reach it: whoever starts it ends it.

    Args:
        descriptors: open files that it inherits, such as locks.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, 'ab') as log:
        return subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=dict(environment), pass_fds=tuple(descriptors), start_new_session=True)


def _text(log: Path) -> str:
    try:
        return log.read_text(encoding='utf-8', errors='replace')
    except OSError:  # not started yet
        return ''


def _progress(running: Sequence[Job], eta: Eta) -> str:
    left = eta.left({job.name: job.weight * share_done(_text(job.log)) for job in running})
    parts = [f'{job.name}: {last_line(job.log)[:60] or "starting"}' for job in running]
    head = f'[{clock(time.monotonic() - eta.begun)}, {"?" if left is None else clock(left)} left]'
    return f'{head} ' + ' | '.join(parts)


def python(*words: object) -> tuple[str, ...]:
    """A command of this very interpreter."""
    return (sys.executable, *map(str, words))
