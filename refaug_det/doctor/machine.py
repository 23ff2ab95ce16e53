"""What the machine has: space, shared memory, cores, open files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from refaug_det.doctor.findings import FAULT, OK, WARNING, Finding, Places

GB = 10**9
SHARED, QUOTA = Path('/dev/shm'), Path('/sys/fs/cgroup/cpu.max')
LEAST_SHARED = 1 * GB  # a batch of 256 images of 224 pixels is 39 MB; workers hold a dozen
LEAST_FILES = 1024  # descriptors: every tensor that a worker hands over takes one
WORKERS = 4  # of most configs in configs/cls, and the training itself


def disk(places: Places) -> Iterator[Finding]:
    """Space where runs, backbones and temporary files are written."""
    from refaug_det.backbones import zoo

    yield space('disk, runs', places.work_dirs, GB, 10 * GB)
    yield space('disk, zoo', zoo.zoo_dir(), GB, 2 * GB)
    yield space('disk, temporary', Path(tempfile.gettempdir()), GB // 10, GB)


def space(name: str, folder: Path, least: int, wanted: int) -> Finding:
    """Space on the disk of a folder, which need not exist yet, and whether one may write there.

    Args:
        least: bytes below which it is a fault.
        wanted: bytes below which it is a warning.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f'{free / GB:.1f} GB free in {folder}'
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Finding(name, FAULT, f'cannot write to {folder}', f'change the rights of {there}, '
                       'or choose another folder: --work-dir, REFAUG_DET_ZOO, TMPDIR')
    status = FAULT if free < least else WARNING if free < wanted else OK
    return Finding(name, status, text, '' if status == OK else
                   f'free some: {wanted / GB:.0f} GB leave room for checkpoints')


def shared_memory(places: Places) -> Iterator[Finding]:
    """Space through which data loaders hand over batches."""
    if SHARED.is_dir():
        usage = shutil.disk_usage(SHARED)
        text = f'{usage.free / GB:.1f} of {usage.total / GB:.1f} GB free in {SHARED}'
        small = usage.free < LEAST_SHARED
        yield Finding('shared memory', WARNING if small else OK, text + (
            '; loaders may end with a bus error' if small else ''),
            'in a container: docker run --ipc=host, or --shm-size=8g' if small else '')


def cores(places: Places) -> Iterator[Finding]:
    """Cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else (
        os.cpu_count() or 1)
    limit, _, period = QUOTA.read_text().partition(' ') if QUOTA.is_file() else ('max', '', '')
    quota = float(limit) / float(period) if limit != 'max' else None
    yield usable_cores(os.cpu_count() or 1, allowed, quota)


def usable_cores(present: int, allowed: int, quota: float | None) -> Finding:
    """How many data loaders can work.

    Args:
        present: cores of the machine.
        allowed: cores that this process may run on.
        quota: cores' worth of time that its container has; None: no limit.
    """
    usable = max(1, int(min(allowed, quota or allowed)))
    text = f'{usable} of {present}' if usable < present else f'{usable}'
    if usable >= WORKERS:
        return Finding('cores', OK, text)
    return Finding('cores', WARNING, f'{text}: fewer than the loaders of most configs', 'pass '
                   f'--cfg-options train_dataloader.num_workers={usable} if the GPU has to wait')


def open_files(places: Places) -> Iterator[Finding]:
    """How many files a process may have open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = 0 <= soft < LEAST_FILES
    yield Finding('open files', WARNING if low else OK, f'at most {soft} of a process',
                  f'ulimit -n {hard if 0 <= hard < 4096 else 4096}' if low else '')
