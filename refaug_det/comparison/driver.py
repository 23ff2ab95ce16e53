"""Runs the trials of a grid as processes side by side, and survives whatever is killed.

A process is given two locks: of its run directory, and of its place on this machine (a
GPU, or a share of the cores). They last until it ends, so when only the driver is killed,
its processes go on to their end, and the next driver neither starts their runs a second
time nor uses their GPUs. Several drivers can share one grid.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live
from rich.text import Text

from refaug_det.comparison import grid
from refaug_det.comparison.grid import State, Trial
from refaug_det.errors import EXIT_USER_ERROR, UserError
from refaug_det.runs import jobs, locks, signals
from refaug_det.runs.jobs import Job
from refaug_det.runs.progress import clock, headline

SETBACKS = 2  # failures of a run, or kills at the same epoch, after which it is given up


class Driver:
    """Takes every trial to its end.

    Args:
        folder: where logs and the locks of places lie.
        command: the words that run a trial, without those about a run that is there.
        environment: of the processes.
        parallel: how many may run at a time on this machine.
        devices: values of CUDA_VISIBLE_DEVICES to share out; none without GPUs.
        overwrite: start anew where another run is.
        every_s: seconds between two lines of progress.
    """

    def __init__(self, trials: Sequence[Trial], folder: Path,
                 command: Callable[[Trial], Sequence[str]], *, environment: Mapping[str, str],
                 parallel: int = 1, devices: Sequence[str] = (), overwrite: bool = False,
                 every_s: float = 30.0) -> None:
        self.trials, self.folder, self.command = list(trials), folder, command
        self.environment, self.parallel, self.devices = dict(environment), parallel, devices
        self.overwrite, self.every_s = overwrite, every_s
        self.waiting = list(trials)
        self.running: dict[Trial, subprocess.Popen] = {}
        self.done: list[Trial] = []
        self.failures: dict[Trial, str] = {}
        self.setbacks: Counter[tuple[Trial, float | str]] = Counter()
        self.gained: dict[Trial, tuple[float, float]] = {}  # when it was started, and at what share
        self.elsewhere: set[Trial] = set()  # that another driver's process has, or had
        self.usual_s = grid.usual_time(self.trials, folder)
        self.live = Live(transient=True)
        self.begun = self.said = time.monotonic()

    def run(self) -> None:
        """Run what is missing.

        Raises:
            Interrupted: SIGTERM or SIGINT; the processes have ended, with checkpoints.
        """
        with signals.noted() as asked:
            with self.live if self.live.console.is_terminal else nullcontext():
                try:
                    while not asked and (self.waiting or self.running):
                        self._reap()
                        self._fill()
                        self._tell()
                        time.sleep(jobs.POLL_S if self.waiting or self.running else 0)
                finally:
                    jobs.end(list(self.running.values()), asked)
        if asked:
            raise signals.Interrupted(asked[0], f'{len(self.done)} of {len(self.trials)} runs are '
                                      'done; the same command goes on')

    def refuse_failures(self) -> None:
        """End with an error if trials failed.

        Raises:
            UserError: how many, why the first did, and its log.
        """
        for trial, why in self.failures.items():
            raise UserError(f'{len(self.failures)} of {len(self.trials)} runs failed; '
                            f'{trial.name}: {why}', self.log(trial),
                            'read the log; the same command tries again')

    def log(self, trial: Trial) -> Path:
        return self.folder / 'logs' / f'{trial.work_dir.name}.log'

    def _reap(self) -> None:
        for trial, process in list(self.running.items()):
            if process.poll() is None:
                continue
            del self.running[trial]
            if process.returncode == EXIT_USER_ERROR:  # bad input does not mend itself
                self._fail(trial, jobs.reason(self.log(trial)))
                continue
            failed = 0 < process.returncode < 128  # else it was killed, or asked to end
            self.setbacks[trial, 'failed' if failed else grid.share_done(trial)] += 1
            self.waiting.insert(0, trial)

    def _fill(self) -> None:
        """Start what can be started; what another process is at stays waiting."""
        for trial in list(self.waiting):
            place = self._place()
            if place is None:
                return
            descriptor, device = place
            lock = locks.take(trial.work_dir / locks.FILE_NAME)
            try:
                if lock is None:
                    self.elsewhere.add(trial)
                else:
                    self._decide(trial, device, (descriptor, lock))
            finally:  # the process has its own
                for taken in (descriptor, lock):
                    if taken is not None:
                        os.close(taken)

    def _place(self) -> tuple[int, str | None] | None:
        """Lock a place of this machine; its descriptor and device, or None if all are taken."""
        host = re.sub(r'[^\w.-]', '-', socket.gethostname())
        devices = self.devices or (None,)
        for number in range(self.parallel):
            share, which = divmod(number, len(devices))
            name = f'.place-{host}-{devices[which] or "cpu"}-{share}'
            descriptor = locks.take(self.folder / name)
            if descriptor is not None:
                return descriptor, devices[which]
        return None

    def _decide(self, trial: Trial, device: str | None, descriptors: tuple[int, int]) -> None:
        """Start a trial, or say how it ended; its lock is ours."""
        state = grid.state_of(trial, locked=True)
        if state.status == 'done':
            self.waiting.remove(trial)
            self.done.append(trial)
            if state.record and (trial in self.gained or trial in self.elsewhere):
                self.usual_s = grid.usual_time(self.trials, self.folder)
                self._print(f'done: {trial.name} ({headline(state.record.metrics)})')
        elif state.status == 'other' and not self.overwrite:
            self._fail(trial, f'another run is there: {state.differs[0]}')
        elif SETBACKS in (self.setbacks[trial, 'failed'], self.setbacks[trial, state.share]):
            self._fail(trial, jobs.reason(self.log(trial)))
        else:
            self._start(trial, state, device, descriptors)

    def _start(self, trial: Trial, state: State, device: str | None,
               descriptors: tuple[int, int]) -> None:
        environment = self.environment | locks.environment_of(trial.work_dir)
        if device is not None:
            environment['CUDA_VISIBLE_DEVICES'] = device
        told = grid.option(state)
        job = Job(trial.name, (*self.command(trial), *([told] if told else [])), self.log(trial))
        self.running[trial] = jobs.start(job, environment, descriptors)
        self.waiting.remove(trial)
        self.gained[trial] = time.monotonic(), state.share
        how = {None: 'begun', '--resume': 'resumed', '--overwrite': 'begun anew'}[told]
        self._print(f'{how}: {trial.name}')

    def _fail(self, trial: Trial, why: str) -> None:
        if trial in self.waiting:
            self.waiting.remove(trial)
        self.failures[trial] = why
        self._print(f'failed: {trial.name}: {why}')

    def _tell(self) -> None:
        now, live = time.monotonic(), self.live.is_started
        if now - self.said >= (1.0 if live else self.every_s):
            self.said = now
            if live:
                self.live.update(Text(self.progress(now)))
            else:
                self._print(self.progress(now))

    def progress(self, now: float) -> str:
        """How many are done, how far those are that run, and how long it will take."""
        shares = {trial: grid.share_done(trial) for trial in [*self.running, *self.waiting]}
        each_s = self.usual_s or self._extrapolated(shares, now)
        left = grid.time_left(list(shares.values()), each_s, self.parallel)
        held = len(self.elsewhere.intersection(self.waiting))
        parts = [f'{len(self.done)} of {len(self.trials)} done',
                 f'{len(self.failures)} failed' if self.failures else '',
                 f'{"?" if left is None else clock(left)} left',
                 f'{held} run by another driver' if held else '',
                 *(f'{trial.name}: {self._epoch(trial, shares[trial])}' for trial in self.running)]
        return ', '.join(part for part in parts if part)

    def _extrapolated(self, shares: Mapping[Trial, float], now: float) -> float | None:
        """Seconds of a whole run, from those that have got on since they were started."""
        times = [(now - begun) / (shares[trial] - share)
                 for trial, (begun, share) in self.gained.items()
                 if trial in self.running and shares[trial] > share]
        return sum(times) / len(times) if times else None

    def _epoch(self, trial: Trial, share: float) -> str:
        epochs = (trial.config.get('train_cfg') or {}).get('max_epochs')
        return f'{round(share * epochs)} of {epochs} epochs' if epochs else f'{100 * share:.0f} %'

    def _print(self, text: str) -> None:
        print(f'[{clock(time.monotonic() - self.begun)}] {text}', flush=True)
