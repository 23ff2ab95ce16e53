"""The detector is built around the backbone, and nothing else of it changes."""

from __future__ import annotations

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


@pytest.mark.parametrize('name', ['random:resnet50', 'torchvision://resnet101', 'random:tiny'])
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


@pytest.mark.parametrize('name', ['nope', 'torchvision://vgg16', 'random:vgg16', '../x', ''])
def test_unknown_backbones_are_refused(zoo_dir, name):
    with pytest.raises(UserError):
        find(name)


def test_a_config_without_a_backbone_is_refused(tiny_backbone):
    with pytest.raises(UserError, match=r'model\.backbone'):
        plug_backbone(Config(dict(model=dict(type='X'))), find(tiny_backbone))
