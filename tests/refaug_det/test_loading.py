"""`refaug://NAME` and `Pretrained` in anyone's mmengine config: whole, or not at all."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader
from torch import nn

from refaug_det.backbones import (
    loading,  # noqa: F401  (registration)
    zoo,
)
from refaug_det.backbones.resnets import reference, spec_of
from refaug_det.errors import UserError

PICKLE = functools.partial(pickle.dump, protocol=2)


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@MODELS.register_module(force=True)
class SmallBackbone(BaseModule):
    """Someone else's module: mmengine's base class, two layers."""

    def __init__(self, width: int = 4, init_cfg=None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.conv1 = nn.Conv2d(3, width, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)


def weights(width: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = SmallBackbone(width).state_dict()
    return {k: torch.rand(v.shape) if v.is_floating_point() else v for k, v in state.items()}


def built(checkpoint: object, width: int = 4, **init: object) -> nn.Module:
    """A module from a config, initialised as Runner does it."""
    module = MODELS.build(dict(type='SmallBackbone', width=width, init_cfg=dict(
        type='Pretrained', checkpoint=str(checkpoint), **init)))
    module.init_weights()
    return module


def holds(module: nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, expected[k]) for k, v in module.state_dict().items())


@pytest.fixture
def registered(zoo):
    from refaug_det.backbones import zoo as backbones
    backbones.register('small', weights(), spec_of('resnet18', 4), provenance={}, metrics={})
    return zoo / 'small'


def test_a_registered_backbone_loads_by_name(registered):
    module = built('refaug://small')
    assert holds(module, weights())
    assert module.refaug_load_report.startswith('5 tensors matched, 0 missing')
    assert not holds(SmallBackbone(), weights())
    assert CheckpointLoader.load_checkpoint('refaug://small').keys() == weights().keys()


def test_changed_weights_are_not_loaded(registered):
    path = registered / zoo.WEIGHTS
    path.write_bytes(path.read_bytes()[:-4] + b'\0\0\0\0')
    with pytest.raises(UserError, match='not those of the card'):
        built('refaug://small')


@pytest.mark.parametrize('name', ['refaug://smal', 'refaug://../small', 'refaug://'])
def test_unknown_names(registered, name):
    with pytest.raises(UserError):
        built(name)


@pytest.mark.parametrize(('keys', 'init'), [
    ('', {}), ('module.', {}), ('backbone.', dict(prefix='backbone')),
    ('backbone.', dict(prefix='backbone.')), ('module.backbone.', dict(prefix='backbone'))])
def test_a_file_loads_under_its_prefix(tmp_path, keys, init):
    state = {keys + k: v for k, v in weights().items()}
    torch.save(dict(state_dict=dict(state, **{'fc.weight': torch.zeros(2)})), tmp_path / 'a.pth')
    module = built(tmp_path / 'a.pth', **init)
    assert holds(module, weights())
    assert ('unused (fc)' in module.refaug_load_report) == (not init)


@pytest.mark.parametrize(('keys', 'init', 'fix'), [
    ('net.', {}, "'net.'"), ('encoder.q.', dict(prefix='backbone'), "'encoder.q.'"),
    ('net.', dict(prefix='nets'), "'net.'")])
def test_a_wrong_prefix_is_named(tmp_path, keys, init, fix):
    torch.save({keys + k: v for k, v in weights().items()}, tmp_path / 'a.pth')
    with pytest.raises(UserError) as caught:
        built(tmp_path / 'a.pth', **init)
    assert fix in caught.value.fix
    assert caught.value.where == str(tmp_path / 'a.pth')


@pytest.mark.parametrize('change', [
    lambda s: s.pop('bn1.weight'), lambda s: s.update({'bn1.extra': torch.zeros(1)}),
    lambda s: s.update({'conv1.weight': torch.zeros(8, 3, 3, 3)}), lambda s: s.clear()])
def test_what_is_not_whole_is_refused(tmp_path, change):
    state = weights()
    torch.save(state, tmp_path / 'whole.pth')
    assert holds(built(tmp_path / 'whole.pth'), weights())
    change(state)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(UserError):
        built(tmp_path / 'a.pth')


@pytest.mark.parametrize('content', [b'', b'<html></html>', b'PK\x03\x04 torn'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(UserError, match='not a weights file'):
        built(tmp_path / 'a.pth')
    with pytest.raises(UserError, match='no such weights file'):
        built(tmp_path / 'b.pth')


@pytest.mark.parametrize('save', [torch.save, PICKLE], ids=['torch', 'pickle'])
def test_no_file_runs_code_on_any_way_through_mmengine(tmp_path, save):
    mark = tmp_path / 'mark'
    with open(tmp_path / 'a.pth', 'wb') as file:
        save(dict(weights(), x=Payload(mark)), file)
    for load in (built, lambda path: CheckpointLoader.load_checkpoint(str(path))):
        with pytest.raises(UserError, match='not a weights file that can be read safely'):
            load(tmp_path / 'a.pth')
    assert not mark.exists()


def test_a_backbone_of_mmdet_loads_whole_or_not_at_all(zoo):
    from detection.mmcv_operators import import_mmdet
    from refaug_det.backbones import zoo as backbones
    import_mmdet()
    state = reference('resnet18', 8).state_dict()
    backbones.register('r18', state, spec_of('resnet18', 8), provenance={}, metrics={})

    def detector_backbone(depth: int) -> nn.Module:
        module = MODELS.build(dict(
            type='mmdet.ResNet', depth=depth, base_channels=8, stem_channels=8,
            init_cfg=dict(type='Pretrained', checkpoint='refaug://r18')))
        module.init_weights()
        return module

    assert holds(detector_backbone(18), state)
    with pytest.raises(UserError, match='did not load whole'):
        detector_backbone(34)
