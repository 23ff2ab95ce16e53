"""COCO-style AP and AR, by faster-coco-eval where it is installed, else by pycocotools.

Both give the same numbers. Boxes are x2 - x1 wide here (VOC's own rule adds a pixel). Of COCO's
own data, objects have the boxes, the areas (of their segmentation) and the crowds of its file,
and the metrics are those of pycocotools on that file: an object marked `ignore` that is no crowd
is required, as there. Of other data, the area is the box's.

There, difficult objects are ignored: a detection of one counts neither way. COCO's files have two
flags for that. `ignore` is what is meant, but both libraries overwrite it with `iscrowd`, so
that a VOC set converted to COCO's format requires its difficult objects after all; and
`iscrowd` divides by the detection's area alone, so that every small box inside a difficult
object would be forgiven: right for a crowd, and for nothing else. We set `ignore` again after
the libraries have overwritten it: of what is difficult and no crowd, the IoU stays the IoU, and
it takes one detection, as any other object does.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from typing import Any

import numpy as np

from detection.detections import Detections

SIZES = ('all', 'small', 'medium', 'large')  # areas up to 32^2, 96^2 and above
MOST = 100  # detections of an image and class that count
_LIBRARIES = {'faster_coco_eval': ('faster_coco_eval.core.coco',
                                   'faster_coco_eval.core.faster_eval_api', 'COCOeval_faster'),
              'pycocotools': ('pycocotools.coco', 'pycocotools.cocoeval', 'COCOeval')}


def coco_ap(detections: Detections, library: str | None = None) -> dict[str, float | None]:
    """COCO's metrics in percent, over IoUs .50:.05:.95 where the name says no other.

    Args:
        detections: of an image and class the `MOST` of highest score count.
        library: `faster_coco_eval` or `pycocotools`; by default the first that is installed.

    Returns:
        `AP`, `AP50 (COCO)`, `AP75`, `AP (small)`, `AP (medium)`, `AP (large)`, `AR@100`, each
        in [0, 100] or None where there is no object to find; then `AP/CLASS` for each class
        that has objects to find.
    """
    evaluation = _evaluated(detections, library or _installed())
    precision = evaluation['precision'][..., -1]  # (IoU, recall, class, size)
    recall = evaluation['recall'][..., -1]  # (IoU, class, size)
    out = {'AP': _mean(precision[..., 0]), 'AP50 (COCO)': _mean(precision[0, ..., 0]),
           'AP75': _mean(precision[5, ..., 0])}
    for number, size in enumerate(SIZES[1:], start=1):
        out[f'AP ({size})'] = _mean(precision[..., number])
    out['AR@100'] = _mean(recall[..., 0])
    for number, name in enumerate(detections.classes):
        if (value := _mean(precision[:, :, number, 0])) is not None:
            out[f'AP/{name}'] = value
    return out


def _installed() -> str:
    try:
        importlib.import_module('faster_coco_eval')
    except ImportError:
        return 'pycocotools'
    return 'faster_coco_eval'


def _evaluated(detections: Detections, library: str) -> dict[str, Any]:
    coco_module, eval_module, name = _LIBRARIES[library]
    base: Any = getattr(importlib.import_module(eval_module), name)

    class Evaluation(base):
        def _prepare(self) -> None:
            super()._prepare()
            for annotation in self.cocoGt.anns.values() if detections.gt_xywh is None else ():
                annotation['ignore'] = annotation['difficult']

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        make = importlib.import_module(coco_module).COCO
        objects, found = make(), make()
        d = detections
        _fill(found, d, _xywh(d.boxes), d.labels, d.images, score=d.scores)
        gt = _xywh(d.gt_boxes) if d.gt_xywh is None else d.gt_xywh
        _fill(objects, d, gt, d.gt_labels, d.gt_images, difficult=d.gt_difficult, **(
            {} if d.gt_xywh is None else dict(area=d.gt_areas, iscrowd=d.gt_crowd.astype(int))))
        evaluation = Evaluation(objects, found, 'bbox')
        evaluation.params.maxDets = [MOST]  # not 1 and 10 as well
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval


def _xywh(boxes: np.ndarray) -> np.ndarray:
    corners = boxes.astype(np.float64)
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def _fill(coco: Any, detections: Detections, boxes: np.ndarray, labels: np.ndarray,
          images: np.ndarray, **values: np.ndarray) -> None:
    """What the libraries' `loadRes` does, which takes no empty list."""
    columns: dict[str, list] = {
        'image_id': images.tolist(), 'category_id': labels.tolist(), 'bbox': boxes.tolist(),
        'area': boxes[:, 2:].prod(1).tolist(), 'iscrowd': [0] * len(boxes),
        **{key: value.tolist() for key, value in values.items()}}
    coco.dataset = dict(
        images=[dict(id=n, width=int(w), height=int(h))
                for n, (w, h) in enumerate(detections.image_sizes)],
        categories=[dict(id=n, name=str(name)) for n, name in enumerate(detections.classes)],
        annotations=[dict(zip(columns, row, strict=True), id=n) for n, row in enumerate(
            zip(*columns.values(), strict=True), start=1)])  # 0 would read as unmatched
    coco.createIndex()


def _mean(values: np.ndarray) -> float | None:
    """Of those that are defined, in percent; the libraries mark the others by -1."""
    defined = values[values > -1]
    return 100 * float(np.mean(defined)) if len(defined) else None
