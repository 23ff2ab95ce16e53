"""Figure R13, each kind of write: a full disk costs what was being written, and nothing else.

Disks are full in two ways: a writer that takes no more bytes, where every offset can be had, and
a real disk of a few megabytes (as root).
"""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from refaug_det.errors import UserError
from refaug_det.runs import files

WRITERS = ('end of an epoch', 'run.json', 'analysis', 'weights and detections', 'zoo, new',
           'zoo, replaced')  # all that is written through refaug_det.runs.files
DATA_SETS = ('toy images', 'toy VOC', 'archive', 'ImageNet')


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


disks = neighbour('disks')
hidden = neighbour('kill_points').hidden
CASES = neighbour('write_cases').CASES


@pytest.fixture
def disk(tmp_path):
    with disks.mounted(tmp_path / 'disk') as mounted:
        yield mounted


def fault_of(case, at: Path) -> str | None:
    """What is wrong with a write that meets a full disk in `at`."""
    try:
        case.act(at)
    except (OSError, UserError) as error:
        said = f'{error} {getattr(error, "where", "")}'
        if 'are free' not in said or str(at.parent) not in said:
            return f'says {said}'
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    else:
        return 'written'
    try:
        case.usable(at)
        assert not hidden(at), f'left: {hidden(at)}'
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return None


class Small(io.FileIO):
    """A file on a disk that takes so many bytes more."""

    free = 0

    def write(self, data: object) -> int:
        part = memoryview(data)[:Small.free]
        if not part and len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        Small.free -= len(part)
        return super().write(part)


def offsets_at_fault(case, folder: Path, patch, number: int) -> list[str]:
    """The same write with the disk full at `number` offsets; what goes wrong."""
    patch.setattr(os, 'fsync', lambda descriptor: None)
    patch.setattr(files, 'open', lambda path, mode, **_: Small(path, mode), raising=False)
    Small.free = everything = 10**9
    case.start(folder / 'start')
    shutil.copytree(folder / 'start', folder / 'measured')
    Small.free = everything
    case.act(folder / 'measured')
    wrong = []
    for free in disks.spread(everything - Small.free, number):
        at = shutil.copytree(folder / 'start', folder / f'free {free}')
        Small.free = free
        fault = fault_of(case, at)
        Small.free = everything
        if not fault:  # there is room again
            case.act(at)
            case.usable(at)
        wrong += [f'{free} bytes free: {fault}'] if fault else []
    return wrong


@pytest.mark.figure('R13')
@pytest.mark.parametrize('name', WRITERS)
def test_a_write_may_meet_a_full_disk_at_any_offset(tmp_path, monkeypatch, name, full, tally):
    number = 20 if full else 6
    wrong = offsets_at_fault(CASES[name], tmp_path, monkeypatch, number)
    tally(len(wrong), number)
    assert not wrong


@pytest.mark.figure('R13')
@pytest.mark.parametrize('without', ['counting', 'removing', 'aside'])
def test_without_its_mechanism_a_full_disk_is_seen(tmp_path, monkeypatch, without):
    @contextmanager
    def writer(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.open(path, 'wb', buffering=0) as file:
            yield file

    name = 'zoo, replaced'
    if without == 'counting':  # torch.save hides what a full disk raises
        name = 'end of an epoch'
        monkeypatch.setattr(files, '_Counted', Uncounted)
    elif without == 'removing':
        monkeypatch.setattr(Path, 'unlink', lambda path, missing_ok=False: None)
    else:
        monkeypatch.setattr(files, 'atomic_writer', writer)
    assert offsets_at_fault(CASES[name], tmp_path, monkeypatch, 6)


class Uncounted:
    size = 1

    def __init__(self, file: io.FileIO) -> None:
        self.write, self.settle, self.flush = file.write, lambda: None, file.flush


@disks.on_a_disk
@pytest.mark.parametrize('name', [*WRITERS, *DATA_SETS])
def test_a_disk_of_a_few_megabytes(disk, tmp_path, name, full, tally):
    case, number, wrong, met = CASES[name], 20 if full else 3, [], 0
    case.start(tmp_path / 'start')
    before = disk.used()
    shutil.copytree(tmp_path / 'start', disk.path / 'measured')
    between = disk.used()
    case.act(disk.path / 'measured')
    shutil.rmtree(disk.path / 'measured')
    for free in disks.spread(max(between - before, 4096 * 20), number):
        at = shutil.copytree(tmp_path / 'start', disk.path / 'here')
        disk.fill(free)
        fault = fault_of(case, at)
        disk.empty()
        if fault != 'written':  # it counts in pages: some that should not fit do
            met += 1
            wrong += [f'{free} bytes free: {fault}'] if fault else []
            case.act(at)
            case.usable(at)
        shutil.rmtree(at)
    tally(len(wrong), met)
    assert met
    assert not wrong
