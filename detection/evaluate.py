"""All metrics of one set of detections: what an evaluation records and `refaug-det eval` prints."""

from __future__ import annotations

import numpy as np

from detection import voc_ap
from detection.coco_ap import coco_ap
from detection.detections import Detections

VOC_MODES = ('AP50 (11-point)', 'AP50 (area)')


def metrics_of(detections: Detections) -> dict[str, float | None]:
    """VOC's and COCO's metrics in percent.

    VOC's rules are those of `detection.voc_ap`, COCO's those of `detection.coco_ap`. A class
    without objects to find enters no mean. Of COCO's own data, VOC's metrics take a crowd for a
    difficult object, and a box for one that holds its corner pixels, as of any other data.

    Returns:
        `AP50 (11-point)` (VOC 2007), `AP50 (area)` (VOC 2010 on) and the metrics of `coco_ap`
        (before them of COCO's own data), None where there is no object to find; then
        `NAME/CLASS` for the two, and for `AP`, of each class that has objects to find.
    """
    d = detections
    matching = voc_ap.match(d.boxes, d.scores, d.labels, d.images, d.gt_boxes, d.gt_labels,
                            d.gt_difficult, d.gt_images, len(d.classes))
    means: dict[str, float | None] = {}
    of_classes: dict[str, float | None] = {}
    for name, (aps,) in zip(VOC_MODES, voc_ap.average_precision(matching, [0.5]), strict=True):
        present = {str(c): 100 * float(ap) for c, ap in zip(d.classes, aps, strict=True)
                   if not np.isnan(ap)}
        means[name] = float(np.mean(list(present.values()))) if present else None
        of_classes.update({f'{name}/{c}': value for c, value in present.items()})
    coco: dict[str, float | None] = {}
    for name, value in coco_ap(d).items():
        (of_classes if '/' in name else coco)[name] = value
    return (means | coco if d.gt_xywh is None else coco | means) | of_classes
