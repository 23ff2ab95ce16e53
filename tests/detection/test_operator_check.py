"""The check of mmcv's operators in `refaug-det doctor`."""

from __future__ import annotations

import pytest

from detection import mmcv_operators, operator_check
from refaug_det.doctor.findings import FAULT, OK, Places
from refaug_det.errors import UserError


def test_the_operators_here_compute():
    (found,) = operator_check.operators(Places())
    assert found.status == OK
    assert found.found.startswith((mmcv_operators.COMPILED, mmcv_operators.STAND_INS))


@pytest.mark.parametrize(('error', 'said'), [
    (UserError('mmcv is not installed', 'mmcv._ext', 'pip install onedl-mmcv'), 'not installed'),
    (ImportError('_ext.so: undefined symbol: _ZN3c10'), 'undefined symbol'),
    (AssertionError('MMCV==3.0 is used but incompatible'), 'incompatible')])
def test_what_cannot_be_imported(monkeypatch, error, said):
    def fails():
        raise error

    monkeypatch.setattr(mmcv_operators, 'install', fails)
    (found,) = operator_check.operators(Places())
    assert found.status == FAULT
    assert said in found.found
    assert 'onedl-mmcv' in found.fix


def test_a_missing_operator(monkeypatch):
    import mmcv.ops

    mmcv_operators.install()
    from detection.missing_operator import refuse

    monkeypatch.setattr(mmcv.ops, 'roi_align', lambda *_: refuse('roi_align_forward'))
    (found,) = operator_check.operators(Places())
    assert found.status == FAULT
    assert "'roi_align_forward' needs a compiled mmcv" in found.found


def test_an_operator_that_computes_something_else(monkeypatch):
    mmcv_operators.install()
    import mmcv.ops
    import torch

    assert operator_check.faults() == []
    monkeypatch.setattr(mmcv.ops, 'roi_align', lambda *_: torch.zeros(1, 1, 2, 2))
    (found,) = operator_check.operators(Places())
    assert found.status == FAULT
    assert 'wrong results of roi_align' in found.found
