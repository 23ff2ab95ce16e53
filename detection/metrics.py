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
from refaug_det.errors import UserError


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
        self.results += [_found(sample) | self.objects(sample) for sample in data_samples]

    @staticmethod
    def objects(sample: dict) -> dict[str, Any]:
        """What there is to find on an image, as `detections.of_images` takes it."""
        parts = [sample['gt_instances'], sample['ignored_instances']]
        counts = [len(part['labels']) for part in parts]
        difficult = np.repeat([False, True], counts)
        # Packing put the difficult ones last; of equal IoUs the first object of the file wins.
        flags = np.asarray(sample.get('gt_ignore_flags', difficult), bool)
        order = np.argsort(np.argsort(flags, kind='stable'))
        boxes, labels = (np.concatenate([part[key].cpu().numpy() for part in parts])
                         for key in ('bboxes', 'labels'))
        return dict(gt_boxes=boxes[order], gt_labels=labels[order], gt_difficult=difficult[order])

    def compute_metrics(self, results: list[dict]) -> dict[str, float | None]:
        """Of all images, in the order of the data set; mmengine calls it on one process only."""
        found = detections.of_images(self.dataset_meta['classes'], results)
        if self.save_to is not None:
            detections.save(found, Path(self.save_to) / detections.FILE_NAME)
        return metrics_of(found)


@METRICS.register_module()
class RefAugCocoMetric(RefAugVOCMetric):
    """The same, of objects as COCO's file has them: its own boxes and areas, and crowds.

    The test pipeline must pack `instances` (`meta_keys`), which `RefAugCocoDataset` gives.

    Args:
        As `RefAugVOCMetric`.
    """

    @staticmethod
    def objects(sample: dict) -> dict[str, Any]:
        if any('as_filed' not in item for item in sample.get('instances', [{}])):
            raise UserError('the samples do not say what COCO\'s file has of their objects',
                            'test_dataloader.dataset', 'take RefAugCocoDataset with '
                            'test_mode=True, and PackDetInputs with `instances` in its meta_keys')
        instances = sample['instances']
        filed = np.array([item['as_filed'] for item in instances], float).reshape(-1, 6)
        return dict(gt_boxes=[item['bbox'] for item in instances],
                    gt_labels=[item['bbox_label'] for item in instances],
                    gt_difficult=[item['ignore_flag'] for item in instances],
                    gt_xywh=filed[:, :4], gt_areas=filed[:, 4], gt_crowd=filed[:, 5])


def _found(sample: dict) -> dict[str, Any]:
    """What was found on an image, as `detections.of_images` takes it."""
    found, height, width = sample['pred_instances'], *sample['ori_shape'][:2]
    return dict(image_ids=str(sample['img_id']), image_sizes=(width, height),
                boxes=found['bboxes'].float().cpu().numpy(),
                scores=found['scores'].float().cpu().numpy(),
                labels=found['labels'].cpu().numpy())
