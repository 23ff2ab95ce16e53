"""The stand-in for nms against loops written from mmcv's formulas, apart from torchvision's."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.mmcv_operators import COMPILED, STAND_INS, install

SERVES = install()

import mmcv.ops  # noqa: E402 - cannot be imported before `install`

stand_ins_only = pytest.mark.skipif(SERVES == COMPILED, reason='mmcv is compiled here')
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0])
SCORES = st.sampled_from([0.0, 0.1, 0.5, 0.9])


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
