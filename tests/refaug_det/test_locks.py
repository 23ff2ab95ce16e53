"""One process at a time in a run directory, for as long as it lives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest

from refaug_det.errors import UserError
from refaug_det.runs import directory, locks, records
from refaug_det.runs.records import RunRecord


def test_a_lock_is_of_one(tmp_path):
    path = tmp_path / 'deep' / '.lock'
    assert not locks.is_held(path)
    assert not path.parent.exists()  # to ask leaves nothing behind
    first = locks.take(path)
    assert locks.take(path) is None
    assert locks.is_held(path)
    os.close(first)
    assert not locks.is_held(path)
    os.close(locks.take(path))


def test_a_child_that_was_given_it_keeps_it_to_its_end(tmp_path):
    path = tmp_path / '.lock'
    for given in (True, False):  # False: the negative control
        descriptor = locks.take(path)
        child = subprocess.Popen([sys.executable, '-S', '-c', 'input()'], stdin=subprocess.PIPE,
                                 pass_fds=[descriptor] if given else [])
        os.close(descriptor)
        assert locks.is_held(path) is given
        child.kill()
        child.communicate()
        assert not locks.is_held(path)


def test_a_run_holds_its_directory(tmp_path):
    record = RunRecord('a', 'detection')
    with directory.recorded(tmp_path, record):
        assert locks.is_held(tmp_path / locks.FILE_NAME)
        before = (tmp_path / 'run.json').read_bytes()
        for enter in (lambda: directory.claim(tmp_path, {}, record, overwrite=True),
                      directory.recorded(tmp_path, record).__enter__):
            with pytest.raises(UserError, match='another process is at work') as caught:
                enter()
            assert caught.value.where == str(tmp_path)
        assert (tmp_path / 'run.json').read_bytes() == before
    assert records.read(tmp_path).status == 'done'
    directory.claim(tmp_path, {}, record, resume=True)


def test_a_run_may_be_given_the_lock(tmp_path, monkeypatch):
    descriptor = locks.take(tmp_path / locks.FILE_NAME)
    for name, value in locks.environment_of(tmp_path).items():
        monkeypatch.setenv(name, value)
    directory.claim(tmp_path, {}, record := RunRecord('a', 'detection'))
    with directory.recorded(tmp_path, record):
        pass
    other = locks.take(tmp_path / 'other' / locks.FILE_NAME)
    with pytest.raises(UserError, match='another process'):  # what was given is one directory's
        directory.claim(tmp_path / 'other', {}, record)
    os.close(other)
    os.close(descriptor)


def test_a_file_system_without_locks_is_worked_in_without(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(locks.fcntl, 'flock', refuse)
    with locks.held(tmp_path), locks.held(tmp_path):
        assert not locks.is_held(tmp_path / locks.FILE_NAME)


@pytest.mark.parametrize('waits', [True, False])
def test_only_one_process_is_alone(tmp_path, waits):
    child = os.fork()
    if child == 0:
        try:
            with locks.alone(tmp_path):
                (tmp_path / 'in').touch()
                time.sleep(0.3)
                (tmp_path / 'out').touch()
        finally:
            os._exit(0)
    while not (tmp_path / 'in').exists():
        time.sleep(0.001)
    with locks.alone(tmp_path) if waits else nullcontext(True) as locked:  # negative control
        assert locked
        assert (tmp_path / 'out').exists() is waits
    os.waitpid(child, 0)
    assert sorted(os.listdir(tmp_path)) == ['in', 'out']
