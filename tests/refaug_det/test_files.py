"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import hashlib
import json
import os
import platform

import pytest

from refaug_det.runs import files


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'a.json'
    files.write_json(path, {'b': [1, 2.5, None], 'a': 'ü'})
    assert path.read_bytes().endswith(b'}\n')
    assert list(json.loads(path.read_text())) == ['b', 'a']
    files.write_text(path, 'é\n')
    assert path.read_bytes() == 'é\n'.encode()
    files.write_with(path, lambda file: file.write(b'\x00'))
    assert path.read_bytes() == b'\x00'
    assert os.listdir(path.parent) == ['a.json']


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt, SystemExit])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / 'a.txt'
    files.write_text(path, 'before')

    def torn(file):
        file.write(b'half')
        file.flush()
        assert len(os.listdir(tmp_path)) == 2  # it is written aside
        assert path.read_text() == 'before'
        raise error

    with pytest.raises(error):
        files.write_with(path, torn)
    assert path.read_text() == 'before'
    assert os.listdir(tmp_path) == ['a.txt']


def test_a_kill_between_writing_and_renaming_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / 'a.txt'
    files.write_text(path, 'before')
    real = os.replace
    monkeypatch.setattr(os, 'replace', lambda *_: os.kill(os.getpid(), 9))
    child = os.fork()
    if child == 0:
        files.write_text(path, 'after')
    assert os.waitpid(child, 0)[1] == 9
    monkeypatch.setattr(os, 'replace', real)
    assert path.read_text() == 'before'
    left = files.sweep_temporary(tmp_path)
    assert [file.suffix for file in left] == ['.partial']
    assert os.listdir(tmp_path) == ['a.txt']
    files.write_text(path, 'after')  # and without the kill it is written
    assert path.read_text() == 'after'


def test_data_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda fd: (order.append('fsync'), fsync(fd)))
    monkeypatch.setattr(os, 'replace', lambda *paths: (order.append('replace'), replace(*paths)))
    files.write_text(tmp_path / 'a', 'b')
    assert order == ['fsync', 'replace', 'fsync']


def test_json_that_others_could_not_read_is_refused(tmp_path):
    path = tmp_path / 'a.json'
    files.write_json(path, {'loss': 0.5})
    with pytest.raises(ValueError, match='JSON'):
        files.write_json(path, {'loss': float('nan')})
    assert json.loads(path.read_text()) == {'loss': 0.5}


def test_digests(tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(b'abc')
    assert files.sha256_of(path) == hashlib.sha256(b'abc').hexdigest()
    assert files.digest({'a': 1, 'b': [2]}) == files.digest({'b': [2], 'a': 1})
    assert files.digest({'a': 1}) != files.digest({'a': 2})
    assert files.digest([1, 2]) != files.digest([2, 1])


def test_sweeping_takes_nothing_else(tmp_path):
    for name in ('.a.1.partial', 'a.partial', '.hidden', 'iter_1.pth'):
        (tmp_path / name).touch()
    assert [path.name for path in files.sweep_temporary(tmp_path)] == ['.a.1.partial']
    assert len(os.listdir(tmp_path)) == 3
    assert files.sweep_temporary(tmp_path / 'nowhere') == []


def left_by_killed(path):
    """What a killed writer of `path` leaves aside."""
    child = os.fork()
    if child == 0:
        with files.atomic_writer(path):
            os.kill(os.getpid(), 9)
    assert os.waitpid(child, 0)[1] == 9
    return next(path.parent.glob(f'.{path.name}.*'))


def test_whose_process_has_ended(tmp_path):
    left = left_by_killed(tmp_path / 'a.b.json')
    assert files.of_dead(left.name)
    assert not files.of_dead(left.name[1:])
    assert not files.of_dead(left.name.replace(platform.node(), 'else.where'))
    assert not files.of_dead(files.aside_of(tmp_path / 'a').name)  # this one is at work
    with files.folder_aside(tmp_path / 'a.b') as fresh:
        assert not files.of_dead(fresh.parent.name)
        assert files.of_dead(fresh.parent.name.replace(f'.{os.getpid()}.', f'.{2**22 + 1}.'))


def test_a_folder_is_listed_once_by_a_process(tmp_path, monkeypatch):
    first, second = (left_by_killed(tmp_path / name) for name in 'ab')
    real, listed = os.listdir, []
    monkeypatch.setattr(os, 'listdir', lambda path: (listed.append(path), real(path))[1])
    files.write_text(tmp_path / 'a', '')
    assert (first.exists(), second.exists()) == (False, True)  # only what is of the same name
    for _ in range(3):
        files.write_text(tmp_path / 'b', '')
    assert not second.exists()
    assert len(listed) == 1
    third = left_by_killed(tmp_path / 'a')
    child = os.fork()
    if child == 0:  # it has the cache of this process, and lists for itself
        files.write_text(tmp_path / 'a', '')
        os._exit(third.exists())
    assert os.waitpid(child, 0)[1] == 0
