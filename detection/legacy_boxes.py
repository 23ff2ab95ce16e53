"""Boxes as mmdet v1 measured them: x2 - x1 + 1 pixels wide."""

from __future__ import annotations

from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.registry import TASK_UTILS
from torch import Tensor
from torch.nn import functional


def legacy_overlaps(a: Tensor, b: Tensor, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
    """Overlaps of boxes whose far corner is the last pixel inside.

    Args:
        a: (M, 4) corners x1, y1, x2, y2 in pixels; further columns (a score) are ignored.
        b: (N, 4), likewise.
        mode: `iou`, or `iof` for the share of `a` that `b` covers.
        is_aligned: M equals N, and row goes with row.

    Returns:
        (M, N), or (M,) if aligned; in [0, 1].

    Source: mmdet v1.0, mmdet/core/bbox/geometry.py.
    """
    # Moving the far corner by a pixel is the + 1 of all widths and heights.
    a, b = (functional.pad(get_box_tensor(boxes)[..., :2], (0, 2))
            + functional.pad(get_box_tensor(boxes)[..., 2:4] + 1, (2, 0)) for boxes in (a, b))
    return bbox_overlaps(a, b, mode, is_aligned)


@TASK_UTILS.register_module()
class RefAugLegacyOverlaps:
    """`legacy_overlaps` as the `iou_calculator` of an mmdet assigner."""

    def __call__(self, bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou',
                 is_aligned: bool = False) -> Tensor:
        return legacy_overlaps(bboxes1, bboxes2, mode, is_aligned)
