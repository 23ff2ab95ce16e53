"""Networks of timm as backbones: their specs are what they give, their weights whole or refused."""

from __future__ import annotations

import pytest
import timm
import torch

from refaug_det.backbones import resnets, timm_pyramids
from refaug_det.errors import UserError

NETWORKS = ('timm/resnet18', 'timm/convnext_atto', 'timm/mobilenetv3_small_050')


@pytest.mark.parametrize('architecture', NETWORKS)
def test_a_spec_says_what_the_maps_are(architecture):
    spec, net = resnets.spec_of(architecture), resnets.reference(architecture).eval()
    assert (spec.architecture, spec.out_strides) == (architecture, (4, 8, 16, 32))
    assert spec.width == spec.out_channels[0]
    maps = net(torch.zeros(1, 3, 96, 128))
    sizes = [tuple(maps[level].shape[1:]) for level in timm_pyramids.levels(net)]
    assert sizes == [(channels, 96 // stride, 128 // stride) for channels, stride in zip(
        spec.out_channels, spec.out_strides, strict=True)]


@pytest.mark.parametrize('architecture', NETWORKS)
def test_a_classifiers_weights_give_its_own_maps(architecture):
    """Forward through the classifier's own stages, with the names that timm gives them."""
    torch.manual_seed(0)
    classifier = timm.create_model(architecture.removeprefix('timm/'), num_classes=3).eval()
    net = timm_pyramids.build(architecture).eval()
    image = torch.randn(1, 3, 64, 64)
    before = net(image)[-1]
    net.load_state_dict(timm_pyramids.of_classifier(architecture, classifier.state_dict()))
    expected = classifier.forward_intermediates(image, intermediates_only=True)
    found = net(image)
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.equal(before, expected[-1])
    again = timm_pyramids.of_classifier(architecture, net.state_dict())  # its own names do too
    assert all(torch.equal(again[key], value) for key, value in net.state_dict().items())


def change(weights, key, value):
    return {k: value if k == key else v for k, v in weights.items() if not (
        k == key and value is None)}


@pytest.mark.parametrize(('network', 'said'), [
    ('timm/resnet34', 'layer1.2.conv1.weight is not of this network'),
    ('timm/resnet10t', 'another shape'), ('timm/convnext_atto', 'conv1.weight is missing')])
def test_weights_of_another_network_are_refused(network, said):
    weights = timm.create_model(network.removeprefix('timm/'), num_classes=3).state_dict()
    timm_pyramids.of_classifier(network, weights)
    with pytest.raises(UserError, match='not those of timm/resnet18') as caught:
        timm_pyramids.of_classifier('timm/resnet18', weights)
    assert said in caught.value.what


def test_a_part_of_the_weights_is_refused():
    weights = timm.create_model('convnext_atto', num_classes=3).state_dict()
    key = 'stages.1.blocks.0.norm.bias'
    for value in (None, weights[key][:3]):
        with pytest.raises(UserError, match=r'stages_1\.blocks\.0\.norm\.bias'):
            timm_pyramids.of_classifier('timm/convnext_atto', change(weights, key, value))
    timm_pyramids.of_classifier('timm/convnext_atto', change(weights, 'head.fc.bias', None))


@pytest.mark.parametrize(('architecture', 'said'), [
    ('timm/vit_tiny_patch16_224', 'cannot be a detector backbone'),
    ('timm/swin_tiny_patch4_window7_224', 'cannot be a detector backbone'),
    ('timm/nope', 'has no network'), ('timm/', 'has no network')])
def test_what_is_no_pyramid_is_refused_by_name(architecture, said):
    with pytest.raises(UserError, match=said) as caught:
        resnets.spec_of(architecture)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_network_of_timm_has_its_own_width():
    assert resnets.spec_of('timm/convnext_atto', 40).width == 40
    with pytest.raises(UserError, match='its own width, 40'):
        resnets.spec_of('timm/convnext_atto', 32)
