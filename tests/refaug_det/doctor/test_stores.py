"""The zoo, data sets, and what killed runs have left."""

from __future__ import annotations

import errno
import json
import os
import platform
from pathlib import Path

import pytest
import torch

from refaug_det.backbones import resnets
from refaug_det.backbones import zoo as backbones
from refaug_det.data import sources
from refaug_det.doctor import stores
from refaug_det.doctor.findings import FAULT, OK, WARNING, Places, examine
from refaug_det.runs import files, locks
from refaug_det.runs.records import RunRecord

HERE = Places()
DEAD = 2**22 + 1  # above Linux's largest process number


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    """The folder of a registered ResNet-18 of width 8."""
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    torch.manual_seed(0)
    spec = resnets.spec_of('resnet18', 8, resnets.IMAGENET_MEAN, resnets.IMAGENET_STD)
    backbones.register('mine', {'conv1.weight': torch.randn(8, 3, 7, 7)}, spec,
                       provenance={}, metrics={})
    return tmp_path / 'zoo' / 'mine'


def spoil_card(folder: Path) -> None:
    (folder / backbones.CARD).write_text('{"schema": 1}')


def nan_card(folder: Path) -> None:
    card = json.loads((folder / backbones.CARD).read_text())
    (folder / backbones.CARD).write_text(json.dumps({**card, 'metrics': {'top-1': float('nan')}}))


def no_weights(folder: Path) -> None:
    (folder / backbones.WEIGHTS).unlink()


def short_weights(folder: Path) -> None:
    path = folder / backbones.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])


def other_weights(folder: Path) -> None:
    path = folder / backbones.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b'\x7f')


def test_no_zoo_yet(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'none'))
    (found,) = stores.zoo(HERE)
    assert found.status == OK
    (tmp_path / 'none').write_text('a file')
    assert [one.status for one in stores.zoo(HERE)] == [FAULT]


@pytest.mark.parametrize(('spoil', 'quick_too'), [
    (spoil_card, True), (nan_card, True), (no_weights, True), (short_weights, True),
    (other_weights, False)])
def test_a_broken_backbone(backbone, spoil, quick_too, monkeypatch):
    (found,) = stores.zoo(HERE)
    assert found.status == OK
    assert '1 backbones' in found.found
    spoil(backbone)
    (found,) = stores.zoo(HERE)
    assert (found.name, found.status) == ('backbone mine', FAULT)
    assert found.fix
    monkeypatch.setattr(stores, 'DIGESTED', 0)  # headers alone
    assert [one.status for one in stores.zoo(HERE)] == [FAULT if quick_too else OK]


def test_it_says_that_not_all_was_read(backbone, monkeypatch):
    assert 'backbone verify' not in next(stores.zoo(HERE)).found
    monkeypatch.setattr(stores, 'DIGESTED', 0)
    assert 'backbone verify' in next(stores.zoo(HERE)).found


def test_a_zoo_that_is_read_only(backbone, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, 'access', lambda path, mode: mode != os.W_OK and real(path, mode))
    assert [one.status for one in stores.zoo(HERE)] == [WARNING]


def test_data_sets_in_a_folder_and_in_its_folders(tmp_path):
    (tmp_path / 'cifar-10-batches-py').mkdir()
    for folder, images in (('VOCdevkit', 5011), ('own', 5010)):
        lists = tmp_path / folder / 'VOC2007' / 'ImageSets' / 'Main'
        lists.mkdir(parents=True)
        (lists / 'trainval.txt').write_text('000001\n' * images)
    (tmp_path / 'imagenet' / 'train' / 'n01440764').mkdir(parents=True)
    (found,) = stores.data_sets(Places(tmp_path))
    assert found.status == OK
    there, _, missing = found.found.partition('not there: ')
    assert f'cifar10 in {tmp_path}' in there
    assert f'voc2007 in {tmp_path / "VOCdevkit"}' in there
    assert f'imagenet in {tmp_path / "imagenet"}' in there
    assert {'cifar100', 'coco', 'voc2012', 'voc0712'} <= {*missing.split(', ')}
    assert 'voc2007' not in missing
    assert 'own' not in there  # it only looks like it


def test_no_data_sets(tmp_path, monkeypatch):
    assert [one.status for one in stores.data_sets(HERE)] == [OK]  # not asked for
    assert [one.status for one in stores.data_sets(Places(tmp_path))] == [WARNING]
    assert [one.status for one in stores.data_sets(Places(tmp_path / 'none'))] == [FAULT]

    def broken(name):
        raise ImportError('x')

    monkeypatch.setattr(sources, 'source', broken)
    found = list(stores.data_sets(Places(tmp_path)))
    assert [one.status for one in found] == [FAULT]
    assert all(name in found[0].found for name in sources.names())


def left(folder: Path) -> dict[str, str]:
    return {one.name: one.status for one in stores.left_behind(Places(work_dirs=folder))}


