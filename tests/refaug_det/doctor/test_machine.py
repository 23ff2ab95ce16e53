"""Space, shared memory, cores and open files."""

from __future__ import annotations

import os
import resource
import shutil
from types import SimpleNamespace

import pytest

from refaug_det.doctor import machine
from refaug_det.doctor.findings import FAULT, OK, WARNING, Places
from refaug_det.doctor.machine import GB


def space_of(monkeypatch, free):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=free, total=1000))


@pytest.mark.parametrize(('free', 'status'), [
    (0, FAULT), (GB - 1, FAULT), (GB, WARNING), (10 * GB - 1, WARNING), (10 * GB, OK)])
def test_space(tmp_path, monkeypatch, free, status):
    space_of(monkeypatch, free)
    found = machine.space('disk', tmp_path / 'not' / 'yet', GB, 10 * GB)
    assert found.status == status
    assert bool(found.fix) == (status != OK)
    assert not (tmp_path / 'not').exists()


def test_a_full_disk_is_a_fault_everywhere(tmp_path, monkeypatch):
    places = Places(work_dirs=tmp_path)
    space_of(monkeypatch, 100 * GB)
    assert {one.status for one in machine.disk(places)} == {OK}
    space_of(monkeypatch, 0)
    found = list(machine.disk(places))
    assert len(found) == 3
    assert {one.status for one in found} == {FAULT}


def test_where_one_may_not_write(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    assert machine.space('disk', tmp_path / 'file' / 'runs', 0, 0).status == FAULT
    assert machine.space('disk', tmp_path / 'runs', 0, 0).status == OK
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    assert 'cannot write' in machine.space('disk', tmp_path / 'runs', 0, 0).found


def test_shared_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, 'SHARED', tmp_path)
    for free, status in ((64 << 20, WARNING), (machine.LEAST_SHARED, OK)):
        space_of(monkeypatch, free)
        (found,) = machine.shared_memory(Places())
        assert found.status == status
        assert ('--ipc=host' in found.fix) == (status == WARNING)
    monkeypatch.setattr(machine, 'SHARED', tmp_path / 'none')  # not Linux
    assert list(machine.shared_memory(Places())) == []


@pytest.mark.parametrize(('present', 'allowed', 'quota', 'status', 'said'), [
    (16, 16, None, OK, '16'), (64, 8, None, OK, '8 of 64'), (64, 64, 2.0, WARNING, '2 of 64'),
    (2, 2, None, WARNING, '2'), (8, 8, 0.5, WARNING, '1 of 8'), (4, 4, 100.0, OK, '4')])
def test_cores(present, allowed, quota, status, said):
    found = machine.usable_cores(present, allowed, quota)
    assert found.status == status
    assert found.found.partition(':')[0] == said


def test_the_quota_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, 'QUOTA', tmp_path / 'cpu.max')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    for text, said in ((None, '8'), ('max 100000\n', '8'), ('400000 100000\n', '4 of 8')):
        if text:
            (tmp_path / 'cpu.max').write_text(text)
        (found,) = machine.cores(Places())
        assert found.found == said


def test_open_files(monkeypatch):
    for limits, status, fix in (((1024, 1024), OK, ''), ((256, 1024), WARNING, 'ulimit -n 1024'),
                                ((256, 10**6), WARNING, 'ulimit -n 4096'), ((-1, -1), OK, ''),
                                ((256, -1), WARNING, 'ulimit -n 4096')):
        monkeypatch.setattr(resource, 'getrlimit', lambda _, limits=limits: limits)
        (found,) = machine.open_files(Places())
        assert (found.status, found.fix) == (status, fix)
