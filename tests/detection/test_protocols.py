"""The protocols of stage 2: their fields are those of their sources."""

from __future__ import annotations

import re
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

import detection.train  # noqa: F401  (registration, and mmdet)
from refaug_det.comparison import protocol
from refaug_det.runs import batches
from refaug_det.runs import config as configs

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'det'
# What every protocol has where it says no other; source: mmdet v1.0, configs/pascal_voc.
EVERY = {
    'total_batch': 16, 'train_cfg.max_epochs': 12, 'optim_wrapper.optimizer.type': 'SGD',
    'optim_wrapper.optimizer.lr': 0.01, 'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.weight_decay': 1e-4, 'optim_wrapper.clip_grad.max_norm': 35,
    'optim_wrapper.clip_grad.norm_type': 2, 'model.backbone.frozen_stages': 1,
    'model.backbone.norm_eval': True, 'model.backbone.norm_cfg.requires_grad': True,
    'train_dataloader.dataset.filter_cfg.bbox_min_size': 0,
    'train_dataloader.dataset.filter_cfg.filter_empty_gt': True,
    'train_dataloader.dataset.pipeline.2.scale': [1000, 600],
    'train_dataloader.dataset.pipeline.3.prob': 0.5,
    'train_dataloader.dataset.ann_file': 'VOC2007/ImageSets/Main/trainval.txt',
    'test_dataloader.dataset.ann_file': 'VOC2007/ImageSets/Main/test.txt',
    'test_dataloader.dataset.pipeline.1.scale': [1000, 600],
    'test_evaluator.type': 'RefAugVOCMetric', 'model.data_preprocessor.pad_size_divisor': 32}
STEP = {'param_scheduler.0.type': 'MultiStepLR', 'param_scheduler.0.milestones': [9],
        'param_scheduler.0.gamma': 0.1, 'param_scheduler.1.type': protocol.ABSENT}
FASTER = {
    'model.type': 'FasterRCNN', 'model.roi_head.bbox_head.num_classes': 20,
    'model.rpn_head.loss_bbox.type': 'L1Loss', 'model.rpn_head.anchor_generator.scales': [8],
    'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 0,
    'model.train_cfg.rpn.allowed_border': -1, 'model.train_cfg.rpn_proposal.max_per_img': 1000}
V1 = {  # its config of September 2019, by the names of mmdet 3
    **STEP, 'model.type': 'FasterRCNN', 'model.roi_head.bbox_head.num_classes': 20,
    'model.rpn_head.anchor_generator.type': 'LegacyAnchorGenerator',
    'model.rpn_head.anchor_generator.center_offset': 0.5,
    'model.rpn_head.anchor_generator.scales': [8],
    'model.rpn_head.anchor_generator.ratios': [0.5, 1.0, 2.0],
    'model.rpn_head.anchor_generator.strides': [4, 8, 16, 32, 64],
    'model.rpn_head.bbox_coder.type': 'LegacyDeltaXYWHBBoxCoder',
    'model.rpn_head.bbox_coder.target_stds': [1, 1, 1, 1],
    'model.rpn_head.loss_bbox.type': 'SmoothL1Loss', 'model.rpn_head.loss_bbox.beta': 1 / 9,
    'model.rpn_head.loss_bbox.loss_weight': 1,
    'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 2,
    'model.roi_head.bbox_roi_extractor.roi_layer.aligned': False,
    'model.roi_head.bbox_roi_extractor.roi_layer.output_size': 7,
    'model.roi_head.bbox_head.bbox_coder.type': 'LegacyDeltaXYWHBBoxCoder',
    'model.roi_head.bbox_head.bbox_coder.target_stds': [0.1, 0.1, 0.2, 0.2],
    'model.roi_head.bbox_head.loss_bbox.type': 'SmoothL1Loss',
    'model.roi_head.bbox_head.loss_bbox.beta': 1, 'model.roi_head.bbox_head.fc_out_channels': 1024,
    'model.train_cfg.rpn.assigner.pos_iou_thr': 0.7, 'model.train_cfg.rpn.sampler.num': 256,
    'model.train_cfg.rpn.assigner.iou_calculator.type': 'RefAugLegacyOverlaps',
    'model.train_cfg.rpn.allowed_border': 0,
    'model.train_cfg.rpn_proposal.nms_pre': 2000, 'model.train_cfg.rpn_proposal.max_per_img': 2000,
    'model.train_cfg.rpn_proposal.nms.iou_threshold': 0.7,
    'model.train_cfg.rpn_proposal.nms.offset': 1,
    'model.train_cfg.rcnn.assigner.match_low_quality': True,
    'model.train_cfg.rcnn.assigner.iou_calculator.type': 'RefAugLegacyOverlaps',
    'model.train_cfg.rcnn.sampler.num': 512, 'model.train_cfg.rcnn.sampler.pos_fraction': 0.25,
    'model.test_cfg.rpn.nms_pre': 1000, 'model.test_cfg.rpn.max_per_img': 1000,
    'model.test_cfg.rpn.nms.offset': 1, 'model.test_cfg.rcnn.nms.offset': 1,
    'model.test_cfg.rcnn.nms.iou_threshold': 0.5, 'model.test_cfg.rcnn.score_thr': 0.05,
    'model.test_cfg.rcnn.max_per_img': 100}
