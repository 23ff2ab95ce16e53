"""The zoo, data sets, and what killed runs have left."""

from __future__ import annotations

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
from refaug_det.doctor.findings import FAULT, OK, WARNING, Places
from refaug_det.runs import locks
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


@pytest.mark.parametrize(('name', 'age', 'status'), [
    (f'.x.{platform.node()}.{DEAD}.partial', 0, WARNING),
    (f'.x.{platform.node()}.{os.getpid()}.partial', 0, OK),
    (f'.x.elsewhere.{DEAD}.partial', 0, OK), (f'.x.elsewhere.{DEAD}.partial', 90_000, WARNING),
    (f'x.{DEAD}', 90_000, OK)])
def test_temporary_files(tmp_path, monkeypatch, name, age, status):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    path = tmp_path / 'runs' / 'a' / name
    path.parent.mkdir(parents=True)
    path.write_text('')
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert left(tmp_path / 'runs')['temporary files'] == status
    assert path.exists()  # it only reports


def test_a_folder_of_very_many_files(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    for number in range(4):
        RunRecord('a', 'detection', 'done').write(tmp_path / 'runs' / f'{number}')
    monkeypatch.setattr(stores, 'MOST_FILES', 4)
    assert 'runs' not in left(tmp_path / 'runs')
    monkeypatch.setattr(stores, 'MOST_FILES', 3)
    assert left(tmp_path / 'runs')['runs'] == WARNING
