"""A grid of stand-ins, and drivers of it that can be killed."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from refaug_det.comparison import grid
from refaug_det.comparison.driver import Driver
from refaug_det.comparison.grid import Plan, Trial
from refaug_det.errors import exits_cleanly
from refaug_det.runs.jobs import python

HERE = Path(__file__).parent
CONFIG = {'train_cfg': {'max_epochs': 4}, 'model': {'backbone': {'depth': 18}}}


class Forked:
    """A function in a process of its own, as `subprocess.Popen` shows it."""

    def __init__(self, function: Callable[[], int], log: Path) -> None:
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.setsid()
                sys.stdout = sys.stderr = open(log, 'a', buffering=1)  # noqa: SIM115
                code = function()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, timeout_s: float = 20) -> int:
        end = time.monotonic() + timeout_s
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert self.code is not None, 'it has not ended'
        return self.code


class World:
    """A folder with a grid of stand-ins.

    Attributes:
        options: more words of their command line, by backbone.
    """

    def __init__(self, folder: Path, backbones: str = 'ab', seeds: int = 2) -> None:
        self.folder, self.options = folder, {}
        self.log = folder / 'driver.log'
        folder.mkdir(exist_ok=True)
        self.trials = self.planned(backbones, seeds)

    def planned(self, backbones: str, seeds: int, config: dict = CONFIG,
                sha256: str = 'f' * 64) -> list[Trial]:
        plans = {name: Plan(config, sha256) for name in backbones}
        return grid.trials(plans, range(seeds), self.folder)

    def command(self, trial: Trial) -> tuple[str, ...]:
        options = [] if trial.sha256 is None else ['--sha256', trial.sha256]
        return (*python('-S', HERE / 'stand_in.py', '--backbone', trial.backbone, '--seed',
                        trial.seed, '--work-dir', trial.work_dir, '--config',
                        json.dumps(trial.config), '--digest', trial.digest, *options),
                *self.options.get(trial.backbone, ()))

    def driver(self, trials: list[Trial] | None = None, nap: float = 0.05,
               **options: object) -> Driver:
        environment = dict(os.environ, PYTHONPATH=str(HERE.parents[1]), NAP=str(nap))
        return Driver(self.trials if trials is None else trials, self.folder, self.command,
                      environment=environment, **{'parallel': 2, **options})

    def drive(self, **options: object) -> int:
        """To the end, in this process; the exit code of the command."""
        @exits_cleanly
        def main() -> int:
            driver = self.driver(**options)
            driver.run()
            driver.refuse_failures()
            return 0
        return main()

    def start(self, **options: object) -> Forked:
        return Forked(lambda: self.drive(**options), self.log)

    def states(self) -> dict[str, str]:
        return {trial.name: grid.state_of(trial).status for trial in self.trials}

    def trace(self) -> list[str]:
        path = self.folder / 'trace.txt'
        return path.read_text().splitlines() if path.is_file() else []

    def epochs(self) -> list[str]:
        return [line for line in self.trace() if ' epoch ' in line]

    def until(self, condition: Callable[[], object], timeout_s: float = 20) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.01)
