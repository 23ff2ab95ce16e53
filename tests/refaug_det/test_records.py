"""`run.json`: what is written is read, and what is no record is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from refaug_det.errors import UserError
from refaug_det.runs import records
from refaug_det.runs.records import RunRecord

GOOD = dict(name='a', stage='detection', status='done', schema=1)


def put(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / records.FILE_NAME).write_text(json.dumps(values))
    return folder


def test_a_record_is_read_as_written(tmp_path):
    record = RunRecord('r50', 'detection', seed=3, metrics={'AP50 (11-point)': 72.0, 'AP': None},
                       protocol={'epochs': 12}, backbone={'name': 'x', 'sha256': 'y', 'run': None},
                       notes=['µ'], started=records.now())
    record.write(tmp_path / 'run')
    assert records.read(tmp_path / 'run') == record
    assert records.read(tmp_path / 'run' / 'run.json') == record
    assert records.read(tmp_path / 'run') != dataclasses.replace(record, seed=4)


def test_two_records_have_two_ids():
    assert RunRecord('a', 'detection').id != RunRecord('a', 'detection').id


@pytest.mark.parametrize(('text', 'said'), [
    ('', 'not JSON'), ('{"name": ', 'not JSON'), ('<html>', 'not JSON'), ('[]', 'schema None'),
    ('{}', 'schema None'), ('"run"', 'schema None')])
def test_a_file_that_is_no_record(tmp_path, text, said):
    (tmp_path / 'run.json').write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        records.read(tmp_path)
    assert caught.value.where == str(tmp_path / 'run.json')


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / 'run.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='not JSON'):
        records.read(tmp_path)


@pytest.mark.parametrize(('change', 'said'), [
    ({'schema': 2}, 'schema 2; this version reads 1'), ({'schema': '1'}, "schema '1'"),
    ({'more': 1}, r"unknown \['more'\]"), ({'status': 'ready'}, 'status'),
    ({'name': None}, 'name'), ({'stage': 3}, 'stage'), ({'status': ['done']}, 'status')])
def test_a_record_of_another_version_or_malformed(tmp_path, change, said):
    assert records.read(put(tmp_path / 'good', **GOOD)).status == 'done'
    with pytest.raises(UserError, match=said):
        records.read(put(tmp_path / 'bad', **{**GOOD, **change}))


def test_records_are_found_below_and_once(tmp_path):
    for name in ('b', 'a/deep/down', 'c'):
        put(tmp_path / name, **{**GOOD, 'name': name})
    found = records.find([tmp_path / 'c', tmp_path, tmp_path / 'b' / 'run.json'])
    assert [record.name for _, record in found] == ['a/deep/down', 'b', 'c']
    assert [record.name for _, record in records.find([tmp_path / 'b'])] == ['b']
    (tmp_path / 'link').symlink_to(tmp_path / 'b')
    assert len(records.find([tmp_path / 'b', tmp_path / 'link', tmp_path / 'a' / '..' / 'b'])) == 1


def test_a_path_without_a_record_is_said(tmp_path):
    put(tmp_path / 'a', **GOOD)
    (tmp_path / 'empty').mkdir()
    for path in (tmp_path / 'empty', tmp_path / 'nowhere'):
        with pytest.raises(UserError, match=r'no run\.json') as caught:
            records.find([tmp_path / 'a', path])
        assert caught.value.where == str(path)
    with pytest.raises(UserError, match='no run record here'):
        records.read(tmp_path / 'empty')
