"""Figure R3: a kill at any moment of any write leaves what can be used, and is swept up after.

Each case is an operation, and what must hold of its folder whenever it was cut off. The
operation is killed at every moment at which a file changes, and then done again.
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from refaug_det.backbones import zoo
from refaug_det.runs import files


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kill_points = neighbour('kill_points')
write_cases = neighbour('write_cases')
CASES = write_cases.CASES


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """A kill does not lose what the kernel has; a busy disk can take seconds."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


def faults(case, folder, step=1):
    case.start(folder / 'start')
    case.usable(folder / 'start')
    return kill_points.faults(folder / 'start', case.act, case.usable, folder, step)


@pytest.mark.figure('R3')
@pytest.mark.parametrize('name', CASES)
def test_every_kill_leaves_what_can_be_used(tmp_path, name, full, tally):
    alike = isinstance(CASES[name], write_cases.Toy)  # many files of which none counts alone
    found = list(faults(CASES[name], tmp_path, 1 if full or not alike else 3))
    wrong = [fault for fault in found if fault]
    tally(len(wrong), len(found))
    assert not wrong, (len(found), wrong)


# Negative controls: each takes one mechanism away

@contextmanager
def written_in_place(path):
    path.parent.mkdir(exist_ok=True)
    with vars(files).get('open', open)(path, 'wb', buffering=0) as file:
        yield file


def old_one_first(path, writer):
    for old in path.parent.glob('iter_*.pth'):
        old.unlink()
    files.write_bytes(path, (writer(data := io.BytesIO()), data.getvalue())[1])


def two_renames(home, card, weights):
    aside, old = home.with_name('.aside'), home.with_name('.old')
    files.write_bytes(aside / zoo.WEIGHTS, weights)
    files.write_json(aside / zoo.CARD, card)
    os.rename(home, old)
    os.rename(aside, home)
    shutil.rmtree(old)


def weights_then_card(home, card, weights):
    files.write_bytes(home / zoo.WEIGHTS, weights)
    files.write_json(home / zoo.CARD, card)


def drawn_in_place(root, arguments, fill):
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    fill(root)


@contextmanager
def extracted_in_place(target):
    target.mkdir()
    yield target


@pytest.mark.figure('R3')
@pytest.mark.parametrize(('name', 'what', 'instead', 'fault'), [
    ('run.json', 'refaug_det.runs.files.atomic_writer', written_in_place, 'not JSON'),
    ('end of an epoch', 'refaug_det.runs.files.write_with', old_one_first, 'NoneType'),
    ('overwrite', 'refaug_det.runs.directory._OWN_FILES', ('run.json', 'iter_*'), 'no run record'),
    ('zoo, replaced', 'refaug_det.backbones.entries.replace', two_renames, 'AssertionError'),
    ('zoo, replaced', 'refaug_det.backbones.entries.replace', weights_then_card, 'not those of'),
    ('zoo, new', 'refaug_det.backbones.entries.sweep', lambda zoo: None, 'left: '),
    ('analysis', 'refaug_det.runs.files.sweep_dead', lambda path: None, 'left: '),
    ('archive', 'refaug_det.data.archives.sweep', lambda root: None, 'left: '),
    ('toy images', 'refaug_det.toy_world.files.sweep_dead', lambda path: None, 'left: '),
    ('toy images', 'classification.toy.write_whole', drawn_in_place, 'AssertionError'),
    ('ImageNet', 'refaug_det.data.archives.aside', extracted_in_place, 'AssertionError')])
def test_without_its_mechanism_a_kill_is_seen(tmp_path, monkeypatch, name, what, instead, fault):
    monkeypatch.setattr(what, instead)
    found = faults(CASES[name], tmp_path)
    assert fault in next(each for each in found if each and fault in each)
