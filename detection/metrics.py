"""The metrics of `detection.evaluate` as an mmengine metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from detection import detections
from detection.evaluate import metrics_of


@METRICS.register_module()
class RefAugVOCMetric(BaseMetric):
    """VOC's AP50 in both modes and COCO's metrics, in percent; see `metrics_of`.

    Args:
        save_to: directory to write `detections.npz` to at every evaluation; None writes none.
        As mmengine's `BaseMetric` for the rest.
    """

    default_prefix = ''

    def __init__(self, save_to: Path | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.save_to = save_to

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what was found on these images, and what there was to find."""
        self.results += [_row(sample) for sample in data_samples]

    def compute_metrics(self, results: list[dict]) -> dict[str, float | None]:
        """Of all images, in the order of the data set; mmengine calls it on one process only."""
        found = detections.of_images(self.dataset_meta['classes'], results)
        if self.save_to is not None:
            detections.save(found, Path(self.save_to) / detections.FILE_NAME)
        return metrics_of(found)


def _row(sample: dict) -> dict[str, Any]:
    """One image, as `detections.of_images` takes it."""
    found, height, width = sample['pred_instances'], *sample['ori_shape'][:2]
    row = dict(image_ids=str(sample['img_id']), image_sizes=(width, height),
               boxes=found['bboxes'].float().cpu().numpy(),
               scores=found['scores'].float().cpu().numpy(),
               labels=found['labels'].cpu().numpy())
    parts = [sample['gt_instances'], sample['ignored_instances']]
    counts = [len(part['labels']) for part in parts]
    difficult = np.repeat([False, True], counts)
    # Packing put the difficult ones last; of equal IoUs the first object of the file wins.
    flags = np.asarray(sample.get('gt_ignore_flags', difficult), bool)
    order = np.argsort(np.argsort(flags, kind='stable'))
    for key in ('bboxes', 'labels'):
        values = np.concatenate([part[key].cpu().numpy() for part in parts])
        row['gt_' + key.replace('bboxes', 'boxes')] = values[order]
    row['gt_difficult'] = difficult[order]
    return row
