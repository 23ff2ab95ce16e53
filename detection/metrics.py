"""AP on VOC: both integration modes from one set of detections."""

from __future__ import annotations

import numpy as np
from mmdet.evaluation import VOCMetric, eval_map
from mmengine.registry import METRICS

MODES = {'11points': 'AP50 (11-point)', 'area': 'AP50 (area)'}


@METRICS.register_module()
class RefAugVOCMetric(VOCMetric):
    """AP at IoU 0.5, in percent: 11-point (VOC 2007) and area (VOC 2010 on), and per class.

    The matching is mmdet's: boxes in +1 pixel coordinates, difficult objects
    neither required nor counted against a detection. A class without objects
    does not enter the mean.
    """

    default_prefix = ''

    def compute_metrics(self, results: list) -> dict[str, float]:
        annotations, detections = zip(*results, strict=True)
        classes = self.dataset_meta['classes']
        metrics: dict[str, float] = {}
        for mode, name in MODES.items():
            _, per_class = eval_map(
                list(detections), list(annotations), iou_thr=0.5, dataset=classes,
                logger='silent', eval_mode=mode, use_legacy_coordinate=True)
            with_objects = {c: 100 * float(r['ap']) for c, r in zip(classes, per_class, strict=True)
                            if r['num_gts'] > 0}
            metrics[name] = float(np.mean(list(with_objects.values()))) if with_objects else 0.0
            metrics.update({f'{name}/{c}': value for c, value in with_objects.items()})
        return metrics
