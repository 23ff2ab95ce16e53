"""The config of the paper's detector holds its settings, field by field.

Those of its classifiers: tests/classification/test_recipes.py.

Source: He et al. 2019 (arXiv 1909.09148), and for what it leaves out the VOC schedule of
mmdet v1, which its detection recipe equals.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

import detection.train  # noqa: F401  (registration, and mmdet)
from refaug_det.runs import config as configs

CONFIGS = Path(__file__).parents[2] / 'configs'
DET = CONFIGS / 'det' / 'faster_rcnn_r50_fpn_voc07.py'


@pytest.fixture(scope='module')
def detector() -> Config:
    return configs.load(DET)


def only_schedule(cfg: Config) -> dict:
    """The one learning rate schedule: a warm-up would be a second one."""
    assert len(cfg.param_scheduler) == 1
    return cfg.param_scheduler[0]


def test_voc07_is_the_papers(detector):
    cfg = detector
    assert cfg.train_cfg.max_epochs == 12
    assert only_schedule(cfg) == dict(type='MultiStepLR', begin=0, end=12, by_epoch=True,
                                      milestones=[9], gamma=0.1)  # no warm-up
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper', clip_grad=dict(max_norm=35, norm_type=2),
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
    assert cfg.auto_scale_lr.base_batch_size == 16
    model = cfg.model
    assert (model.type, model.neck.type, model.backbone.depth) == ('FasterRCNN', 'FPN', 50)
    assert (model.backbone.frozen_stages, model.backbone.norm_eval) == (1, True)
    assert model.roi_head.bbox_head.num_classes == 20


def test_voc07_trains_on_all_objects_of_trainval_and_tests_on_test(detector):
    cfg = detector
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    assert train.ann_file == 'VOC2007/ImageSets/Main/trainval.txt'
    assert test.ann_file == 'VOC2007/ImageSets/Main/test.txt'
    assert train.data_prefix == test.data_prefix == dict(sub_data_root='VOC2007/')
    assert test.test_mode
    assert not train.get('test_mode')
    assert train.filter_cfg == dict(filter_empty_gt=True, min_size=0, bbox_min_size=0)
    pipeline = {t.type: t for t in train.pipeline}
    assert pipeline['Resize'] == dict(type='Resize', scale=(1000, 600), keep_ratio=True)
    assert pipeline['RandomFlip'] == dict(type='RandomFlip', prob=0.5)
    tested = {t.type: t for t in test.pipeline}
    assert tested['Resize'] == pipeline['Resize']
    assert not any('Flip' in name for name in tested)
    assert cfg.val_dataloader == cfg.test_dataloader
