"""The stand-ins against loops written from mmcv's formulas, independent of torchvision's."""

import importlib.util
import math
import os
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

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
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0])
SCORES = st.sampled_from([0.0, 0.1, 0.5, 0.9])


@pytest.fixture(scope='module', autouse=True)
def fresh_interpreter():
    """Runs IMPORTS with all warnings on; started first, because torch takes seconds to load."""
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, '-W', 'default', '-c', IMPORTS]
    environment = {**os.environ, 'PYTHONPATH': root}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as run:
        yield run


def greedy_nms(boxes, scores, threshold, offset, number):
    """Indices kept; `number` is the arithmetic: np.float32 (mmcv's kernel) or Fraction (exact)."""
    boxes = [[number(float(c)) for c in box] for box in boxes]
    limit = Fraction(str(threshold)) if number is Fraction else number(threshold)
    one, zero = number(offset), number(0)
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not any(_iou(boxes[k], boxes[i], one, zero) > limit for k in kept):
            kept.append(i)
    return kept


def _iou(a, b, one, zero):
    area_a = (a[2] - a[0] + one) * (a[3] - a[1] + one)
    area_b = (b[2] - b[0] + one) * (b[3] - b[1] + one)
    width = max(zero, min(a[2], b[2]) - max(a[0], b[0]) + one)
    height = max(zero, min(a[3], b[3]) - max(a[1], b[1]) + one)
    union = area_a + area_b - width * height
    return width * height / union if union != zero else zero  # 0/0 is NaN in mmcv: not above


def kept_by_mmcv(boxes, scores, threshold, offset):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    scores = torch.as_tensor(scores, dtype=torch.float32)
    dets, kept = mmcv.ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.dtype == torch.int64
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))
    return kept.tolist()


def boxes_of(coordinate, size, most=14):  # beyond 16, mmcv's own sort shuffles equal scores
    corner_and_size = st.tuples(coordinate, coordinate, size, size)
    corners = corner_and_size.map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
    return st.lists(st.tuples(corners, SCORES), max_size=most).map(
        lambda rows: ([box for box, _ in rows], [score for _, score in rows])
    )


@settings(max_examples=200, deadline=None)
@given(boxes_of(st.integers(0, 4), st.integers(0, 4)), THRESHOLDS, st.sampled_from([0, 1]))
def test_nms_on_whole_pixels_with_ties_zero_areas_and_nothing(rows, threshold, offset):
    expected = greedy_nms(*rows, threshold, offset, np.float32)
    assert expected == greedy_nms(*rows, threshold, offset, Fraction)
    assert kept_by_mmcv(*rows, threshold, offset) == expected


@settings(max_examples=100, deadline=None)
@given(
    boxes_of(st.floats(-50, 50, width=32), st.floats(0, 60, width=32)),
    THRESHOLDS.filter(lambda threshold: threshold > 0),
)
def test_nms_takes_every_decision_of_the_float32_kernel(rows, threshold):
    boxes = np.array(rows[0], dtype=np.float32).reshape(-1, 4)
    expected = greedy_nms(boxes, rows[1], threshold, 0, np.float32)
    assert kept_by_mmcv(boxes, rows[1], threshold, 0) == expected


@stand_ins_only  # the compiled kernel rounds to float32
@settings(max_examples=100, deadline=None)
@given(boxes_of(st.integers(-9_999, 9_999), st.integers(0, 20_000)), THRESHOLDS)
def test_nms_with_offset_decides_as_exact_arithmetic_does(rows, threshold):
    boxes = (np.array(rows[0], dtype=np.float32) / 64).reshape(-1, 4)
    expected = greedy_nms(boxes, rows[1], threshold, 1, Fraction)
    assert kept_by_mmcv(boxes, rows[1], threshold, 1) == expected


