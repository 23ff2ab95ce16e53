"""Versions against bounds, and modules that two distributions bring."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest

from refaug_det.doctor import packages
from refaug_det.doctor.findings import FAULT, OK, WARNING, Places

HERE = Places()


@pytest.mark.parametrize(('requirement', 'version', 'status'), [
    ('torch>=2.10', '2.10.0', None), ('torch>=2.10', '2.15.0+cu130', None),
    ('torch>=2.10', '2.9.1', FAULT), ('torch>=2.10', None, FAULT),
    ('torch>=2.10', '2.16.0.dev1', None), ('mmcv>=2.3.6,<2.4', '2.4.0', FAULT),
    ('numpy', '0.1', None), ('numpy', None, FAULT), ('numpy>=1', 'unknown', FAULT),
    ('wandb>=0.17; extra == "wandb"', None, None),
    ('wandb>=0.17; extra == "wandb"', '0.16', WARNING),
    ('wandb>=0.17; extra == "wandb"', '0.17', None),
    ('tomli>=2; python_version < "3"', None, None),
    ('tomli>=2; python_version > "3"', None, FAULT)])
def test_bounds(requirement, version, status):
    found = list(packages.unmet([requirement], lambda name: version))
    assert [one.status for one in found] == ([] if status is None else [status])
    if found:
        assert found[0].fix.startswith('pip install ')
        assert (version or 'not installed') in found[0].found


def test_this_installation(monkeypatch):
    (found,) = packages.packages(HERE)
    assert found.status == OK
    real = packages.version_of
    monkeypatch.setattr(packages, 'version_of',
                        lambda name: '0.0.1' if name == 'safetensors' else real(name))
    (found,) = packages.packages(HERE)
    assert (found.name, found.status) == ('package safetensors', FAULT)
    assert found.found.startswith('0.0.1; it takes >=')


def test_torch_of_another_torchvision(monkeypatch):
    real = packages.version_of
    monkeypatch.setattr(packages, 'version_of',
                        lambda name: '2.10.0' if name == 'torch' else real(name))
    monkeypatch.setattr(metadata, 'requires', lambda name: {
        packages.PACKAGE: ['torch>=2.10'], 'torchvision': ['torch (>=2.14)', 'torchaudio']}[name])
    (found,) = packages.packages(HERE)
    assert (found.name, found.status) == ('package torch', FAULT)
    assert found.found == '2.10.0; it takes >=2.14'


def test_files_without_an_installation(monkeypatch):
    def none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, 'requires', none)
    (found,) = packages.packages(HERE)
    assert found.status == FAULT
    assert 'pip install -e .' in found.fix


def test_python(monkeypatch):
    assert [one.status for one in packages.python(HERE)] == [OK]
    monkeypatch.setattr(packages.platform, 'python_version', lambda: '3.9.18')
    (found,) = packages.python(HERE)
    assert found.status == FAULT
    assert '3.9.18; it takes >=3.10' in found.found


@pytest.mark.parametrize(('installed', 'statuses'), [
    ({'onedl-mmcv': '2.3.6', 'onedl-mmengine': '0.10.12', 'opencv-python-headless': '4'}, []),
    ({'onedl-mmcv': '2.3.6', 'mmcv': '2.1.0'}, [FAULT]),
    ({'opencv-python': '4', 'opencv-python-headless': '4'}, [WARNING]),
    ({'onedl-mmdetection': '3.5.1', 'mmdet': '3.3.0', 'mmengine': '0.10', 'mmengine-lite': '0.10'},
     [FAULT, FAULT])])
def test_one_owner_of_each_module(installed, statuses):
    found = list(packages.shared_modules(installed))
    assert [one.status for one in found] == statuses
    assert all('pip uninstall -y' in one.fix for one in found)


def test_opencv(monkeypatch):
    assert [one.status for one in packages.opencv(HERE)] == [OK]
    monkeypatch.setitem(sys.modules, 'cv2', None)  # as an import that fails
    assert [one.status for one in packages.opencv(HERE)] == [FAULT]
    libgl = packages.no_opencv('libGL.so.1: cannot open shared object file')
    other = packages.no_opencv("No module named 'cv2'")
    assert 'a library of a desktop is missing' in libgl.found
    assert 'library' not in other.found
    assert 'opencv-python-headless' in libgl.fix
