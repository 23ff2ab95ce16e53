"""The protocol: everything is in it, except what is excluded with a reason."""

from __future__ import annotations

import copy
import inspect
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refaug_det.comparison import protocol
from refaug_det.comparison.protocol import differences, fingerprint, protocol_of
from refaug_det.errors import UserError


def config() -> dict:
    """A detection config in mmdet's shape, as `cfg.to_dict()` gives it."""
    voc = dict(type='VOCDataset', data_root='data/VOCdevkit/', backend_args=None,
               ann_file='VOC2007/ImageSets/Main/trainval.txt',
               data_prefix=dict(sub_data_root='VOC2007/'), metainfo=dict(classes=('cat', 'dog')),
               filter_cfg=dict(filter_empty_gt=True, bbox_min_size=0),
               pipeline=[dict(type='LoadImageFromFile', backend_args=None),
                         dict(type='Resize', scale=(1000, 600), keep_ratio=True)])
    loader = dict(batch_size=16, num_workers=2, persistent_workers=True, dataset=voc,
                  sampler=dict(type='DefaultSampler', shuffle=True))
    return dict(
        default_scope='mmdet', work_dir='runs/a', randomness=dict(seed=0), resume=False,
        train_pipeline=voc['pipeline'], load_from=None, custom_hooks=[],
        model=dict(
            type='FasterRCNN', _scope_='mmdet',
            data_preprocessor=dict(type='DetDataPreprocessor', mean=[1.0, 2.0, 3.0],
                                   std=[1.0, 1.0, 1.0], bgr_to_rgb=True, pad_size_divisor=32),
            backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3),
                          frozen_stages=1, norm_cfg=dict(type='BN', requires_grad=True),
                          norm_eval=True, style='pytorch',
                          init_cfg=dict(type='Pretrained', checkpoint='refaug://a')),
            neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256),
            test_cfg=dict(rcnn=dict(score_thr=0.05))),
        train_dataloader=loader,
        test_dataloader={**copy.deepcopy(loader), 'batch_size': 1},
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
        test_cfg=dict(type='TestLoop'), val_cfg=dict(type='ValLoop'),
        optim_wrapper=dict(type='OptimWrapper', clip_grad=dict(max_norm=35.0, norm_type=2),
                           optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', by_epoch=True, milestones=[9])],
        test_evaluator=dict(type='VOCMetric', metric='mAP', eval_mode='11points'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        auto_scale_lr=dict(enable=False, base_batch_size=16))


def changed(path: str, value: object) -> dict:
    out = config()
    *parents, last = path.split('.')
    node = out
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[last] = value
    return out


IN = [
    ('model.type', 'RetinaNet'), ('model.backbone.frozen_stages', 0),
    ('model.backbone.norm_eval', False), ('model.backbone.norm_cfg.requires_grad', False),
    ('model.backbone.out_indices', (1, 2, 3)), ('model.backbone.num_stages', 3),
    ('model.backbone.unheard_of', 1), ('model.neck.out_channels', 128),
    ('model.data_preprocessor.pad_size_divisor', 1),
    ('model.init_cfg', dict(type='Pretrained', checkpoint='coco.pth')),
    ('model.test_cfg.rcnn.score_thr', 0.0),
    ('train_dataloader.dataset.ann_file', 'VOC2012/ImageSets/Main/trainval.txt'),
    ('train_dataloader.dataset.data_prefix.sub_data_root', 'VOC2012/'),
    ('train_dataloader.dataset.filter_cfg.bbox_min_size', 32),
    ('train_dataloader.dataset.metainfo.classes', ('dog', 'cat')),
    ('train_dataloader.dataset.pipeline.1.scale', (1333, 800)),
    ('train_dataloader.sampler.shuffle', False), ('train_dataloader.batch_size', 8),
    ('test_dataloader.dataset.ann_file', 'VOC2007/ImageSets/Main/val.txt'),
    ('test_dataloader.batch_size', 2), ('train_cfg.max_epochs', 13), ('test_cfg.fp16', True),
    ('optim_wrapper.optimizer.lr', 0.02), ('optim_wrapper.clip_grad', None),
    ('optim_wrapper.accumulative_counts', 2), ('param_scheduler.0.milestones', [8]),
    ('test_evaluator.eval_mode', 'area'), ('load_from', 'coco.pth'), ('sync_bn', 'torch'),
    ('custom_hooks', [dict(type='EMAHook')]), ('default_hooks.ema', dict(type='mmengine.EMAHook')),
    ('auto_scale_lr.enable', True),
]
OUT = [
    ('model.backbone.depth', 18), ('model.backbone.type', 'RefAugPreActResNet'),
    ('model.backbone.style', 'caffe'), ('model.backbone.init_cfg.checkpoint', 'refaug://b'),
    ('model.neck.in_channels', [64, 128, 256, 512]),
    ('model.data_preprocessor.mean', [0.0, 0.0, 0.0]),
    ('model.data_preprocessor.bgr_to_rgb', False), ('train_dataloader.num_workers', 0),
    ('train_dataloader.persistent_workers', False), ('train_dataloader.pin_memory', True),
    ('train_dataloader.prefetch_factor', 4),
    ('train_dataloader.dataset.data_root', '/elsewhere/VOCdevkit'),
    ('train_dataloader.sampler.seed', 3),
    ('train_dataloader.dataset.pipeline.0.backend_args', dict(backend='local')),
    ('train_cfg.val_interval', 12), ('val_cfg', None), ('work_dir', 'runs/b'),
    ('randomness.seed', 7), ('resume', True), ('log_level', 'ERROR'),
    ('default_hooks.checkpoint.interval', 6), ('default_hooks', {}),
    ('custom_hooks', [dict(type='mmdet.NumClassCheckHook'), dict(type='RefAugProgressHook')]),
    ('test_evaluator.prefix', 'voc'), ('train_pipeline', []), ('auto_scale_lr.base_batch_size', 8),
    ('model._scope_', 'mmdet'), ('model.type', 'mmdet.FasterRCNN'),
    ('optim_wrapper.clip_grad.max_norm', 35), ('optim_wrapper.accumulative_counts', 1),
]


@pytest.mark.parametrize(('path', 'value'), IN)
def test_what_decides_the_result_is_in(path: str, value: object) -> None:
    a, b = protocol_of(config()), protocol_of(changed(path, value))
    assert fingerprint(a) != fingerprint(b)
    last = path.rpartition('.')[2]
    assert any(last in key or key == 'total_batch' or 'Hook' in str((x, y)) or
               key.startswith('auto_scale_lr') for key, x, y in differences(a, b))


@pytest.mark.parametrize(('path', 'value'), OUT)
def test_what_does_not_decide_it_is_out(path: str, value: object) -> None:
    a, b = protocol_of(config()), protocol_of(changed(path, value))
    assert differences(a, b) == []
    assert fingerprint(a) == fingerprint(b)


def test_every_exclusion_has_a_reason_and_the_runner_reads_no_key_that_is_unclassified() -> None:
    assert all(protocol.EXCLUDED.values())
    runner = pytest.importorskip('mmengine.runner').Runner
    read = set(re.findall(r"cfg(?:\.get\(\s*|\[)'(\w+)'", inspect.getsource(runner.from_cfg)))
    read |= set(re.findall(r"self\.cfg\.get\(\s*'(\w+)'", inspect.getsource(runner)))
    assert {'model', 'sync_bn', 'load_from'} <= read  # the search finds them
    assert read <= set(protocol.SECTIONS) | set(protocol.EXCLUDED)


def test_total_batch_is_what_is_equal_not_its_factors() -> None:
    def of(batch: int, world: int, steps: int, **backbone: object) -> dict:
        cfg = changed('train_dataloader.batch_size', batch)
        cfg['optim_wrapper']['accumulative_counts'] = steps
        cfg['model']['backbone'].update(backbone)
        return protocol_of(cfg, world)

    one, many, slow = of(16, 1, 1), of(2, 8, 1), of(2, 1, 8)
    assert one == many == slow
    assert one['total_batch'] == 16
    assert 'train_dataloader.batch_size' not in one
    assert differences(one, of(2, 1, 1)) == [('total_batch', 16, 2)]
    # batch statistics see the batch of one process, so there it is not the same
    assert differences(of(16, 1, 1, norm_eval=False), of(2, 8, 1, norm_eval=False)) == [
        ('train_dataloader.batch_size', 16, 2)]


def test_accumulation_counts_where_a_schedule_counts_iterations() -> None:
    def of(batch: int, steps: int) -> dict:
        cfg = changed('train_dataloader.batch_size', batch)
        cfg['optim_wrapper']['accumulative_counts'] = steps
        cfg['param_scheduler'].append(dict(type='LinearLR', by_epoch=False, end=500))
        return protocol_of(cfg)

    assert differences(of(16, 1), of(2, 8)) == [('optim_wrapper.accumulative_counts', 1, 8)]


def test_a_path_below_the_data_root_is_told_without_it() -> None:
    def of(root: str) -> dict:
        cfg = changed('test_evaluator.ann_file', f'{root}/annotations/val.json')
        cfg['test_dataloader']['dataset']['data_root'] = root
        return protocol_of(cfg)

    assert of('/a/coco') == of('/b/coco/x')
    assert of('/a/coco')['test_evaluator.ann_file'] == 'annotations/val.json'
    elsewhere = protocol_of(changed('test_evaluator.ann_file', '/a/coco/annotations/val.json'))
    assert elsewhere['test_evaluator.ann_file'].startswith('/a/')


def test_data_are_part_of_it() -> None:
    data = {'train': {'images': 5011, 'sha256': 'ab'}, 'test': {'images': 4952}}
    a = protocol_of(config(), data=data)
    assert (a['data.train.images'], a['data.train.sha256'], a['data.test.images']) == (
        5011, 'ab', 4952)
    b = protocol_of(config(), data={**data, 'train': {'images': 5010, 'sha256': 'ab'}})
    assert differences(a, b) == [('data.train.images', 5011, 5010)]


def test_flat_strict_json_that_survives_a_file() -> None:
    flat = protocol_of(changed('param_scheduler.0.milestones', [float('inf')]))
    assert all(isinstance(value, (str, int, float, bool, list, type(None)))
               for value in flat.values())
    read = json.loads(json.dumps(flat, allow_nan=False))
    assert differences(flat, read) == []
    assert fingerprint(flat) == fingerprint(read)
    assert re.fullmatch('[0-9a-f]{16}', fingerprint(flat))


def test_a_dot_in_a_key_is_no_nesting() -> None:
    a = changed('optim_wrapper.paramwise_cfg.custom_keys', {'a.b': 0.1})
    b = changed('optim_wrapper.paramwise_cfg.custom_keys', {'a': {'b': 0.1}})
    assert fingerprint(protocol_of(a)) != fingerprint(protocol_of(b))


def test_it_does_not_change_the_config() -> None:
    cfg = config()
    protocol_of(cfg)
    assert cfg == config()


@pytest.mark.parametrize(('path', 'value'), [
    ('train_dataloader.batch_size', None), ('train_dataloader.batch_size', 0),
    ('optim_wrapper.accumulative_counts', 'two'), ('model.backbone.norm_cfg', object())])
def test_refused(path: str, value: object) -> None:
    with pytest.raises(UserError) as error:
        protocol_of(changed(path, value))
    assert path in str(error.value)
    assert len(str(error.value).splitlines()) <= 3
    with pytest.raises(UserError):
        protocol_of(config(), world_size=0)


def test_it_reads_mmdets_own_voc_config() -> None:
    mmengine = pytest.importorskip('mmengine.config')
    pytest.importorskip('mmdet')
    base = "_base_ = 'mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py'\n"
    cfg = mmengine.Config.fromstring(base, '.py')
    a = protocol_of(cfg.to_dict(), 8)
    assert a['total_batch'] == 16
    assert a['train_dataloader.dataset.dataset.datasets.0.filter_cfg.bbox_min_size'] == 32
    assert not [key for key in a if 'data_root' in key and 'sub_data_root' not in key]
    cfg.merge_from_dict({'model.backbone.init_cfg.checkpoint': 'refaug://mixup'})
    assert protocol_of(cfg.to_dict(), 8) == a
    cfg.merge_from_dict({'train_dataloader.dataset.times': 1})
    assert differences(a, protocol_of(cfg.to_dict(), 8)) == [
        ('train_dataloader.dataset.times', 3, 1)]


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3)
flats = st.dictionaries(st.sampled_from('abcd'), scalars | st.lists(scalars, max_size=2))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flats, flats)
def test_fingerprints_are_equal_exactly_when_nothing_differs(a: dict, b: dict) -> None:
    assert (fingerprint(a) == fingerprint(b)) == (differences(a, b) == [])
    assert differences(a, dict(reversed(a.items()))) == []


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    assert differences({'a': 1}, {'a': True}) == [('a', 1, True)]
    assert differences({'a': None}, {}) == [('a', None, protocol.ABSENT)]
    assert differences({'a': 1.0, 'b': (1, 2)}, {'a': 1, 'b': [1.0, 2]}) == []
