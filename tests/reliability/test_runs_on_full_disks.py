"""Figure R13, whole runs: code 2, three lines, the last checkpoint is kept, --resume is exact.

Disks are full in two ways: the kernel takes no file longer than a limit, and a real disk of a few
megabytes (as root).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from refaug_det.runs import checkpoints

SAVED = 2_000_000  # bytes of a checkpoint of stage 1, at least


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


disks = neighbour('disks')
hidden = neighbour('kill_points').hidden


@pytest.fixture
def disk(tmp_path):
    with disks.mounted(tmp_path / 'disk') as mounted:
        yield mounted


def run(stage, place: Path, log: Path, *words: object, **how):
    place.mkdir(parents=True, exist_ok=True)
    return stage.server.run(
        stage.tool, [*stage.words, '--work-dir', place / 'run', *words, '--cfg-options',
                     *stage.options], log, env={'REFAUG_DET_ZOO': str(place / 'zoo')} | stage.env,
        **how)


def misfortune(ended, place: Path) -> str | None:
    """What is wrong with how a run met a full disk."""
    lines = ended.text.splitlines()
    told = [line for line in lines if line.startswith(('error:', '  where:', '  fix:'))]
    if ended.codes != (2,) or 'Traceback' in ended.text or told != lines[-3:] or (
            'bytes are free' not in told[0] or str(place.parent) not in told[1]):
        return f'exit codes {ended.codes}: {lines[-3:]}'
    if hidden(place):
        return f'left: {hidden(place)}'
    if failed := re.search(r'/iter_(\d+)\.pth$', told[1]):
        if 'bytes are needed' not in told[0]:
            return told[0]
        newest = checkpoints.newest_valid(place / 'run')
        last = newest[1]['iteration'] if newest else 0
        if last != int(failed[1]) - 1:  # it saves at every update
            return f'update {failed[1]} could not be saved, {last} is the newest'
    return None


def goes_on(stage, stages, place: Path, log: Path) -> str | None:
    """With room again, --resume ends as if nothing had happened; what differs."""
    resumed = run(stage, place, log, '--resume')
    if resumed.codes != (0,):
        return resumed.text[-300:]
    found, whole = stages.outcome(place), stage.whole()[0]
    differ = [name for name in {*found, *whole} if found.get(name) != whole.get(name)]
    return f'other {differ}' if differ else None


@pytest.mark.slow
@pytest.mark.figure('R13')
def test_a_run_goes_on_after_a_limit_of_the_kernel(stage1, stages, tmp_path, full, tally):
    number, wrong = 10 if full else 1, []
    for part, size in enumerate(disks.spread(SAVED, number + 1)[1:]):
        place, log = tmp_path / str(size), tmp_path / 'log'
        ended = run(stage1, place, log, patches=[('file_limit', size, 1 + part)])
        wrong.append(misfortune(ended, place) or goes_on(stage1, stages, place, log))
    wrong = [one for one in wrong if one]
    tally(len(wrong), number)
    assert not wrong


@pytest.mark.slow
@pytest.mark.figure('R13')
def test_a_run_that_writes_in_place_loses_its_checkpoint(stage1, tmp_path):
    ended = run(stage1, tmp_path / 'run', tmp_path / 'log',
                patches=[('file_limit', SAVED // 2, 1), ('written_in_place',)])
    assert misfortune(ended, tmp_path / 'run')
    assert 'Traceback' in ended.text
    assert not [path for path in (tmp_path / 'run').rglob('iter_2.pth')
                if path.stat().st_size > SAVED]


@pytest.mark.slow
@disks.on_a_disk
@pytest.mark.parametrize(('what', 'total', 'many'), [
    ('run', 3 * SAVED, 20), ('zoo', SAVED // 2, 5), ('detector', 2 * SAVED, 5)])
def test_a_run_goes_on_after_a_disk_was_full(disk, request, stages, tmp_path, what, total, many,
                                             full, tally):
    stage = request.getfixturevalue('stage2' if what == 'detector' else 'stage1')
    wrong, log = [], tmp_path / 'log'
    room = disks.spread(total, 1 + (many if full else 1))[1:]
    if what == 'run':
        room.append(16_384)  # too little for mmengine's log
    for free in room:
        place = (tmp_path if what == 'zoo' else disk.path) / f'place {free}'
        if what == 'zoo':
            place.mkdir()
            (disk.path / 'zoo').mkdir()
            (place / 'zoo').symlink_to(disk.path / 'zoo')
        disk.fill(free)
        ended = run(stage, place, log)
        disk.empty()
        wrong.append(misfortune(ended, place) or goes_on(stage, stages, place, log))
        shutil.rmtree(place)
        shutil.rmtree(disk.path / 'zoo', ignore_errors=True)
    wrong = [one for one in wrong if one]
    tally(len(wrong), len(room))
    assert not wrong