COCO = {  # mmdet 3's faster-rcnn_r50_fpn_1x_coco.py
    **FASTER, 'model.roi_head.bbox_head.num_classes': 80, 'optim_wrapper.optimizer.lr': 0.02,
    'optim_wrapper.clip_grad.max_norm': protocol.ABSENT,
    'optim_wrapper.clip_grad.norm_type': protocol.ABSENT, 'param_scheduler.0.type': 'LinearLR',
    'param_scheduler.0.start_factor': 0.001, 'param_scheduler.0.end': 500,
    'param_scheduler.0.by_epoch': False, 'param_scheduler.1.milestones': [8, 11],
    'param_scheduler.1.gamma': 0.1, 'param_scheduler.1.by_epoch': True,
    'train_dataloader.dataset.type': 'RefAugCocoDataset',
    'train_dataloader.dataset.ann_file': 'annotations/instances_train2017.json',
    'train_dataloader.dataset.data_prefix.img': 'train2017/',
    'train_dataloader.dataset.filter_cfg.bbox_min_size': protocol.ABSENT,
    'train_dataloader.dataset.filter_cfg.min_size': 32,
    'train_dataloader.dataset.pipeline.2.scale': [1333, 800],
    'test_dataloader.dataset.pipeline.1.scale': [1333, 800],
    'test_dataloader.dataset.ann_file': 'annotations/instances_val2017.json',
    'test_dataloader.dataset.data_prefix.img': 'val2017/',
    'test_evaluator.type': 'RefAugCocoMetric'}
BOTH_YEARS = {'train_dataloader.dataset.also': ['VOC2012']}
PROTOCOLS = {
    'faster_rcnn_r50_fpn_voc07': {**STEP, **FASTER},
    'faster_rcnn_r50_fpn_voc07_frozen': {**STEP, **FASTER, 'model.backbone.frozen_stages': 4},
    'faster_rcnn_r50_fpn_voc07_v1': V1,
    'faster_rcnn_r50_fpn_voc0712': {**STEP, **FASTER, **BOTH_YEARS},
    'faster_rcnn_r50_fpn_coco_1x': COCO,
    'retinanet_r50_fpn_voc0712': {
        **STEP, **BOTH_YEARS, 'model.type': 'RetinaNet', 'model.bbox_head.num_classes': 20},
    'fcos_r50_fpn_voc0712': {
        **BOTH_YEARS, 'model.type': 'FCOS', 'model.bbox_head.num_classes': 20,
        'param_scheduler.0.type': 'ConstantLR', 'param_scheduler.0.end': 500,
        'param_scheduler.0.factor': 1 / 3, 'param_scheduler.1.milestones': [9],
        'optim_wrapper.paramwise_cfg.bias_lr_mult': 2},
    'faster_rcnn_r50_c4_voc0712_24k': {  # MoCo: pascal_voc_R_50_C4_24k.yaml and its base
        **BOTH_YEARS, 'train_cfg.max_epochs': protocol.ABSENT, 'train_cfg.max_iters': 24000,
        'optim_wrapper.optimizer.lr': 0.02, 'optim_wrapper.clip_grad.max_norm': protocol.ABSENT,
        'optim_wrapper.clip_grad.norm_type': protocol.ABSENT,
        'optim_wrapper.paramwise_cfg.norm_decay_mult': 0, 'model.backbone.frozen_stages': -1,
        'model.backbone.norm_eval': False, 'sync_bn': 'torch', 'model.neck.type': protocol.ABSENT,
        'model.roi_head.shared_head.type': 'RefAugRes5Head',
        'model.roi_head.bbox_head.num_classes': 20,
        'model.roi_head.bbox_roi_extractor.roi_layer.output_size': 14,
        'model.rpn_head.anchor_generator.scales': [2, 4, 8, 16, 32],
        'model.train_cfg.rpn_proposal.nms_pre': 12000,
        'model.train_cfg.rpn_proposal.max_per_img': 2000, 'model.test_cfg.rpn.nms_pre': 6000,
        'model.test_cfg.rpn.max_per_img': 1000,
        'train_dataloader.dataset.pipeline.2.scale': protocol.ABSENT,
        'train_dataloader.dataset.pipeline.2.scales.0': [1333, 480],
        'train_dataloader.dataset.pipeline.2.scales.10': [1333, 800],
        'test_dataloader.dataset.pipeline.1.scale': [1333, 800],
        'param_scheduler.0.type': 'LinearLR', 'param_scheduler.0.start_factor': 0.001,
        'param_scheduler.0.end': 100, 'param_scheduler.1.milestones': [18000, 22000],
        'param_scheduler.1.gamma': 0.1}}


