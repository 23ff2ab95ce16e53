"""A check of `refaug-det doctor`: can mmdet be imported, and which operators serve it?"""

from __future__ import annotations

from collections.abc import Iterator

from refaug_det.doctor.findings import FAULT, OK, Finding, Places, first_line
from refaug_det.errors import UserError

NAME = 'mmcv operators'
AGAIN = ('mend the faults above it first; else pip install --force-reinstall --no-deps '
         'onedl-mmengine onedl-mmcv onedl-mmdetection')


def operators(places: Places) -> Iterator[Finding]:
    """Whether the operators that serve mmdet compute, and which they are."""
    from detection import mmcv_operators

    try:
        serves = mmcv_operators.install()
        import mmdet
        wrong = faults()
    except UserError as error:
        yield Finding(NAME, FAULT, error.what, error.fix)
    except Exception as error:  # compiled for another torch, or versions that mmdet refuses
        yield Finding(NAME, FAULT, f'{type(error).__name__}: {first_line(error)}', AGAIN)
    else:
        yield Finding(NAME, FAULT, f'{serves}: wrong results of {", ".join(wrong)}', AGAIN
                      ) if wrong else Finding(NAME, OK, f'{serves}; mmdet {mmdet.__version__}')


def faults() -> list[str]:
    """Names of operators that compute something else than they should, on a tiny input."""
    import torch
    from mmcv.ops import nms, roi_align, sigmoid_focal_loss

    boxes = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 5], [6, 6, 8, 8]])
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1]
    pooled = roi_align(torch.full((1, 1, 8, 8), 3.0), torch.tensor([[0., 1, 1, 5, 5]]), (2, 2))
    loss = sigmoid_focal_loss(torch.zeros(1, 1), torch.tensor([0]), 2.0, 0.25, None, 'sum')
    right = {'nms': kept.tolist() == [0, 2], 'roi_align': bool((pooled == 3).all()),
             'sigmoid_focal_loss': abs(float(loss) - 0.25 * 0.25 * 0.693147) < 1e-5}
    return [name for name, is_right in right.items() if not is_right]
