"""Let unchanged mmdet run where mmcv came without its compiled operators.

mmdet imports `mmcv.ops`, which imports the compiled `mmcv._ext`. Where that is absent, `install`
puts a module of the same name in its place: non-maximum suppression and RoIAlign, all that
Faster R-CNN needs, go to torchvision's operators; any other operator fails when it is called.
Call it before anything imports mmdet: what mmdet could not import it replaces, for good, by
functions that raise.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

import torch
import torchvision
from torch import Tensor

from refaug_det.errors import UserError

COMPILED = 'mmcv._ext (compiled)'
STAND_INS = 'torchvision (stand-ins for mmcv._ext: nms, roi_align)'
_EXTENSION = 'mmcv._ext'
_AVERAGE_POOLING = 1


class MissingOperator(UserError):
    """An mmcv operator was called that only a compiled mmcv has."""


def install() -> str:
    """Make `import mmcv.ops` work; does nothing where mmcv has its own compiled operators.

    May be called any number of times, also after an `import mmcv.ops` that failed.

    Returns:
        Which operators serve, `COMPILED` or `STAND_INS`; a line for the log and the run record.

    Raises:
        UserError: mmcv is not installed, or an `import mmdet.models` failed before this call.
    """
    serves = serving()
    if serves == STAND_INS and sys.modules.get(_EXTENSION) is None:
        # Modules that did load in the failed import would keep functions that raise.
        if any(name.startswith('mmdet.models.') for name in sys.modules):
            fix = 'call detection.mmcv_operators.install() first, in a new process'
            raise UserError('mmdet was imported before its operators', 'mmdet.models', fix)
        sys.modules[_EXTENSION] = _stand_in_module()
    return serves


def import_mmdet() -> str:
    """`install`, then import mmdet's parts, which registers them, without their chatter.

    Returns:
        What `install` returns.
    """
    serves = install()
    with contextlib.redirect_stdout(io.StringIO()):  # a remark on an optional package
        for part in ('datasets', 'evaluation', 'models'):
            importlib.import_module(f'mmdet.{part}')
    return serves


def serving() -> str:
    """Which operators `install` would leave in service; imports mmcv, changes nothing.

    Returns:
        `COMPILED` or `STAND_INS`.

    Raises:
        UserError: mmcv is not installed.
    """
    loaded = sys.modules.get(_EXTENSION)
    if loaded is not None:
        ours = getattr(loaded.__spec__, 'origin', None) == STAND_INS
        return STAND_INS if ours else COMPILED
    try:
        found = importlib.util.find_spec(_EXTENSION)
    except ModuleNotFoundError as error:
        if error.name != 'mmcv':
            raise
        raise UserError('mmcv is not installed', _EXTENSION, 'pip install onedl-mmcv') from None
    return COMPILED if found else STAND_INS


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


class _StandIns(ModuleType):
    """Has every operator, because mmcv asserts their presence when it is imported."""

    def __getattr__(self, name: str) -> object:
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        return functools.partial(_refuse, name)


def _stand_in_module() -> ModuleType:
    module = _StandIns(_EXTENSION, 'Stand-ins for the compiled operators of mmcv.')
    # importlib.util.find_spec, which mmengine asks for compiled operators, reads the spec.
    module.__spec__ = ModuleSpec(_EXTENSION, loader=None, origin=STAND_INS)
    for operator in (nms, roi_align_forward, roi_align_backward):
        setattr(module, operator.__name__, operator)
    # Asked by mmcv.utils.collect_env, the report people paste into issues: not operators.
    for question in ('get_compiler_version', 'get_compiling_cuda_version'):
        setattr(module, question, lambda: f'n/a: {STAND_INS}')
    return module


def _refuse(name: str, *args: object, **kwargs: object) -> NoReturn:
    raise MissingOperator(
        f"mmcv's operator {name!r} needs a compiled mmcv, and this one is not",
        f'{_EXTENSION}, served by {STAND_INS}; torch {torch.__version__}',
        'use a model without it, or a compiled mmcv: one with a wheel for your torch (mim install '
        'mmcv), or built from source (MMCV_WITH_OPS=1 pip install --no-build-isolation '
        '--no-binary onedl-mmcv onedl-mmcv; version 2.3.6 does not build with torch 2.15)',
    )


def _require_average(pool_mode: int) -> None:
    if pool_mode != _AVERAGE_POOLING:
        _refuse('roi_align with max pooling')


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
