"""Let unchanged mmdet run where mmcv came without its compiled operators.

mmdet imports `mmcv.ops`, which imports the compiled `mmcv._ext`. Where that is absent, `install`
puts a module of the same name in its place: non-maximum suppression, RoIAlign and the sigmoid
focal loss, all that Faster R-CNN, RetinaNet and FCOS need, go to torchvision's and torch's
operators; any other operator fails when it is called. Call it before anything imports mmdet: what
mmdet could not import it replaces, for good, by functions that raise.
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

from detection.box_operators import nms, roi_align_backward, roi_align_forward
from detection.focal_loss import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from detection.missing_operator import EXTENSION, STAND_INS, MissingOperator, refuse
from refaug_det.errors import UserError

__all__ = ['COMPILED', 'STAND_INS', 'MissingOperator', 'import_mmdet', 'install', 'serving']

COMPILED = 'mmcv._ext (compiled)'


def install() -> str:
    """Make `import mmcv.ops` work; does nothing where mmcv has its own compiled operators.

    May be called any number of times, also after an `import mmcv.ops` that failed.

    Returns:
        Which operators serve, `COMPILED` or `STAND_INS`; a line for the log and the run record.

    Raises:
        UserError: mmcv is not installed, or an `import mmdet.models` failed before this call.
    """
    serves = serving()
    if serves == STAND_INS and sys.modules.get(EXTENSION) is None:
        # Modules that did load in the failed import would keep functions that raise.
        if any(name.startswith('mmdet.models.') for name in sys.modules):
            fix = 'call detection.mmcv_operators.install() first, in a new process'
            raise UserError('mmdet was imported before its operators', 'mmdet.models', fix)
        sys.modules[EXTENSION] = _stand_in_module()
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
    loaded = sys.modules.get(EXTENSION)
    if loaded is not None:
        ours = getattr(loaded.__spec__, 'origin', None) == STAND_INS
        return STAND_INS if ours else COMPILED
    try:
        found = importlib.util.find_spec(EXTENSION)
    except ModuleNotFoundError as error:
        if error.name != 'mmcv':
            raise
        raise UserError('mmcv is not installed', EXTENSION, 'pip install onedl-mmcv') from None
    return COMPILED if found else STAND_INS


class _StandIns(ModuleType):
    """Has every operator, because mmcv asserts their presence when it is imported."""

    def __getattr__(self, name: str) -> object:
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        return functools.partial(refuse, name)


def _stand_in_module() -> ModuleType:
    module = _StandIns(EXTENSION, 'Stand-ins for the compiled operators of mmcv.')
    # importlib.util.find_spec, which mmengine asks for compiled operators, reads the spec.
    module.__spec__ = ModuleSpec(EXTENSION, loader=None, origin=STAND_INS)
    for operator in (nms, roi_align_forward, roi_align_backward,
                     sigmoid_focal_loss_forward, sigmoid_focal_loss_backward):
        setattr(module, operator.__name__, operator)
    # Asked by mmcv.utils.collect_env, the report people paste into issues: not operators.
    for question in ('get_compiler_version', 'get_compiling_cuda_version'):
        setattr(module, question, lambda: f'n/a: {STAND_INS}')
    return module
