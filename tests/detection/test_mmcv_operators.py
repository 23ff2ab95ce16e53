"""Unchanged mmdet runs on the stand-ins; what they lack is refused by name."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detection import mmcv_operators
from detection.mmcv_operators import COMPILED, STAND_INS, MissingOperator, install, serving
from refaug_det.errors import exits_cleanly

SERVES = install()

import mmcv.ops  # noqa: E402 - cannot be imported before `install`

stand_ins_only = pytest.mark.skipif(SERVES == COMPILED, reason='mmcv is compiled here')
IMPORTS = """
import warnings
try:
    import mmcv.ops
except ModuleNotFoundError as error:
    assert error.name == 'mmcv._ext', error
else:
    raise SystemExit('control failed: mmcv.ops needs no stand-ins here')
from detection.mmcv_operators import install
install()
import mmcv.ops, mmdet
warnings.warn('control', ImportWarning)
"""
@pytest.fixture(scope='module', autouse=True)
def fresh_interpreter():
    """Runs IMPORTS with all warnings on; started first, because torch takes seconds to load."""
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, '-W', 'default', '-c', IMPORTS]
    environment = {**os.environ, 'PYTHONPATH': root}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as run:
        yield run


CALLS = {
    'softnms': lambda: mmcv.ops.soft_nms(torch.ones(2, 4), torch.ones(2)),
    'nms_rotated': lambda: mmcv.ops.nms_rotated(torch.ones(2, 5), torch.ones(2), 0.5),
    'deform_conv_forward': lambda: mmcv.ops.DeformConv2d(1, 1, 1)(
        torch.ones(1, 1, 3, 3), torch.zeros(1, 2, 3, 3)
    ),
    'roi_align with max pooling': lambda: mmcv.ops.roi_align(
        torch.ones(1, 1, 3, 3), torch.zeros(1, 5), 1, 1.0, 0, 'max'
    ),
    'sigmoid_focal_loss with weights of classes': lambda: mmcv.ops.sigmoid_focal_loss(
        torch.ones(1, 2), torch.zeros(1).long(), 2.0, 0.25, torch.ones(2)
    ),
}


@stand_ins_only
@pytest.mark.parametrize('name', CALLS)
def test_missing_operator_is_named_in_three_lines(name, capsys):
    assert exits_cleanly(CALLS[name])() == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert repr(name) in lines[0]
    assert 'mim install mmcv' in lines[2]


@stand_ins_only
def test_missing_operator_survives_a_worker_process_and_dunders_stay_missing():
    with pytest.raises(MissingOperator) as caught:
        CALLS['softnms']()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (MissingOperator, str(caught.value))
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')
    assert hasattr(sys.modules['mmcv._ext'], 'any_operator')


def test_install_is_idempotent_and_visible_to_mmengine():
    from mmengine.utils.dl_utils import mmcv_full_available

    before = sys.modules['mmcv._ext']
    assert install() == install() == serving() == SERVES
    assert sys.modules['mmcv._ext'] is before
    assert mmcv_full_available()
    if SERVES == STAND_INS:
        assert STAND_INS in mmcv.ops.get_compiler_version()


def test_a_compiled_extension_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    if SERVES == STAND_INS:  # control: without the file there is nothing to leave alone
        assert serving() == STAND_INS
    (tmp_path / '_ext.py').write_text('from_the_path = True\n')
    importlib.invalidate_caches()
    assert install() == serving() == COMPILED
    assert 'mmcv._ext' not in sys.modules  # found, and not even imported
    if SERVES == STAND_INS:
        assert importlib.import_module('mmcv._ext').from_the_path
        assert install() == serving() == COMPILED


def test_without_mmcv_the_error_says_so(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'mmcv'", name='mmcv')

    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setattr(importlib.util, 'find_spec', absent)
    with pytest.raises(mmcv_operators.UserError, match='mmcv is not installed'):
        install()


@stand_ins_only
def test_imports_are_quiet_also_after_a_failed_one(fresh_interpreter):
    out, err = fresh_interpreter.communicate()
    assert (fresh_interpreter.returncode, out) == (0, ''), err
    warned = [line for line in err.splitlines() if 'Warning' in line]
    assert [line.split(': ')[-1] for line in warned] == ['control']


@stand_ins_only
def test_mmdet_imported_too_early_is_refused(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setitem(sys.modules, 'mmdet.models.loaded_without_operators', mmcv)
    with pytest.raises(mmcv_operators.UserError, match='imported before'):
        install()
    assert 'mmcv._ext' not in sys.modules


def tiny_faster_rcnn():
    from mmdet.registry import MODELS
    from mmengine.hub import get_config
    from mmengine.registry import DefaultScope

    model = get_config('mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py').model
    model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    model.roi_head.bbox_roi_extractor.out_channels = 16
    model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model)


@pytest.fixture(scope='module')
def detector_and_batch():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    detector = tiny_faster_rcnn()
    samples = []
    for boxes in ([[4, 6, 60, 50], [30, 30, 90, 95]], [[10, 10, 40, 80]]):
        truth = InstanceData(bboxes=torch.tensor(boxes).float())
        truth.labels = torch.arange(len(boxes))
        shape = {'img_shape': (96, 96), 'ori_shape': (96, 96), 'scale_factor': (1.0, 1.0)}
        samples.append(DetDataSample(gt_instances=truth, metainfo=shape))
    images = [torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8) for _ in samples]
    return detector, {'inputs': images, 'data_samples': samples}


def neck_gradient_of_roi_losses(detector, batch):
    detector.zero_grad()
    losses = detector(**detector.data_preprocessor(batch, True), mode='loss')
    total, parts = detector.parse_losses(losses)
    assert len(parts) >= 5
    assert all(torch.isfinite(part).all() for part in parts.values())
    neck = detector.neck.fpn_convs[0].conv.weight
    roi_loss = losses['loss_cls'] + losses['loss_bbox']
    (of_roi,) = torch.autograd.grad(roi_loss, neck, retain_graph=True)
    total.backward()
    return of_roi


def test_unchanged_faster_rcnn_trains_and_predicts(detector_and_batch, monkeypatch):
    detector, batch = detector_and_batch
    of_roi = neck_gradient_of_roi_losses(detector.train(), batch)
    gradients = {n: p.grad for n, p in detector.named_parameters() if p.requires_grad}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    assert of_roi.abs().max() > 0
    found = detector.eval().test_step(batch)
    assert [len(f.pred_instances.scores) > 0 for f in found] == [True, True]
    if SERVES == STAND_INS:  # control: without the backward operator nothing reaches the neck
        extension = sys.modules['mmcv._ext']
        monkeypatch.setattr(extension, 'roi_align_backward', lambda *args, **kwargs: None)
        assert neck_gradient_of_roi_losses(detector.train(), batch).abs().max() == 0
