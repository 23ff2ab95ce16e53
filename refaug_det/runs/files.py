"""Files that are whole or absent: write aside, flush to disk, rename."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY_SUFFIX = '.partial'


@contextmanager
def atomic_writer(path: Path | str) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it replaces `path`.

    When the body raises, the temporary file is removed and `path` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}')
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_bytes(path: Path | str, data: bytes) -> None:
    with atomic_writer(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode('utf-8'))


def write_json(path: Path | str, value: Any) -> None:
    """Write strict JSON (no NaN), keys in the given order, ending in a newline."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + '\n')


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
    """Remove what a killed writer left behind in `directory`; returns the files."""
    left = sorted(Path(directory).glob(f'.*{TEMPORARY_SUFFIX}'))
    for path in left:
        path.unlink(missing_ok=True)
    return left


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
