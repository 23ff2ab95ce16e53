"""The configs of the paper's experiments hold its settings, field by field.

Source: He et al. 2019 (arXiv 1909.09148), and for what it leaves out the VOC schedule of
mmdet v1, which its detection recipe equals.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

import classification.train  # noqa: F401  (registration)
import detection.train  # noqa: F401  (registration, and mmdet)
from refaug_det.runs import config as configs

CONFIGS = Path(__file__).parents[2] / 'configs'
CLS = CONFIGS / 'cls' / 'r50_mixup_refine.py'
DET = CONFIGS / 'det' / 'faster_rcnn_r50_fpn_voc07.py'


@pytest.fixture(scope='module')
def detector() -> Config:
    return configs.load(DET)


def only_schedule(cfg: Config) -> dict:
    """The one learning rate schedule: a warm-up would be a second one."""
    assert len(cfg.param_scheduler) == 1
    return cfg.param_scheduler[0]


def test_imagenet_mixup_with_refinement_is_the_papers():
    cfg = configs.load(CLS)
    assert cfg.train_cfg.max_epochs == 220  # T1 200 + T2 20
    assert only_schedule(cfg) == dict(type='MultiStepLR', begin=0, end=200, by_epoch=True,
                                      milestones=[60, 120, 180], gamma=0.1)
    assert cfg.custom_hooks == [dict(type='RefAugRefinementHook', epochs=20, lr=1e-4)]
    assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=False))
    assert cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.train_dataloader.batch_size == 32  # on 8 GPUs
    assert cfg.model.batch_augments == [dict(type='RefAugMixup', alpha=0.2)]
    assert cfg.model.network == dict(type='RefAugResNet', depth=50)
    assert cfg.model.num_classes == 1000
    train, test = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    assert [(t.name, t.get('size')) for t in train.pipeline] == [
        ('RandomResizedCrop', 224), ('RandomHorizontalFlip', None)]
    assert [(t.name, t.size) for t in test.pipeline] == [('Resize', 256), ('CenterCrop', 224)]
    assert (train.split, test.split) == ('train', 'val')


def test_the_imagenet_baseline_differs_in_the_augmentation_and_its_schedule_alone():
    differing = {key for key, _, _ in configs.differences(
        configs.load(CLS).to_dict(), configs.load(CLS.with_name('r50_standard.py')).to_dict())}
    allowed = ('model.batch_augments', 'custom_hooks', 'train_cfg.max_epochs', 'param_scheduler')
    assert 'train_cfg.max_epochs' in differing
    assert all(key.startswith(allowed) for key in differing)


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
