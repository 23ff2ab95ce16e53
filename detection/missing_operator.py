"""What happens when a model calls an operator that only a compiled mmcv has."""

from __future__ import annotations

from typing import NoReturn

import torch

from refaug_det.errors import UserError

EXTENSION = 'mmcv._ext'
STAND_INS = 'torchvision (stand-ins for mmcv._ext: nms, roi_align, sigmoid_focal_loss)'


class MissingOperator(UserError):
    """An mmcv operator was called that only a compiled mmcv has."""


def refuse(name: str, *args: object, **kwargs: object) -> NoReturn:
    """Stand in for an operator that has no stand-in.

    Raises:
        MissingOperator: always.
    """
    raise MissingOperator(
        f"mmcv's operator {name!r} needs a compiled mmcv, and this one is not",
        f'{EXTENSION}, served by {STAND_INS}; torch {torch.__version__}',
        'use a model without it, or a compiled mmcv: one with a wheel for your torch (mim install '
        'mmcv), or built from source (MMCV_WITH_OPS=1 pip install --no-build-isolation '
        '--no-binary onedl-mmcv onedl-mmcv; version 2.3.6 does not build with torch 2.15)',
    )
