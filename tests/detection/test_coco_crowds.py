"""COCO's metrics of drawn data in COCO's format: those of pycocotools on the very same file."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

import detection.train  # noqa: F401  (registration)
from detection import detections
from detection.coco_ap import coco_ap
from detection.coco_dataset import RefAugCocoDataset
from detection.evaluate import metrics_of
from detection.metrics import RefAugCocoMetric, RefAugVOCMetric
from refaug_det.cli import main
from refaug_det.toy_world import CLASSES


@pytest.fixture
def world(tmp_path):
    """COCO annotations that punish every shortcut, in a file; images are headers alone."""
    rng = np.random.default_rng(7)
    categories = [dict(id=5 + 9 * n, name=name) for n, name in enumerate(CLASSES[:3])]
    images = [dict(id=int(key), file_name=f'{key}.png', width=300, height=260)
              for key in rng.permutation(400)[:40] + 1]
    annotations = []
    for image in images[:-2]:
        for _ in range(rng.integers(0, 7)):
            corner, sides = rng.uniform(0, 90, 2), rng.uniform(6, 165, 2)
            # a silhouette's area, at times on the other side of 32^2 or 96^2 than the box's
            annotations.append(dict(
                id=3 * len(annotations) + 1, image_id=image['id'], iscrowd=int(rng.random() < 0.2),
                category_id=categories[rng.integers(3)]['id'],
                bbox=[round(v, 2) for v in (*corner, *sides)],
                area=float(sides.prod() * rng.uniform(0.2, 1))))
    annotations[5]['bbox'][2], annotations[9]['area'] = 0, 0
    for row in annotations[::4]:
        row['ignore'] = 1  # which pycocotools overwrites
    path = tmp_path / 'annotations' / 'instances_val2017.json'
    path.parent.mkdir()
    path.write_text(json.dumps(dict(images=images, annotations=annotations,
                                    categories=categories[::-1])))
    (tmp_path / 'val2017').mkdir()
    for image in images:
        Image.new('L', (300, 260)).save(tmp_path / 'val2017' / image['file_name'])
    return tmp_path


def samples(world, seed=0):
    """What a detector would hand to the metric: boxes near and inside objects, tied scores."""
    made = RefAugCocoDataset(
        data_root=str(world), ann_file='annotations/instances_val2017.json', pipeline=[],
        data_prefix=dict(img='val2017/'), test_mode=True, metainfo=dict(classes=CLASSES[2::-1]))
    rng = np.random.default_rng(seed)
    for info in map(made.get_data_info, range(len(made))):
        boxes, labels = [[5, 5, 60, 60]], [0]
        for item in info['instances']:
            box = np.array(item['bbox'])
            size = np.tile(box[2:] - box[:2], 2)
            for shift in (0, 0, 0.05, 0.2):
                boxes.append(box + rng.normal(0, 1, 4) * shift * size)
            # quarters, as a detector has of a crowd's members
            boxes += [box * [1, 1, 0, 0] + [0, 0, *(box[:2] + size[:2] * share)]
                      for share in (0.25, 0.5)]
            labels += 6 * [item['bbox_label']]
        found = InstanceData(bboxes=torch.tensor(np.array(boxes), dtype=torch.float32),
                             labels=torch.tensor(labels),
                             scores=torch.tensor(rng.integers(1, 20, len(boxes)) / 20).float())
        kept = [item for item in info['instances'] if not item['ignore_flag']]
        gt = [InstanceData(bboxes=torch.tensor([i['bbox'] for i in part]).reshape(-1, 4),
                           labels=torch.tensor([i['bbox_label'] for i in part]).long())
              for part in (kept, [i for i in info['instances'] if i['ignore_flag']])]
        yield dict(img_id=info['img_id'], ori_shape=(260, 300), pred_instances=found,
                   instances=info['instances'], gt_instances=gt[0], ignored_instances=gt[1])


def measured(world, metric=RefAugCocoMetric, seed=0):
    made = metric(save_to=world / 'run')
    made.dataset_meta = dict(classes=CLASSES[2::-1])
    made.process(None, list(samples(world, seed)))
    return made.evaluate(40)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('library', ['faster_coco_eval', 'pycocotools'])
def test_the_metrics_are_pycocotools_on_the_file(world, seed, library, pycocotools_on):
    measured(world, seed=seed)
    kept = detections.load(world / 'run')
    ours = coco_ap(kept, library)
    theirs = pycocotools_on(world / 'annotations' / 'instances_val2017.json', kept)
    assert {name for name, value in ours.items() if value is not None} == theirs.keys()
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=0, abs=1e-10)
    assert 1 < ours['AP'] < 99
    assert (kept.gt_difficult & ~kept.gt_crowd).sum() > 10
    # each thing that the file says decides: without it the metric is another
    none = np.zeros_like(kept.gt_crowd)
    for changes in (dict(gt_crowd=none), dict(gt_crowd=kept.gt_difficult),
                    dict(gt_areas=kept.gt_xywh[:, 2:].prod(1)), dict(gt_xywh=kept.gt_xywh + 1),
                    dict(gt_xywh=None, gt_areas=None, gt_crowd=None)):
        other = coco_ap(dataclasses.replace(kept, **changes), library)
        assert any(abs(other[name] - ours[name]) > 1e-3 for name in ours)


def test_one_pass_gives_all_metrics_and_eval_gives_them_again(world, capsys):
    metrics = measured(world)
    assert {'AP', 'AP50 (11-point)', 'AP50 (area)', 'AR@100'} <= metrics.keys()
    kept = detections.load(world / 'run')
    assert metrics == metrics_of(kept)
    capsys.readouterr()
    assert main(['eval', str(world / 'run'), '--json']) == 0
    assert json.loads(capsys.readouterr().out)[0]['metrics'] == metrics
    easy = np.zeros_like(kept.gt_difficult)
    assert metrics_of(dataclasses.replace(kept, gt_difficult=easy))['AP50 (area)'] != metrics[
        'AP50 (area)']  # to VOC's rule a crowd is a difficult object


def test_vocs_metric_on_the_same_samples_knows_neither_areas_nor_crowds(world):
    ours, theirs = measured(world), measured(world, RefAugVOCMetric)
    assert detections.load(world / 'run').gt_areas is None
    assert ours['AP (medium)'] != theirs['AP (medium)']
    # the same objects in another order, and with their digits cut to float32
    assert ours['AP50 (area)'] == pytest.approx(theirs['AP50 (area)'], abs=0.5)
