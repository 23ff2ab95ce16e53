"""Torch, GPUs that are there or not, and the JPEG decoder."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
import torch
import torchvision

from refaug_det.doctor import engine
from refaug_det.doctor.engine import GB, GPU
from refaug_det.doctor.findings import FAULT, OK, WARNING, Places

HERE = Places()
FINE = GPU('H200', 140 * GB, 150 * GB, True)


@pytest.mark.parametrize(('found', 'options', 'status', 'said'), [
    ([], dict(driver=False, build='13.0'), OK, 'none'),
    ([], dict(driver=False, build=None), OK, 'none'),
    ([], dict(driver=True, build=None), FAULT, 'built for no GPU'),
    ([], dict(driver=True, build='13.0', error='driver too old (found version 11040)'), FAULT,
     'driver too old'),
    ([], dict(driver=True, build='13.0', visible=''), WARNING, 'hidden'),
    ([], dict(driver=True, build='13.0', visible='-1'), WARNING, 'hidden'),
    ([FINE], dict(driver=True, build='13.0'), OK, '140.0 of 150.0 GB free, bf16'),
    ([FINE._replace(bf16=False)], dict(driver=True, build='13.0'), OK, 'no bf16'),
    ([FINE._replace(free=70 * GB)], dict(driver=True, build='13.0'), WARNING, 'another process'),
    ([FINE._replace(error='no kernel image is available')], dict(driver=True, build='13.0'), FAULT,
     'no kernel image')])
def test_gpus(found, options, status, said):
    (finding,) = engine.gpus(found, **options)
    assert finding.status == status
    assert said in finding.found
    assert bool(finding.fix) == (status != OK)


def test_every_gpu_has_a_line():
    found = list(engine.gpus([FINE, FINE._replace(error='x')], driver=True, build='13.0'))
    assert [(one.name, one.status) for one in found] == [('GPU 0', OK), ('GPU 1', FAULT)]


def test_what_torch_says_when_it_looks(monkeypatch):
    def init():
        raise RuntimeError('The NVIDIA driver on your system is too old\nmore')

    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'init', init)
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    monkeypatch.setattr(engine, 'DRIVER', engine.Path('/'))  # it exists
    (finding,) = engine.gpu(HERE)
    assert finding.status == FAULT
    assert finding.found.endswith('no GPU: The NVIDIA driver on your system is too old')


def test_a_gpu_that_computes_nothing(monkeypatch):
    def refused(number):
        raise RuntimeError('CUDA error: out of memory')

    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda number: 'H200')
    monkeypatch.setattr(torch.cuda, 'mem_get_info', refused)
    (finding,) = engine.gpu(HERE)
    assert (finding.name, finding.status) == ('GPU 0', FAULT)
    assert 'out of memory' in finding.found


def test_torch_with_torchvision(monkeypatch):
    assert [one.status for one in engine.torch_(HERE)] == [OK]

    def missing(*_):
        raise RuntimeError('operator torchvision::nms does not exist')

    monkeypatch.setattr(torchvision.ops, 'nms', missing)
    (finding,) = engine.torch_(HERE)
    assert finding.status == FAULT
    assert 'torchvision::nms does not exist' in finding.found
    monkeypatch.setattr(torchvision.ops, 'nms', lambda *_: torch.tensor([0, 1]))
    (finding,) = engine.torch_(HERE)
    assert 'kept [0, 1], not [0]' in finding.found


def test_jpeg(monkeypatch):
    assert [one.status for one in engine.jpeg(HERE)] == [OK]
    monkeypatch.setattr(simplejpeg, 'decode_jpeg', lambda data, colorspace: np.zeros((16, 16, 3)))
    assert [one.status for one in engine.jpeg(HERE)] == [WARNING]