def test_nms_controls_the_reference_tells_wrong_answers_apart():
    boxes, scores = [[0, 0, 1, 1], [0, 0, 2, 1]], [0.9, 0.5]  # IoU 1/2 at offset 0, 4/6 at 1
    assert greedy_nms(boxes, scores, 0.5, 0, np.float32) == [0, 1]
    assert greedy_nms(boxes, scores, 0.5, 1, np.float32) == [0]
    assert kept_by_mmcv(boxes, scores, 0.5, 0) == [0, 1]
    assert kept_by_mmcv(boxes, scores, 0.5, 1) == [0]
    # An IoU of 0.3 in float32 is not above mmcv's float32 threshold; it is above the double 0.3.
    boxes = [[0, 0, 3, 1], [0, 0, 10, 1]]
    assert kept_by_mmcv(boxes, scores, 0.3, 0) == [0, 1]
    assert torchvision.ops.nms(torch.tensor(boxes).float(), torch.tensor(scores), 0.3).numel() == 1
    if SERVES == STAND_INS:  # areas 8191 x 8191 and 8101 x 4141: IoU 0.5 + 7e-9
        boxes = [[0, 0, 8190, 8190], [0, 0, 8100, 4140]]
        assert greedy_nms(boxes, scores, 0.5, 1, np.float32) == [0, 1]
        assert kept_by_mmcv(boxes, scores, 0.5, 1) == [0]


@stand_ins_only
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_nms_in_other_precisions_is_that_of_the_same_numbers_in_float32(dtype):
    generator = torch.Generator().manual_seed(0)
    corners = (torch.rand(40, 2, generator=generator) * 40).to(dtype)
    boxes = torch.cat([corners, corners + 30], dim=1)
    scores = torch.rand(40, generator=generator).to(dtype)
    kept = mmcv.ops.nms(boxes, scores, 0.4)[1]
    assert torch.equal(kept, mmcv.ops.nms(boxes.float(), scores.float(), 0.4)[1])
    assert 1 < len(kept) < 40


def test_batched_nms_separates_the_classes():
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(60, 2, generator=generator) * 30
    boxes, scores = torch.cat([corners, corners + 20], dim=1), torch.rand(60, generator=generator)
    labels = torch.randint(0, 3, (60,), generator=generator)
    config = {'type': 'nms', 'iou_threshold': 0.5}
    dets, kept = mmcv.ops.batched_nms(boxes, scores, labels, config)
    expected = []
    for label in range(3):
        of_label = (labels == label).nonzero().flatten()
        winners = greedy_nms(boxes[of_label], scores[of_label].tolist(), 0.5, 0, np.float32)
        expected += of_label[winners].tolist()
    expected.sort(key=lambda i: -scores[i].item())
    assert kept.tolist() == expected
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))
    agnostic = mmcv.ops.batched_nms(boxes, scores, labels, config, class_agnostic=True)[1]
    assert len(agnostic) < len(kept)


def sample(feature, y, x):
    """(C,) bilinear value of a (C, H, W) map; zero beyond one pixel outside, else clamped."""
    height, width = feature.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return feature.new_zeros(len(feature))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = feature[:, top, left] * (1 - x + left) + feature[:, top, right] * (x - left)
    lower = feature[:, bottom, left] * (1 - x + left) + feature[:, bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def loop_roi_align(features, rois, bins, scale, ratio, aligned):
    """RoIAlign by loops over RoIs, bins and samples; differentiable in `features`."""
    pooled = []
    for image, *corners in rois.tolist():
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0.0) for c in corners)
        size = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
        step = (size[0] / bins[0], size[1] / bins[1])
        grid = (ratio, ratio) if ratio else (math.ceil(step[0]), math.ceil(step[1]))
        for row in range(bins[0]):
            for column in range(bins[1]):
                total = features.new_zeros(features.shape[1])
                for i in range(grid[0]):
                    y = y1 + row * step[0] + (i + 0.5) * step[0] / grid[0]
                    for j in range(grid[1]):
                        x = x1 + column * step[1] + (j + 0.5) * step[1] / grid[1]
                        total = total + sample(features[int(image)], y, x)
                pooled.append(total / max(grid[0] * grid[1], 1))
    return torch.stack(pooled).reshape(len(rois), *bins, -1).permute(0, 3, 1, 2)


