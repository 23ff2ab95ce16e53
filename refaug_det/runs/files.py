"""Files that are whole or absent: write aside, flush to disk, rename."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from refaug_det.errors import FULL, UserError

TEMPORARY_SUFFIX = '.partial'


class _Counted(io.RawIOBase):
    """A file that, once its disk is full, only counts what else is written.

    So the error can say how much is needed, and meets no library that would hide it behind
    an error of its own, as torch.save does.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        self.file, self.at, self.size = file, 0, 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast('B')
        length = len(view)
        try:
            while view and self.error is None:  # a disk that is nearly full takes a part
                view = view[self.file.write(view):]
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.error = error
        self.at += length
        self.size = max(self.size, self.at)
        return length

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at if self.error else self.file.seek(self.at)

    def tell(self) -> int:
        return self.at

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def settle(self) -> None:
        """Have what was written reach the disk, or raise what kept it from that."""
        if self.error is not None:
            raise self.error
        os.fsync(self.file.fileno())


@contextmanager
def atomic_writer(path: Path | str) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it replaces `path`.

    When the body raises, the temporary file is removed and `path` is as it was. What a
    killed writer of the same file left is removed first.

    Raises:
        OSError: it cannot be written; of a full disk, it says the bytes needed and free.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_dead(path)
    temporary, size = aside_of(path), 0
    try:
        with open(temporary, 'wb', buffering=0) as raw:
            counted = _Counted(raw)
            yield cast(BinaryIO, counted)
            size = counted.size
            counted.settle()
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        name_if_full(error, path, f'{size:,} bytes are needed, ' if size else '')
        raise
    _sync_directory(path.parent)


def name_if_full(error: BaseException, path: Path, needed: str = '') -> None:
    """Have an error say, if it is of a full disk, how much is free and of which path it is."""
    if isinstance(error, OSError) and error.errno in FULL and 'free' not in str(error.strerror):
        free = shutil.disk_usage(path if path.is_dir() else path.parent).free
        error.strerror = f'{os.strerror(error.errno)}: {needed}{free:,} bytes are free'
        error.filename = str(path)


def aside_parts(path: Path) -> tuple[str, str]:
    """End and beginning of a hidden name beside `path` that says whose it is, for `sweep_dead`."""
    return f'.{os.getpid()}{TEMPORARY_SUFFIX}', f'.{path.name}.{platform.node()}.'


def aside_of(path: Path) -> Path:
    """Where this process writes what is then renamed to `path`."""
    end, beginning = aside_parts(path)
    return path.with_name(f'{beginning}new{end}')


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """A new folder, hidden beside `path`, to be filled and renamed; else it is removed.

    Raises:
        OSError: of a full disk, it names the folder above, and says the bytes that are free.
    """
    with tempfile.TemporaryDirectory(*aside_parts(path), path.parent) as aside:
        (fresh := Path(aside) / path.name).mkdir()
        try:
            yield fresh
        except OSError as error:
            name_if_full(error, path.parent)
            raise


def of_dead(name: str) -> bool:
    """Whether a name is one of `aside_parts`, by a process of this machine that has ended."""
    if not (name.startswith('.') and name.endswith(TEMPORARY_SUFFIX)):
        return False
    rest, _, process = name.removesuffix(TEMPORARY_SUFFIX).rpartition('.')
    # names of files and of machines have dots: what is between them can be told from behind alone
    return rest.rpartition('.')[0].endswith(f'.{platform.node()}') and _is_dead(process)


def sweep_dead(path: Path) -> None:
    """Remove what writers of `path` left aside that were killed, on this machine.

    A process lists a folder once: those killed later are for the next process.
    """
    beginning = aside_parts(path)[1]
    for name in _left_in(os.path.abspath(path.parent), os.getpid()):
        if name.startswith(beginning) and of_dead(name):
            remove(path.with_name(name))


@functools.lru_cache(maxsize=1024)
def _left_in(folder: str, process: int) -> list[str]:
    """Names of what killed writers left; `process`, since a fork inherits the cache."""
    try:
        return [name for name in os.listdir(folder) if of_dead(name)]
    except OSError:  # a folder that cannot be listed can still be written to
        return []


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    with atomic_writer(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode('utf-8'))


def write_json(path: Path | str, value: Any) -> None:
    """Write strict JSON (no NaN), keys in the given order, ending in a newline."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + '\n')


def read_json(path: Path | str, what: str, kind: type = object) -> Any:
    """The value of a JSON file.

    Args:
        path: the file.
        what: what errors call it, such as `the history`.
        kind: which the value must be of.

    Raises:
        UserError: it cannot be read, is no JSON, or its value is of another kind.
    """
    try:
        value = json.loads(Path(path).read_text(encoding='utf-8'))
        if not isinstance(value, kind):
            raise ValueError(f'a {type(value).__name__} where a {kind.__name__} should be')
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{what} is not JSON as it should be ({str(error)[:150]})', path,
                        'restore the file or run the job again') from None
    return value


def write_with(path: Path | str, writer: Callable[[BinaryIO], object]) -> None:
    """Write through a function that takes an open file, such as `torch.save`."""
    with atomic_writer(path) as file:
        writer(file)


def sha256_of(path: Path | str) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(
            hashlib, 'file_digest') else hashlib.sha256(file.read()).hexdigest()


def digest(value: Any) -> str:
    """Hash of a JSON-able value that does not depend on key order."""
    text = json.dumps(value, sort_keys=True, separators=(',', ':'), default=str)
    return hashlib.sha256(text.encode('utf-8')).hexdigest()


def sweep_temporary(directory: Path | str) -> list[Path]:
    """Remove what killed writers left in `directory`, where none is at work; returns the paths."""
    left = sorted(Path(directory).glob(f'.*{TEMPORARY_SUFFIX}'))
    for path in left:
        remove(path)
    return left


def _is_dead(process: str) -> bool:
    """Whether no process has this number; False where that cannot be told."""
    if os.name != 'posix' or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


def _sync_directory(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:  # a file system without directory handles
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
