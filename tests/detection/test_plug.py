"""The detector is built around the backbone, and nothing else of it changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

from detection.plug import find, plug_backbone
from refaug_det.comparison import protocol
from refaug_det.errors import UserError

CONFIG = 'configs/det/faster_rcnn_r50_fpn_voc07.py'


@pytest.fixture
def cfg():
    return Config.fromfile(CONFIG)


def test_channels_normalisation_and_weights_come_from_the_spec(cfg, tiny_backbone):
    plugged = plug_backbone(cfg, find(tiny_backbone))
    assert plugged.model.backbone.depth == 18
    assert plugged.model.backbone.base_channels == 8
    assert plugged.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='refaug://tiny')
    assert plugged.model.neck.in_channels == [8, 16, 32, 64]
    assert plugged.model.data_preprocessor.bgr_to_rgb is True
    assert cfg.model.neck.in_channels == [256, 512, 1024, 2048], 'the input must not change'


def test_protocol_of_the_backbone_is_kept(cfg, tiny_backbone):
    plugged = plug_backbone(cfg, find(tiny_backbone)).model.backbone
    for key in ('frozen_stages', 'norm_eval', 'norm_cfg', 'out_indices', 'num_stages'):
        assert plugged[key] == cfg.model.backbone[key], key


@pytest.mark.parametrize('name', ['random:resnet50', 'torchvision://resnet101', 'random:tiny',
                                  'random:timm/test_resnet'])
def test_backbones_share_one_protocol(cfg, tiny_backbone, name):
    reference = protocol.protocol_of(plug_backbone(cfg, find(tiny_backbone)).to_dict())
    other = plug_backbone(cfg, find(name))
    assert protocol.differences(reference, protocol.protocol_of(other.to_dict())) == []
    other.model.backbone.frozen_stages = 2
    changed = protocol.differences(reference, protocol.protocol_of(other.to_dict()))
    assert [key for key, _, _ in changed] == ['model.backbone.frozen_stages']


def test_random_weights_have_their_own_name_for_each_architecture(tiny_backbone):
    names = {find(name).name for name in ('random:tiny', 'random:resnet18', 'random:resnet50')}
    assert len(names) == 3
    assert all(find(n).checkpoint is None for n in ('random:tiny', 'random:resnet50'))


@pytest.mark.parametrize('name', ['nope', 'torchvision://vgg16', 'random:vgg16', '../x', '',
                                  'random:timm/vit_tiny_patch16_224', 'random:timm/nope'])
def test_unknown_backbones_are_refused(zoo_dir, name):
    with pytest.raises(UserError):
        find(name)


def test_a_config_without_a_backbone_is_refused(tiny_backbone):
    with pytest.raises(UserError, match=r'model\.backbone'):
        plug_backbone(Config(dict(model=dict(type='X'))), find(tiny_backbone))


def changed(cfg, **values):
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in values.items()})
    return cfg


@pytest.mark.parametrize(('values', 'where'), [
    (dict(model__backbone__frozen_stages=5), 'model.backbone.frozen_stages'),
    (dict(model__backbone__out_indices=(1, 2, 4)), 'model.backbone.out_indices'),
    (dict(model__backbone__out_indices=(1, 2, 3)), 'model.rpn_head.anchor_generator.strides'),
    (dict(model__neck__start_level=1), 'model.rpn_head.anchor_generator.strides'),
    (dict(model__neck__num_outs=3), 'model.neck'), (dict(model__neck__start_level=4), 'model.neck'),
    (dict(model__roi_head__bbox_roi_extractor__featmap_strides=[8, 16, 32]),
     'model.roi_head.bbox_roi_extractor.featmap_strides')])
def test_what_does_not_fit_is_refused_before_training(cfg, tiny_backbone, values, where):
    plug_backbone(cfg, find(tiny_backbone))
    with pytest.raises(UserError) as caught:
        plug_backbone(changed(cfg, **values), find(tiny_backbone))
    assert caught.value.where == where


def test_other_strides_than_the_detectors_are_refused(cfg, tiny_backbone):
    source = find(tiny_backbone)
    finer = dataclasses.replace(source.spec, out_strides=(1, 2, 4, 8))
    with pytest.raises(UserError, match=r'gives \[1, 2, 4, 8\]'):
        plug_backbone(cfg, dataclasses.replace(source, spec=finer))


@pytest.mark.parametrize('name', ['retinanet_r50_fpn_voc0712', 'fcos_r50_fpn_voc0712'])
def test_a_neck_that_leaves_out_the_finest_map_fits(name, tiny_backbone):
    cfg = Config.fromfile(f'configs/det/{name}.py')
    assert plug_backbone(cfg, find(tiny_backbone)).model.neck.in_channels == [8, 16, 32, 64]
    head = cfg.model.bbox_head.get('anchor_generator', cfg.model.bbox_head)
    head.strides = [4, 8, 16, 32, 64]
    with pytest.raises(UserError, match='expects maps at strides'):
        plug_backbone(cfg, find(tiny_backbone))


C4 = 'configs/det/faster_rcnn_r50_c4_voc0712_24k.py'


def test_a_c4_detector_takes_a_resnet_whose_last_stage_is_its_head():
    cfg = Config.fromfile(C4)
    model = plug_backbone(cfg, find('torchvision://resnet18')).model
    assert (model.backbone.depth, model.roi_head.shared_head.depth) == (18, 18)
    assert (model.backbone.num_stages, list(model.backbone.out_indices)) == (3, [2])
    assert model.roi_head.shared_head.init_cfg == model.backbone.init_cfg
    assert model.rpn_head.in_channels == model.roi_head.bbox_roi_extractor.out_channels == 256
    assert model.roi_head.bbox_head.in_channels == 512
    same = [protocol.protocol_of(plug_backbone(cfg, find(name)).to_dict())
            for name in ('torchvision://resnet50', 'random:resnet50')]
    assert protocol.differences(*same) == []


@pytest.mark.parametrize(('name', 'said'), [
    ('tiny', 'needs a ResNet of width 64'), ('random:timm/test_resnet', 'needs a ResNet')])
def test_a_c4_detector_takes_no_other_backbone(name, said, tiny_backbone):
    with pytest.raises(UserError, match=said):
        plug_backbone(Config.fromfile(C4), find(name))
    with pytest.raises(UserError, match='stages 1 to 3'):
        plug_backbone(changed(Config.fromfile(C4), model__backbone__frozen_stages=4),
                      find('random:resnet50'))


def test_a_detector_without_a_neck_is_refused(tiny_backbone):
    cfg = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs/pascal_voc'
                          / 'faster-rcnn_r50-caffe-c4_ms-18k_voc0712.py')
    for name in (tiny_backbone, 'random:resnet50', 'random:timm/test_resnet'):
        with pytest.raises(UserError, match='neither a neck nor'):
            plug_backbone(cfg, find(name))