BINS = (3, 2)
ROIS = torch.tensor(  # in a map of 6 x 7 pixels at scale 1
    [
        [0, 0.3, 0.7, 5.9, 4.2],
        [1, 1.0, 2.0, 1.5, 2.25],  # smaller than a pixel
        [1, -3.2, -2.1, 3.3, 9.7],  # partly outside on three sides
        [0, 4.6, 3.1, 11.9, 5.5],  # partly outside to the right
        [0, 30.0, 30.0, 40.0, 50.0],  # wholly outside
        [1, 2.2, 3.0, 2.2, 3.0],  # no area
    ],
    dtype=torch.float64,
)


def map_and_rois(scale, dtype=torch.float64):
    features = torch.randn(2, 3, 6, 7, dtype=dtype, generator=torch.Generator().manual_seed(2))
    return features, torch.cat([ROIS[:, :1], ROIS[:, 1:] / scale], dim=1).to(dtype)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('scale', [1.0, 0.25, 1 / 32])
def test_roi_align_and_its_gradient_are_those_of_the_loop(aligned, ratio, scale):
    features, rois = map_and_rois(scale)
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    pooled = mmcv.ops.roi_align(ours, rois, BINS, scale, ratio, 'avg', aligned)
    expected = loop_roi_align(theirs, rois, BINS, scale, ratio, aligned)
    torch.testing.assert_close(pooled, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(pooled)
    (gradient,) = torch.autograd.grad((pooled * weights).sum(), ours)
    (reference,) = torch.autograd.grad((expected * weights).sum(), theirs)
    torch.testing.assert_close(gradient, reference, rtol=1e-12, atol=1e-12)
    for wrong in [(2 - ratio, aligned), (ratio, not aligned)]:
        assert (pooled - loop_roi_align(features, rois, BINS, scale, *wrong)).abs().max() > 1e-2


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_passes_finite_differences(aligned, ratio):
    features, rois = map_and_rois(0.5)

    def pool(x):
        return mmcv.ops.roi_align(x, rois, BINS, 0.5, ratio, 'avg', aligned)

    assert torch.autograd.gradcheck(pool, features.requires_grad_(), fast_mode=False)


def test_roi_align_of_no_rois():
    features = torch.ones(2, 3, 6, 7, requires_grad=True)
    pooled = mmcv.ops.RoIAlign(BINS, 0.5)(features, torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 3, 2)
    pooled.sum().backward()
    assert torch.equal(features.grad, torch.zeros_like(features))


@stand_ins_only
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_roi_align_computes_low_precision_in_float32(dtype):
    features, rois = map_and_rois(0.5, dtype)
    features.requires_grad_()
    pooled = mmcv.ops.roi_align(features, rois, BINS, 0.5)
    pooled.sum().backward()
    double = features.detach().double().requires_grad_()
    expected = loop_roi_align(double, rois.double(), BINS, 0.5, 0, True)
    expected.sum().backward()
    assert pooled.dtype == features.grad.dtype == dtype
    close = 2 * torch.finfo(dtype).eps
    assert (pooled - expected).abs().max() < 4 * close
    assert ((features.grad - double.grad).abs() < close * (1 + double.grad.abs())).all()


@stand_ins_only
@pytest.mark.parametrize('corners', [[5, 5, 2, 8], [5, 5, 2, 2], [0, 0, math.nan, 4]])
def test_roi_of_negative_or_undefined_size_is_named(corners):
    rois = torch.tensor([[0, 1, 1, 4, 4], [0, *corners]], dtype=torch.float32)
    with pytest.raises(mmcv_operators.UserError, match='RoI 1 of 2'):
        mmcv.ops.roi_align(torch.ones(1, 1, 6, 6), rois, 2)
    mmcv.ops.roi_align(torch.ones(1, 1, 6, 6), rois[:1], 2)


CALLS = {
    'softnms': lambda: mmcv.ops.soft_nms(torch.ones(2, 4), torch.ones(2)),
    'nms_rotated': lambda: mmcv.ops.nms_rotated(torch.ones(2, 5), torch.ones(2), 0.5),
    'deform_conv_forward': lambda: mmcv.ops.DeformConv2d(1, 1, 1)(
        torch.ones(1, 1, 3, 3), torch.zeros(1, 2, 3, 3)
    ),
    'roi_align with max pooling': lambda: mmcv.ops.roi_align(
        torch.ones(1, 1, 3, 3), torch.zeros(1, 5), 1, 1.0, 0, 'max'
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
