"""ResNets and their specs: what a spec says is what the network gives."""

from __future__ import annotations

import pytest
import torch
import torchvision

from refaug_det.backbones.resnets import build, reference, spec_of
from refaug_det.errors import UserError


@pytest.mark.parametrize(('architecture', 'channels'), [
    ('resnet18', (64, 128, 256, 512)), ('resnet34', (64, 128, 256, 512)),
    ('resnet50', (256, 512, 1024, 2048)), ('resnet152', (256, 512, 1024, 2048))])
def test_specs(architecture, channels):
    spec = spec_of(architecture)
    assert (spec.out_channels, spec.out_strides) == (channels, (4, 8, 16, 32))
    assert spec_of(architecture, 16).out_channels == tuple(c // 4 for c in channels)
    assert spec.mean == (123.675, 116.28, 103.53)
    assert spec.channel_order == 'RGB'


@pytest.mark.parametrize('name', ['resnet', 'resnet20', 'resnet050', 'ResNet50', 'resnet50d', ''])
def test_unknown_architectures(name):
    with pytest.raises(UserError, match='unknown architecture') as caught:
        spec_of(name)
    assert 'resnet50' in caught.value.fix


@pytest.mark.parametrize(('name', 'width'), [('resnet18', 64), ('resnet18', 8), ('resnet50', 8)])
def test_a_network_has_the_maps_its_spec_says(name, width):
    net, spec = reference(name, width).eval(), spec_of(name, width)
    image = torch.zeros(1, 3, 64, 64)
    x = net.maxpool(net.relu(net.bn1(net.conv1(image))))
    for stage in range(4):
        x = getattr(net, f'layer{stage + 1}')(x)
        side = 64 // spec.out_strides[stage]
        assert x.shape == (1, spec.out_channels[stage], side, side)
    assert not any(key.startswith('fc') for key in net.state_dict())


def test_at_full_width_it_is_torchvisions():
    torch.manual_seed(0)
    ours = build(18, 64, 5).state_dict()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=5).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert list(build(18, 8, 5).state_dict()) == list(theirs)  # a narrow one has the same names
