"""Networks of timm in detectors: frozen as they say, loaded whole, and trained."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

import detection.train  # noqa: F401  (registration, and mmdet)
from detection.plug import find, plug_backbone
from detection.timm_backbone import RefAugTimmBackbone, batch_norms
from refaug_det.backbones import resnets, zoo
from refaug_det.errors import UserError
from refaug_det.runs import config as configs

NETWORKS = ('test_resnet', 'convnext_atto', 'mobilenetv3_small_050')
FROZEN_1 = {  # by hand: all up to the map at stride 4
    'test_resnet': ('conv1.', 'bn1.', 'layer1.'), 'convnext_atto': ('stem_', 'stages_0.'),
    'mobilenetv3_small_050': ('conv_stem.', 'bn1.', 'blocks.0.')}


def step(backbone):
    """One forward and backward pass in training mode."""
    backbone.train()
    maps = backbone(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    sum(part.square().mean() for part in maps).backward()
    return maps


def statistics(backbone):
    return {key: value.clone() for key, value in backbone.state_dict().items()
            if key.endswith(('running_mean', 'running_var'))}


@pytest.mark.parametrize('name', NETWORKS)
def test_frozen_stages_get_no_gradient_and_the_rest_does(name):
    backbone = RefAugTimmBackbone(name, frozen_stages=1)
    maps = step(backbone)
    assert [64 // part.shape[-1] for part in maps] == [4, 8, 16, 32]
    for key, parameter in backbone.net.named_parameters():
        frozen = key.startswith(FROZEN_1[name])
        assert parameter.requires_grad != frozen, key
        assert (parameter.grad is None) == frozen, key
    step(free := RefAugTimmBackbone(name))
    assert all(parameter.grad is not None for parameter in free.parameters())
    whole = RefAugTimmBackbone(name, frozen_stages=4)
    assert not any(parameter.requires_grad for parameter in whole.parameters())


@pytest.mark.parametrize('name', ['test_resnet', 'mobilenetv3_small_050'])
def test_statistics_move_only_where_nothing_holds_them(name):
    held, frozen, free = (RefAugTimmBackbone(name, norm_eval=True),
                          RefAugTimmBackbone(name, frozen_stages=1), RefAugTimmBackbone(name))
    for backbone, moving in ((held, lambda key: False), (free, lambda key: True), (
            frozen, lambda key: not key.removeprefix('net.').startswith(FROZEN_1[name]))):
        before = statistics(backbone)
        step(backbone)
        after = statistics(backbone)
        assert len(before) > 4
        assert all((not torch.equal(before[key], after[key])) == moving(key) for key in before)


def test_norm_layers_can_be_frozen_alone():
    backbone = RefAugTimmBackbone('test_resnet', norm_cfg=dict(type='BN', requires_grad=False))
    frozen = {id(p) for norm in batch_norms(backbone.net) for p in norm.parameters()}
    assert frozen == {id(p) for p in backbone.parameters() if not p.requires_grad}
    assert 0 < len(frozen) < len(list(backbone.parameters()))


@pytest.mark.parametrize('options', [
    dict(frozen_stages=0), dict(frozen_stages=5), dict(num_stages=3), dict(out_indices=(3, 4))])
def test_stages_that_it_does_not_have_are_refused(options):
    with pytest.raises(UserError, match='stages 1 to 4'):
        RefAugTimmBackbone('test_resnet', **options)


def register(name, architecture):
    torch.manual_seed(1)
    net = resnets.reference(architecture)
    zoo.register(name, net.state_dict(), resnets.spec_of(architecture), provenance={}, metrics={})


def test_weights_load_whole_or_not_at_all(zoo_dir):
    register('a', 'timm/test_resnet')
    init = dict(type='Pretrained', checkpoint='refaug://a')
    backbone = RefAugTimmBackbone('test_resnet', init_cfg=init)
    assert not torch.equal(backbone.net.conv1[0].weight, zoo.weights('a')['conv1.0.weight'])
    backbone.init_weights()
    assert all(torch.equal(backbone.net.state_dict()[key], value)
               for key, value in zoo.weights('a').items())
    assert '0 missing' in backbone.refaug_load_report
    with pytest.raises(UserError, match='did not load whole'):
        RefAugTimmBackbone('convnext_atto', init_cfg=init).init_weights()


def detector(source):
    cfg = configs.load('configs/det/faster_rcnn_r50_fpn_voc07.py')
    cfg.merge_from_dict({
        'model.neck.out_channels': 16, 'model.rpn_head.in_channels': 16,
        'model.rpn_head.feat_channels': 16, 'model.roi_head.bbox_roi_extractor.out_channels': 16,
        'model.roi_head.bbox_head.in_channels': 16,
        'model.roi_head.bbox_head.fc_out_channels': 32})
    cfg = plug_backbone(cfg, find(source))
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(cfg.model)
    built.init_weights()
    return built, cfg


def batch():
    from mmdet.structures import DetDataSample
    shape = dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1.0, 1.0))
    truth = InstanceData(bboxes=torch.tensor([[4.0, 6.0, 60.0, 50.0]]), labels=torch.tensor([3]))
    return dict(inputs=[torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)],
                data_samples=[DetDataSample(gt_instances=truth, metainfo=shape)])


@pytest.mark.parametrize('name', NETWORKS)
def test_a_faster_rcnn_trains_on_it(name, zoo_dir):
    register('a', f'timm/{name}')
    built, cfg = detector('a')
    assert cfg.model.neck.in_channels == list(zoo.card('a').spec.out_channels)
    assert cfg.model.backbone.frozen_stages == 1
    losses = built.train()(**built.data_preprocessor(batch(), True), mode='loss')
    total, _ = built.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    last = [p for p in built.backbone.parameters() if p.requires_grad][-1]
    assert last.grad is not None
    assert torch.isfinite(last.grad).all()
    assert len(built.eval().test_step(batch())) == 1


def test_a_random_one_has_a_name_that_is_no_folder(zoo_dir):
    source = find('random:timm/convnext_atto')
    assert (source.name, source.checkpoint) == ('random timm-convnext_atto', None)
    assert isinstance(plug_backbone(Config.fromfile(
        'configs/det/faster_rcnn_r50_fpn_voc07.py'), source), Config)
