"""Kills a process at every moment of an operation at which a file changes, one after another."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from refaug_det.runs import files

_CHANGES = {'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.truncate', 'os.link',
            'os.symlink', 'shutil.rmtree'}  # audit events; os.rename is also that of os.replace
_WRITES = {'write', 'writelines', 'truncate'}
_FILES = (io.FileIO, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)


class InTwo(io.FileIO):
    """A file whose larger writes are two, so that a kill can come between them."""

    def write(self, data: Any) -> int:
        view = memoryview(data)
        half = len(view) // 2 if len(view) > 200 else 0
        return (super().write(view[:half]) if half else 0) + super().write(view[half:])


class _Moments:
    """Counts the moments before which a file would change, and kills the process at one."""

    def __init__(self, last: int) -> None:
        self.left = last

    def come(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def audit(self, event: str, args: tuple) -> None:
        opens = event == 'open' and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in _CHANGES or opens:
            self.come()

    def profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == 'c_call' and called.__name__ in _WRITES and isinstance(
                called.__self__, _FILES):
            self.come()


def killed(action: Callable[[], object], last: int) -> bool:
    """Do something in a child that is killed at its moment `last` (from 0), if it comes to it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            moments = _Moments(last)
            files.open = lambda path, mode, buffering: InTwo(path, mode)
            sys.addaudithook(moments.audit)
            sys.setprofile(moments.profile)
            action()
            code = 0
        except BaseException:
            sys.setprofile(None)
            traceback.print_exc()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def everywhere(start: Path, action: Callable[[Path], object], folder: Path,
               step: int = 1) -> Iterator[tuple[int, Path]]:
    """Kill an action at its moments, every time on a new copy of what was there.

    Args:
        start: the folder as it is before.
        action: what is done in such a folder.
        folder: takes the copies, one at a time.
        step: 1 for every moment, 3 for every third.

    Yields:
        The number of the moment, and the folder as the kill left it.
    """
    at, last = folder / 'here', 0
    while True:
        shutil.copytree(start, at)
        if not killed(lambda: action(at), last):
            shutil.rmtree(at)
            assert last, 'the action changes no file'
            return
        yield last, at
        shutil.rmtree(at)
        last += step


def hidden(folder: Path) -> list[str]:
    """What killed writers left in or below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(
        f'.*{files.TEMPORARY_SUFFIX}'))


def faults(start: Path, action: Callable[[Path], object], usable: Callable[[Path], object],
           folder: Path, step: int = 1) -> Iterator[str | None]:
    """For each kill, what is wrong with the folder that it left, or None.

    The folder must be usable, the same action must go through in it, and leave nothing aside.

    Args:
        usable: raises an exception where a folder cannot be used.
    """
    for number, at in everywhere(start, action, folder, step):
        try:
            usable(at)
            files._left_in.cache_clear()  # it is done again in a new process
            action(at)
            usable(at)
            assert not hidden(at), f'left: {hidden(at)}'
        except Exception as error:
            yield f'kill {number}: {type(error).__name__}: {str(error)[:200]}'
        else:
            yield None
