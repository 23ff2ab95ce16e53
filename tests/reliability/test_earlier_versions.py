"""Figure R16: what each released version wrote is read, and what a later one will write refused.

The files are in `fixtures/VERSION`, written by `fixtures/make.py` with that version.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from classification.analysis import hook
from classification.toy import write_image_folder
from detection import detections
from detection.evaluate import metrics_of
from refaug_det.backbones import zoo as backbones
from refaug_det.errors import exits_cleanly
from refaug_det.runs import checkpoints, directory, history, records, results


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


earlier = neighbour('earlier_files')
VERSIONS = sorted(path for path in Path(__file__).with_name('fixtures').iterdir()
                  if (path / 'expected.json').is_file())
FIRST = VERSIONS[0]


@pytest.mark.figure('R16')
@pytest.mark.parametrize('version', VERSIONS, ids=lambda path: path.name)
def test_every_file_is_read_as_it_was_meant(version, tally):
    expected = json.loads((version / 'expected.json').read_text())
    found = json.loads(json.dumps(earlier.read_all(version)))
    wrong = [name for name in expected if found.get(name) != expected[name]]
    tally(len(wrong), len(expected))
    assert not wrong
    for run in (version / 'det').iterdir():
        assert metrics_of(detections.load(run)) == pytest.approx(records.read(run).metrics)


@pytest.mark.figure('R16')
@pytest.mark.parametrize('version', VERSIONS, ids=lambda path: path.name)
def test_a_run_that_was_cut_off_goes_on(version, tool, tmp_path, monkeypatch, tally):
    write_image_folder(tmp_path / 'images', 4, 2, size=64)
    run = shutil.copytree(version / 'cut', tmp_path / 'cut')
    before, rows = records.read(run), history.read(run)
    monkeypatch.chdir(tmp_path)
    code = tool('train_cls')(['cut/config.json', '--data-root', 'images', '--work-dir', 'cut',
                              '--name', 'tiny', '--resume'])
    after = records.read(run)
    goes_on = (code, after.status, after.id) == (0, 'done', before.id)
    tally(not goes_on, 1)
    assert goes_on, after
    for then, now in zip(rows, history.read(run), strict=False):
        assert now.items() >= then.items()  # the second epoch is tested after the cut
    assert len(history.read(run)) == 3
    assert backbones.names() == ['tiny-augmented', 'tiny-refined']
    was = earlier.zoo_in(version / 'zoo')['tiny-augmented']['card']['sha256']
    assert backbones.verify('tiny-augmented').sha256 == was  # it was written before the cut


def test_the_files_are_small_and_of_no_machine():
    found = [path for path in FIRST.rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in found) < 300_000
    for path in found:
        data = path.read_bytes()
        assert not [word for word in (b'/tmp', b'/home', b'/root', b'/work') if word in data], path


# Negative controls: what a later version writes, and what is torn

def newer(path: Path) -> None:
    """The same file, of the next format."""
    if path.suffix == '.json':
        value = json.loads(path.read_text())
        for entry in value if isinstance(value, list) else [value]:
            entry['schema'] += 1
        path.write_text(json.dumps(value))
    elif path.suffix == '.npz':
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, 'version': np.int64(99)})
    else:
        state = torch.load(path, weights_only=True)
        torch.save({**state, 'format': state['format'] + 1}, path)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def read(path: Path) -> object:
    """Read a file by the reader that it is for."""
    if path.parent.parent.name == 'zoo':
        return backbones.weights(path.parent.name)
    if path.name == directory.RESOLVED:
        return directory.claim(path.parent, {}, records.read(path.parent), resume=True)
    of_runs = {history.FILE_NAME: history.read, hook.FILE_NAME: hook.read,
               'iter_4.pth': checkpoints.newest_valid}
    if path.name in of_runs:
        return of_runs[path.name](path.parent)
    readers = {records.FILE_NAME: records.read, detections.FILE_NAME: detections.load}
    return readers.get(path.name, results.read)(path)


WITH_VERSION = ['cls/run.json', 'det/tiny-refined-0/run.json', 'zoo/tiny-refined/card.json',
                'det/tiny-refined-0/detections.npz',
                *(f'cls/{name}.json' for name in earlier.ANALYSES)]
WITHOUT = ['cls/history.json', 'cls/risks.json', 'cut/config.json',
           'zoo/tiny-refined/weights.safetensors']


@pytest.mark.figure('R16')
@pytest.mark.parametrize(('file', 'change'), [
    *((file, newer) for file in [*WITH_VERSION, 'cut/iter_4.pth']),
    *((file, half) for file in [*WITH_VERSION, *WITHOUT])])
def test_other_files_are_refused(file, change, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(FIRST, tmp_path / 'copy')
    monkeypatch.setenv('REFAUG_DET_ZOO', str(folder / 'zoo'))
    change(folder / file)
    assert exits_cleanly(lambda: read(folder / file) and 0)() == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.split(':')[0].strip() for line in said] == ['error', 'where', 'fix']
    assert Path(file).name in said[1]


def test_a_torn_checkpoint_is_said_and_passed_over(tmp_path, capsys):
    """An older one may stand; see tests/refaug_det/test_checkpoints.py."""
    run = shutil.copytree(FIRST / 'cut', tmp_path / 'cut')
    half(run / 'iter_4.pth')
    assert checkpoints.newest_valid(run) is None
    assert 'iter_4.pth cannot be read' in capsys.readouterr().out
