"""Which run directory a live process is at work in: a lock that dies with the process.

A lock (flock) lasts as long as any process that holds the open file; a kill, even of
whoever took it for a child, leaves nothing behind. Between machines it holds where
their shared file system supports flock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refaug_det.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing is locked there
    fcntl = None  # type: ignore[assignment]

FILE_NAME = '.lock'
VARIABLE = 'REFAUG_DET_LOCKED'  # the lock file that this process holds from whoever started it


def take(path: Path) -> int | None:
    """Lock a file, made if need be; returns its descriptor, or None if another has it.

    The lock ends when all processes that inherited the descriptor have closed it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks
        pass
    return descriptor


def is_held(path: Path) -> bool:
    """Whether another process has this lock file now."""
    if not path.is_file():
        return False
    descriptor = take(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def refuse_if_held(work_dir: Path) -> None:
    """Refuse a run directory in which another process is at work.

    Raises:
        UserError: there is one.
    """
    path = work_dir / FILE_NAME
    if not _inherited(path) and is_held(path):
        raise _refusal(work_dir)


@contextmanager
def held(work_dir: Path) -> Iterator[None]:
    """Hold a run directory against other processes.

    Raises:
        UserError: another process has it.
    """
    path = work_dir / FILE_NAME
    if _inherited(path):
        yield
        return
    descriptor = take(path)
    if descriptor is None:
        raise _refusal(work_dir)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process is in this; gives whether the file system can tell.

    Args:
        folder: is there; its own handle is locked, so that no file is left in it.
    """
    if fcntl is None:
        yield False
        return
    descriptor, locked = os.open(folder, os.O_RDONLY), True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks, or without those of folders
            locked = False
        yield locked
    finally:
        os.close(descriptor)


def environment_of(work_dir: Path) -> dict[str, str]:
    """What tells a child that it was given the lock of this run directory."""
    return {VARIABLE: str((work_dir / FILE_NAME).resolve())}


def _inherited(path: Path) -> bool:
    return os.environ.get(VARIABLE) == str(path.resolve())


def _refusal(work_dir: Path) -> UserError:
    return UserError('another process is at work in this run directory', work_dir,
                     'wait for its end, or choose another --work-dir')