def test_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    RunRecord('a', 'detection', 'done').write(tmp_path / 'runs' / 'a')
    assert set(left(tmp_path / 'runs').values()) == {OK}
    assert set(left(tmp_path / 'none').values()) == {OK}


def test_killed_runs(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    folder = tmp_path / 'runs' / 'a'
    RunRecord('a', 'detection', 'running').write(folder)
    assert left(tmp_path)['killed runs'] == WARNING
    with locks.held(folder):  # a live process has it
        assert left(tmp_path)['killed runs'] == OK
    with monkeypatch.context() as patch:
        patch.setattr(locks, 'take', lambda path: os.open('/no/such/folder/file', os.O_RDWR))
        (folder / locks.FILE_NAME).touch()
        assert left(tmp_path)['killed runs'] == OK  # it cannot be told
    assert left(tmp_path)['killed runs'] == WARNING
    (folder / 'run.json').write_text('{')
    assert left(tmp_path)['run records'] == WARNING
    assert left(tmp_path)['killed runs'] == OK


@pytest.mark.parametrize('folder', [False, True])
@pytest.mark.parametrize(('process', 'machine', 'age', 'status'), [
    (DEAD, None, 0, WARNING), (None, None, 0, OK), (DEAD, 'else.where', 0, OK),
    (DEAD, 'else.where', 90_000, WARNING)])
def test_temporary_files(tmp_path, monkeypatch, folder, process, machine, age, status):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    home = tmp_path / 'runs' / 'a'
    home.mkdir(parents=True)
    process, machine = process or os.getpid(), machine or platform.node()
    with monkeypatch.context() as patch:
        patch.setattr(os, 'getpid', lambda: process)
        patch.setattr(platform, 'node', lambda: machine)
        path = files.aside_of(home / 'run.json')
        if folder:
            with files.folder_aside(home / 'x') as made:
                path = made.parent
    path.mkdir() if folder else path.write_text('')
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert left(tmp_path / 'runs')['temporary files'] == status
    assert path.exists()  # it only reports


def test_what_is_no_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    (tmp_path / f'x.{DEAD}').touch()
    os.utime(tmp_path / f'x.{DEAD}', (0, 0))
    assert left(tmp_path)['temporary files'] == OK


def closed(monkeypatch, folder: Path) -> None:
    """Nobody may read a folder; the superuser, as whom tests may run, could."""
    access, scandir = os.access, os.scandir

    def refuses(path):
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuses)
    monkeypatch.setattr(os, 'listdir', lambda path: [each.name for each in refuses(path)])
    monkeypatch.setattr(os, 'access', lambda path, mode: (
        Path(path) != folder and access(path, mode)))


@pytest.mark.parametrize('place', ['runs', 'runs/a', 'zoo'])
def test_what_cannot_be_looked_into_is_not_ok(tmp_path, monkeypatch, place):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    for name in ('runs/a', 'zoo'):
        (tmp_path / name).mkdir(parents=True)
    assert set(left(tmp_path / 'runs').values()) == {OK}
    closed(monkeypatch, tmp_path / place)
    (found,) = stores.left_behind(Places(work_dirs=tmp_path / 'runs'))
    assert found.status == WARNING
    assert str(tmp_path / place) in found.found


def test_a_name_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    places = Places(tmp_path / ('x' * 300), tmp_path / ('y' * 300))
    assert set(left(places.work_dirs).values()) == {WARNING}
    found = list(examine([('data sets', lambda: stores.data_sets)], places))
    assert [one.status for one in found] == [FAULT]
    assert 'this check failed' not in found[0].found


def test_data_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / 'cifar-10-batches-py').mkdir()
    (tmp_path / 'mine' / 'Annotations').mkdir(parents=True)
    real = Path.is_dir

    def refuses(path):  # some look a folder deeper
        if path.parent == tmp_path / 'mine':
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(Path, 'is_dir', refuses)
    closed(monkeypatch, tmp_path / 'mine')
    found = {one.status: one for one in stores.data_sets(Places(tmp_path))}
    assert set(found) == {OK, WARNING}
    assert found[WARNING].found == f'cannot be looked into: 1: {tmp_path / "mine"}'
    assert 'cifar10 in' in found[OK].found
    closed(monkeypatch, tmp_path)
    (one,) = examine([('data sets', lambda: stores.data_sets)], Places(tmp_path))
    assert one.found == f'cannot read {tmp_path}: Permission denied'
    assert 'rights' in one.fix


def test_a_folder_of_very_many_files(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    for number in range(4):
        RunRecord('a', 'detection', 'done').write(tmp_path / 'runs' / f'{number}')
    monkeypatch.setattr(stores, 'MOST_FILES', 4)
    assert 'runs' not in left(tmp_path / 'runs')
    monkeypatch.setattr(stores, 'MOST_FILES', 3)
    assert left(tmp_path / 'runs')['runs'] == WARNING
