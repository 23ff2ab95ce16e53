"""Eight writers of records, half of them killed: no row that was acknowledged is lost (R7)."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress

import pytest

from refaug_det.errors import UserError
from refaug_det.runs import files, records
from refaug_det.runs.records import RunRecord

WRITERS, ROWS = 8, 200


def record_of(writer: int, row: int) -> RunRecord:
    return RunRecord(f'w{writer}-{row}', 'detection', status='done', seed=row,
                     metrics={'AP': float(row)}, notes=['x' * 2000])


def one_file_a_run(folder, writer, row):
    record_of(writer, row).write(folder / f'w{writer}' / f'r{row}')


def not_by_rename(folder, writer, row):
    """Negative control: a file that is written where it stands."""
    path = folder / f'w{writer}' / f'r{row}' / records.FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(vars(record_of(writer, row)))
    with open(path, 'w') as file:
        for half in (text[:1000], text[1000:]):
            file.write(half)
            file.flush()
            time.sleep(0.002)


def one_table(folder, writer, row):
    """Negative control: a table that each writer reads, extends and writes, as CSV files are."""
    path = folder / 'table.json'
    rows = json.loads(path.read_text()) if path.is_file() else []
    time.sleep(0.005)
    files.write_json(path, [*rows, f'w{writer}-{row}'])


def write_all(writer, write, folder, count):
    """In a process of its own: write a row, then acknowledge it."""
    with open(folder / f'acknowledged{writer}', 'ab', buffering=0) as acknowledged:
        for row in range(count):
            write(folder, writer, row)
            acknowledged.write(f'w{writer}-{row}\n'.encode())


def run_writers(folder, write, count, kills, seed=0):
    """Returns the names of the rows that were acknowledged, and how many writers were killed."""
    folder.mkdir()
    draw, pids = random.Random(seed), []
    for writer in range(WRITERS):
        pids.append(os.fork())
        if pids[-1] == 0:
            code = 1
            with suppress(BaseException):
                while not (folder / 'go').is_file():  # all of them at once
                    time.sleep(0.001)
                write_all(writer, write, folder, count)
                code = 0
            os._exit(code)
    (folder / 'go').touch()
    paths = [folder / f'acknowledged{writer}' for writer in range(WRITERS)]
    for writer in draw.sample(range(WRITERS), kills):
        least = draw.randrange(count // 4)
        while not paths[writer].is_file() or paths[writer].read_bytes().count(b'\n') < least:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.01))
        os.kill(pids[writer], signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert set(codes) <= {0, -signal.SIGKILL}
    return {name for path in paths for name in path.read_text().split()}, codes.count(-9)


def read_all(folder):
    """Names of the rows that can be read, and how many files cannot."""
    names, corrupt = set(), 0
    for path in folder.rglob(records.FILE_NAME):
        try:
            found = records.read(path)
        except UserError:
            corrupt += 1
            continue
        names.add(found.name)
        assert found.metrics['AP'] == found.seed
        assert len(found.notes[0]) == 2000
    return names, corrupt


@pytest.mark.figure('R7')
def test_no_acknowledged_row_is_lost_and_no_file_is_corrupt(tmp_path, full, tally):
    for seed in range(3 if full else 1):  # those that are killed write less than all their rows
        folder = tmp_path / str(seed)
        acknowledged, killed = run_writers(folder, one_file_a_run, ROWS, WRITERS // 2, seed)
        assert killed == WRITERS // 2
        names, corrupt = read_all(folder)
        tally(len(acknowledged - names) + corrupt, len(acknowledged))
        assert (acknowledged - names, corrupt) == (set(), 0)
        assert len(names - acknowledged) <= killed  # written, and killed before it said so
        assert WRITERS // 2 * ROWS <= len(acknowledged) < WRITERS * ROWS
        assert {record.name for _, record in records.find([folder])} == names


@pytest.mark.figure('R7')
def test_negative_control_a_file_written_in_place_is_corrupt(tmp_path):
    for seed in range(5):  # most kills hit inside a write
        _, killed = run_writers(tmp_path / str(seed), not_by_rename, 40, WRITERS // 2, seed)
        if read_all(tmp_path / str(seed))[1]:
            return
    pytest.fail(f'no file was torn by {killed} kills five times')


@pytest.mark.figure('R7')
def test_negative_control_one_table_loses_rows(tmp_path):
    acknowledged, _ = run_writers(tmp_path / 'runs', one_table, 10, 0)
    kept = set(json.loads((tmp_path / 'runs' / 'table.json').read_text()))
    assert len(acknowledged) == WRITERS * 10
    assert acknowledged - kept
