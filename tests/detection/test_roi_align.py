"""The stand-ins for RoIAlign against loops written from mmcv's formulas."""

import math

import pytest
import torch

from detection.mmcv_operators import COMPILED, install
from refaug_det.errors import UserError

SERVES = install()

import mmcv.ops  # noqa: E402 - cannot be imported before `install`

stand_ins_only = pytest.mark.skipif(SERVES == COMPILED, reason='mmcv is compiled here')


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
    with pytest.raises(UserError, match='RoI 1 of 2'):
        mmcv.ops.roi_align(torch.ones(1, 1, 6, 6), rois, 2)
    mmcv.ops.roi_align(torch.ones(1, 1, 6, 6), rois[:1], 2)
