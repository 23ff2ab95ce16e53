"""A tiny VOC folder, a tiny registered backbone, and the options that make a run tiny."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection.toy import write_voc
from refaug_det.backbones import resnets, zoo
from refaug_det.toy_world import CLASSES, draw_scene, keyed_rng

TINY = ['model.neck.out_channels=16', 'model.rpn_head.in_channels=16',
        'model.rpn_head.feat_channels=16',
        'model.roi_head.bbox_roi_extractor.out_channels=16',
        'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=32',
        'train_dataloader.dataset.pipeline.2.scale=(96,96)',
        'test_dataloader.dataset.pipeline.1.scale=(96,96)',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
        'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
        'train_dataloader.batch_size=4', 'auto_scale_lr.base_batch_size=4']


@pytest.fixture(scope='session')
def voc(tmp_path_factory):
    """data_root of 12 training and 6 test scenes."""
    root = tmp_path_factory.mktemp('voc') / 'toy_voc'
    write_voc(root, trainval=12, test=6, size=(96, 80), seed=3)
    return root


@pytest.fixture(scope='session')
def coco(tmp_path_factory):
    """data_root in COCO's layout: 9 training and 6 test images, with what is awkward in COCO.

    Ids of images fall, those of categories have gaps; of each split the first object is a crowd,
    the second has no area, and the last image has no object. Areas are of silhouettes.
    """
    root = tmp_path_factory.mktemp('coco') / 'toy_coco'
    categories = [dict(id=3 + 7 * n, name=name) for n, name in enumerate(CLASSES)][::-1]
    ids = {row['name']: row['id'] for row in categories}
    (root / 'annotations').mkdir(parents=True)
    for split, count in (('train2017', 9), ('val2017', 6)):
        (root / split).mkdir()
        images, annotations = [], []
        for n in range(count):
            pixels, objects = draw_scene(keyed_rng('coco', split, n), 96, 80)
            images.append(dict(id=900 - 7 * n, file_name=f'{n:03d}.jpg', width=96, height=80))
            Image.fromarray(pixels).save(root / split / images[-1]['file_name'])
            for item in objects if n < count - 1 else ():
                left, top, right, bottom = item.box
                annotations.append(dict(
                    id=5 + 3 * len(annotations), image_id=images[-1]['id'], iscrowd=0,
                    category_id=ids[item.name], area=float(item.mask.sum()),
                    bbox=[left - 1.13, top - 1.29, right - left + 1.21, bottom - top + 1.07]))
        annotations[0]['iscrowd'] = 1
        annotations[1]['bbox'][2] = 0
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(dict(
            images=images, annotations=annotations, categories=categories)))
    return root


@pytest.fixture(scope='session')
def pycocotools_on():
    """What pycocotools says, as its manual has it, of kept detections on a COCO JSON file."""
    def metrics(path, kept):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(path)
            ids = {row['file_name']: row['id'] for row in truth.imgs.values()}
            names = {row['name']: row['id'] for row in truth.cats.values()}
            images = [ids[image_id.rpartition('/')[2]] for image_id in kept.image_ids]
            evaluation = COCOeval(truth, truth.loadRes([dict(
                image_id=images[kept.images[n]], score=float(kept.scores[n]),
                category_id=names[kept.classes[kept.labels[n]]],
                bbox=[x1, y1, x2 - x1, y2 - y1])
                for n, (x1, y1, x2, y2) in enumerate(kept.boxes.tolist())]), 'bbox')
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        stats = dict(zip(('AP', 'AP50 (COCO)', 'AP75', 'AP (small)', 'AP (medium)', 'AP (large)',
                          '', '', 'AR@100'), evaluation.stats, strict=False))
        of_class = evaluation.eval['precision'][:, :, :, 0, -1]
        stats |= {f'AP/{truth.cats[key]["name"]}': of_class[:, :, n].mean()
                  for n, key in enumerate(evaluation.params.catIds)}  # -1: nothing to find
        return {name: 100 * value for name, value in stats.items() if name and value > -1}
    return metrics


@pytest.fixture
def tiny_backbone(zoo_dir):
    """Name of a registered ResNet-18 of width 8."""
    torch.manual_seed(0)
    net = resnets.reference('resnet18', 8)
    zoo.register('tiny', net.state_dict(), resnets.spec_of('resnet18', 8),
                 provenance={'run': 'abc'}, metrics={})
    return 'tiny'


@pytest.fixture
def zoo_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    return tmp_path / 'zoo'


@pytest.fixture
def arguments(voc, tiny_backbone, tmp_path):
    """Words of a tiny `tools/train_det.py` command line; takes more words."""
    def words(*more, work_dir='run', epochs=2, options=(), config='toy_faster_rcnn', root=voc):
        return [f'configs/det/{config}.py', '--backbone', tiny_backbone, '--data-root',
                str(root), '--work-dir', str(tmp_path / work_dir), '--classes', 'auto', *more,
                '--cfg-options', *TINY, f'train_cfg.max_epochs={epochs}', *options]
    return words


@pytest.fixture(scope='session')
def devkit():
    """The module `devkit.py` beside this file."""
    path = Path(__file__).with_name('devkit.py')
    spec = importlib.util.spec_from_file_location('devkit', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
