"""Kills the processes of a grid at random moments, and counts what the grid loses by it.

For tests and soak runs, on Linux: processes are found in /proc.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from refaug_det.runs import records

OPTION = b'--work-dir'  # the word before a worker's run directory in its command


class Process(Protocol):
    """What `subprocess.Popen` is; `poll` gives the exit code, or None while it runs."""

    pid: int

    def poll(self) -> int | None: ...


@dataclass
class Toll:
    """What was killed and what it cost.

    Attributes:
        drivers, workers: how many were killed.
        starts: how often the command was given.
        lost: wanted runs that are not done at the end.
        duplicated: runs that two processes worked at together, and second runs of a trial.
        redone: runs that were done and whose record changed afterwards.
        ended: exit code of the last command.
    """

    drivers: int = 0
    workers: int = 0
    starts: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    redone: list[str] = field(default_factory=list)
    ended: int | None = None

    @property
    def kills(self) -> int:
        return self.drivers + self.workers


def survive(start: Callable[[], Process], wanted: Iterable[Path], *, kills: int = 20,
            seed: int = 0, pause_s: tuple[float, float] = (0.1, 0.5),
            most_starts: int = 100) -> Toll:
    """Give a grid's command, kill its processes, give it again, until it ends with 0.

    Args:
        start: gives the command. A kill hits what it started, or a worker of the grid, also
            one that an earlier driver has left; it waits until there is a worker.
        wanted: the run directories that must be done in the end.
        kills: how many.
        seed: of the moments and the victims.
        pause_s: shortest and longest time between two kills, seconds.
        most_starts: give up after so many, and tell what is lost.
    """
    directories, toll, draw = [path.resolve() for path in wanted], Toll(), random.Random(seed)
    finished: dict[Path, bytes] = {}
    duplicated: set[str] = set()
    driver: Process | None = None
    due = 0.0
    while True:
        _note_finished(directories, finished)
        at_work = workers(directories)
        duplicated |= {path.name for path, pids in at_work.items() if len(pids) > 1}
        ended = driver.poll() if driver is not None else -1
        if ended == 0 or (ended is not None and toll.starts == most_starts):
            toll.ended = ended
            break
        if ended is not None:
            driver = start()
            toll.starts += 1
            due = time.monotonic() + draw.uniform(*pause_s)
        elif driver and at_work and toll.kills < kills and time.monotonic() >= due:
            due = time.monotonic() + draw.uniform(*pause_s)
            _kill(draw, driver.pid, [pid for pids in at_work.values() for pid in pids], toll)
        time.sleep(min(0.05, pause_s[0] / 5))
    _judge(directories, finished, duplicated, toll)
    return toll


def workers(directories: Iterable[Path]) -> dict[Path, list[int]]:
    """Run directory -> the processes at work in it, without their own children."""
    wanted = {os.fsencode(path): path for path in directories}
    found: dict[Path, dict[int, int]] = {}
    for entry in Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError):  # it has ended meanwhile
            words = (entry / 'cmdline').read_bytes().split(b'\0')
            if OPTION not in words:
                continue
            path = os.path.abspath(words[words.index(OPTION) + 1])
            state, parent = (entry / 'stat').read_text().rpartition(') ')[2].split()[:2]
            if path in wanted and state not in 'ZX':
                found.setdefault(wanted[path], {})[int(entry.name)] = int(parent)
    return {path: [pid for pid, parent in pids.items() if parent not in pids]
            for path, pids in found.items()}


def _kill(draw: random.Random, driver: int, at_work: list[int], toll: Toll) -> None:
    victim = draw.choice(sorted(at_work)) if at_work and draw.random() < 0.5 else driver
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
        toll.drivers += victim == driver
        toll.workers += victim != driver


def _note_finished(directories: list[Path], finished: dict[Path, bytes]) -> None:
    """Keep the record of every run when it is first seen to be done."""
    for path in directories:
        file = path / records.FILE_NAME
        if path not in finished and file.is_file():
            content = file.read_bytes()
            if b'"status": "done"' in content:
                finished[path] = content


def _judge(directories: list[Path], finished: dict[Path, bytes], duplicated: set[str],
           toll: Toll) -> None:
    now: dict[Path, bytes] = {}
    _note_finished(directories, now)
    toll.lost = [path.name for path in directories if path not in now]
    toll.redone = [path.name for path, content in finished.items() if now.get(path) != content]
    trials = Counter(_trial(path) for path in now)
    toll.duplicated = sorted(duplicated) + [f'{name} seed {seed}' for (name, seed), count in
                                            trials.items() if count > 1]


def _trial(path: Path) -> tuple[str, int | None]:
    record = records.read(path)
    return str((record.backbone or {}).get('name') or record.name), record.seed
