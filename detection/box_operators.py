"""Operators on boxes and regions, with the signatures of mmcv's compiled ones.

mmcv's functions hand over the tensors to write into; torchvision's operators compute.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from detection.missing_operator import refuse
from refaug_det.errors import UserError

_AVERAGE_POOLING = 1


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Greedy non-maximum suppression, as `mmcv._ext.nms`.

    A box goes when its IoU with a kept box of higher score is above (not equal to) the threshold.
    With offset 0 every decision is that of mmcv's float32 kernel on the CPU. With offset 1 the
    arithmetic is float64, and a decision can differ from that kernel's only where the IoU is
    within float32 rounding of the threshold. Half precision, which mmcv refuses, is widened.

    Args:
        bboxes: (N, 4) corners x1, y1, x2, y2 in pixels, x1 <= x2 and y1 <= y2; N may be 0.
        scores: (N,) any range; of equal ones the earlier box goes first (mmcv leaves it open).
        iou_threshold: in [0, 1].
        offset: 0, or 1 for the old convention that a box spans x2 - x1 + 1 pixels.

    Returns:
        (K,) int64 indices of the kept boxes, highest score first.

    Source: mmcv/ops/csrc/pytorch/cpu/nms.cpp of mmcv 2.
    """
    dtype = torch.promote_types(_at_least_float32(bboxes), scores.dtype)
    if offset:
        # Moving the far corner by one pixel is x2 - x1 + 1 for areas and intersections alike;
        # in float64, because in float32 the sum would round the corner itself.
        dtype = torch.float64
        bboxes = bboxes.to(dtype) + bboxes.new_tensor([0, 0, offset, offset], dtype=dtype)
    if dtype == torch.float32:
        # mmcv takes the threshold as a C float and torchvision as a double: unrounded, an IoU
        # of exactly 0.3 would be above 0.3.
        iou_threshold = torch.tensor(iou_threshold, dtype=dtype).item()
    return torchvision.ops.nms(bboxes.to(dtype), scores.to(dtype), iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign with average pooling written into `output`, as `mmcv._ext.roi_align_forward`.

    Args:
        input: (B, C, H, W) feature maps; half precision is computed in float32.
        rois: (N, 5) image index in [0, B), then x1, y1, x2, y2 in pixels of the input image.
        output: (N, C, aligned_height, aligned_width), overwritten.
        argmax_y, argmax_x: unused, part of the convention for max pooling.
        aligned_height, aligned_width: bins per RoI.
        spatial_scale: feature pixels per image pixel.
        sampling_ratio: samples per bin and axis; 0 takes ceil(RoI size / bins) of them.
        pool_mode: 1 for average; 0 (max) is not served.
        aligned: whether pixel centres lie at half-integers (shifts RoIs by half a pixel).

    Raises:
        MissingOperator: max pooling was asked for.
        UserError: on the CPU, an aligned RoI of negative or undefined size.

    Source: mmcv/ops/csrc/pytorch/cpu/roi_align.cpp of mmcv 2; torchvision has the same formulas.
    """
    _require_average(pool_mode)
    if aligned and rois.device.type == 'cpu':
        _require_sizes(rois)
    dtype = _at_least_float32(input)
    pooled = torch.ops.torchvision.roi_align(
        input.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of `roi_align_forward` with respect to `input`, written into `grad_input`.

    Args:
        grad_output: (N, C, aligned_height, aligned_width).
        grad_input: (B, C, H, W), overwritten.
        rois: as in `roi_align_forward`, and so are all other arguments.

    Raises:
        MissingOperator: max pooling was asked for.
        RuntimeError: on a GPU, if torch is told to use deterministic algorithms only.
    """
    _require_average(pool_mode)
    dtype = _at_least_float32(grad_output)
    grad = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(grad)


def _require_average(pool_mode: int) -> None:
    if pool_mode != _AVERAGE_POOLING:
        refuse('roi_align with max pooling')


def _require_sizes(rois: Tensor) -> None:
    # mmcv asserts this; torchvision would return zeros, or fail to allocate a negative size.
    sound = (rois[:, 3:] >= rois[:, 1:3]).all(dim=1)
    if not sound.all():
        first = int((~sound).nonzero()[0])
        raise UserError(
            'RoIAlign got a region of negative or undefined size',
            f'RoI {first} of {len(rois)} (image, x1, y1, x2, y2): {rois[first].tolist()}',
            'look for boxes with x2 < x1 or y2 < y1 in the annotations, and for a NaN loss before',
        )


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