def fields(cfg: Config) -> dict:
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    batches.keep_total_batch(cfg, 1)
    return protocol.protocol_of(cfg.to_dict())


def of_mmdet(name: str) -> Config:
    return Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / name)


def wrong(found: dict, expected: dict) -> list[str]:
    return [key for key, value in expected.items() if protocol.differences(
        {key: found.get(key, protocol.ABSENT)}, {key: value})]


def test_every_protocol_is_in_the_table():
    there = {path.stem for path in FOLDER.glob('*.py')} - {'toy_faster_rcnn'}
    assert there == set(PROTOCOLS)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_a_protocol_is_that_of_its_source(name):
    cfg, expected = configs.load(FOLDER / f'{name}.py'), {**EVERY, **PROTOCOLS[name]}
    configs.check_keys(cfg, name)
    assert wrong(fields(cfg), expected) == []
    cfg.merge_from_dict({'optim_wrapper.optimizer.lr': 3, 'model.backbone.frozen_stages': 2})
    assert wrong(fields(cfg), expected) == [
        'optim_wrapper.optimizer.lr', 'model.backbone.frozen_stages']


@pytest.mark.parametrize('name', PROTOCOLS)
def test_a_config_opens_with_its_command_and_what_to_expect(name):
    path = FOLDER / f'{name}.py'
    text = path.read_text().split('"""')[1]
    assert f'tools/train_det.py configs/det/{path.name}' in text
    assert re.search('Expect AP|No published number|No number is published', text)
    bases = Config._get_base_files(str(path))  # two files of ours deep: the second has ours no more
    assert all(base.startswith(('mmdet::', '_base_/')) for base in bases)
    assert not any('/_base_/' not in deeper and '::' not in deeper for base in bases
                   if base.startswith('_base_/')
                   for deeper in Config._get_base_files(str(FOLDER / base)))


def test_the_v1_losses_are_those_of_mmdets_own_legacy_config():
    ours = configs.load(FOLDER / 'faster_rcnn_r50_fpn_voc07_v1.py').model
    theirs = of_mmdet('legacy_1.x/faster-rcnn_r50_fpn_1x_coco_v1.py').model
    assert ours.rpn_head == theirs.rpn_head
    assert ours.roi_head.bbox_roi_extractor == theirs.roi_head.bbox_roi_extractor
    theirs.roi_head.bbox_head.num_classes = 20
    assert ours.roi_head.bbox_head == theirs.roi_head.bbox_head
    today = configs.load(FOLDER / 'faster_rcnn_r50_fpn_voc07.py').model
    assert today.rpn_head != ours.rpn_head
    assert today.roi_head.bbox_head != ours.roi_head.bbox_head


def test_fcos_is_mmdets_but_for_the_classes():
    ours = configs.load(FOLDER / 'fcos_r50_fpn_voc0712.py').model
    theirs = of_mmdet('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py').model
    assert ours.bbox_head != theirs.bbox_head
    theirs.bbox_head.num_classes = 20
    assert ours.bbox_head == theirs.bbox_head
    assert ours.neck == theirs.neck
    assert ours.test_cfg == theirs.test_cfg


def test_cocos_is_mmdets_but_for_how_data_are_read_and_measured():
    ours, theirs = configs.load(FOLDER / 'faster_rcnn_r50_fpn_coco_1x.py'), of_mmdet(
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert ours.train_dataloader.batch_size == theirs.train_dataloader.batch_size == 2
    theirs.train_dataloader.batch_size = 16
    differ = {key.removeprefix('train_dataloader.').removeprefix('test_dataloader.')
              for key, _, _ in protocol.differences(fields(ours), fields(theirs))}
    assert differ == {
        'dataset.type', 'dataset.pipeline.0.type', 'dataset.pipeline.3.meta_keys',
        'train_cfg.type', 'test_evaluator.type', 'test_evaluator.ann_file',
        'test_evaluator.format_only', 'test_evaluator.metric',
        'default_hooks.sampler_seed'}  # the keyed sampler needs none
    theirs.optim_wrapper.optimizer.weight_decay = 5e-4
    assert 'optim_wrapper.optimizer.weight_decay' in {
        key for key, _, _ in protocol.differences(fields(ours), fields(theirs))}


def test_the_arms_differ_from_the_papers_protocol_only_where_they_say():
    def of(name):
        return fields(configs.load(FOLDER / f'faster_rcnn_r50_fpn_{name}.py'))

    paper = of('voc07')
    assert protocol.differences(paper, of('voc07_frozen')) == [
        ('model.backbone.frozen_stages', 1, 4)]
    assert protocol.differences(paper, of('voc0712')) == [
        ('train_dataloader.dataset.also', protocol.ABSENT, ['VOC2012'])]
    changed = {key.split('.')[0] for key, _, _ in protocol.differences(paper, of('voc07_v1'))}
    assert changed == {'model'}
