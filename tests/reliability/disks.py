"""Disks that can be full, where this process may mount them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def may_mount() -> bool:
    """Whether this process has the right (CAP_SYS_ADMIN, number 21)."""
    status = Path('/proc/self/status')
    rights = re.search(r'CapEff:\s*(\w+)', status.read_text()) if status.is_file() else None
    return bool(rights and int(rights[1], 16) >> 21 & 1)


on_a_disk = pytest.mark.figure('R13') if may_mount() else pytest.mark.skip('needs to mount a disk')


class Disk:
    """A disk of 24 MB, and a file that fills it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def used(self) -> int:
        return shutil.disk_usage(self.path).used

    def fill(self, free: int) -> None:
        (self.path / 'ballast').write_bytes(bytes(shutil.disk_usage(self.path).free - free))

    def empty(self) -> None:
        (self.path / 'ballast').unlink()


@contextmanager
def mounted(path: Path) -> Iterator[Disk]:
    path.mkdir()
    words = ['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', str(path)]
    if subprocess.run(words, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('no disk can be mounted')
    try:
        yield Disk(path)
    finally:
        subprocess.run(['umount', str(path)], check=True)


def spread(total: int, number: int) -> list[int]:
    """So many offsets in [0, total), evenly."""
    return [total * part // number for part in range(number)]
