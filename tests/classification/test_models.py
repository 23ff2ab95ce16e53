"""What every network promises, and what each of them is known to be."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmengine.registry import MODELS
from torch import nn

import classification.train  # noqa: F401  (registration)
from classification.export import register_backbones
from refaug_det.runs import history, records

CLASSES = 5
SMALL = {
    'resnet18': dict(type='RefAugResNet', depth=18, width=8),
    'resnet50': dict(type='RefAugResNet', depth=50, width=4),
    'preact-mixup': dict(type='RefAugPreActResNet', width=8),
    'preact-manifold': dict(type='RefAugPreActResNet', width=8, variant='manifold'),
    'preact-he2016': dict(type='RefAugPreActResNet', width=8, variant='he2016'),
    'preact-stride2': dict(type='RefAugPreActResNet', width=8, stem_stride=2),
    'wrn-16-1': dict(type='RefAugWideResNet', depth=16, widen=1),
    'wrn-10-2-dropout': dict(type='RefAugWideResNet', depth=10, widen=2, dropout=0.3),
    'shake-8-2x8d': dict(type='RefAugShakeShake', depth=8, width=8),
    'shake-14-2x4d': dict(type='RefAugShakeShake', depth=14, width=4, stem_stride=2),
    'timm-resnet': dict(type='RefAugTimm', name='test_resnet', zero_init_last=False),
    'timm-convnext': dict(type='RefAugTimm', name='test_convnext', mix_points=['stages.0']),
    'timm-efficientnet': dict(type='RefAugTimm', name='test_efficientnet'),
    'timm-vit': dict(type='RefAugTimm', name='test_vit', img_size=32, mix_points=['blocks.0']),
}
NETWORKS = pytest.mark.parametrize('name', SMALL)


def build(name, seed=0, classes=CLASSES, **more):
    torch.manual_seed(seed)
    return MODELS.build(dict(SMALL[name], num_classes=classes, **more))


def images(count=4, size=32, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def same_state(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_all_networks_are_in_the_list():
    ours = {name for name, cls in MODELS.module_dict.items()
            if cls.__module__.startswith('classification.models.')}
    assert ours == {cfg['type'] for cfg in SMALL.values()}


@NETWORKS
@pytest.mark.parametrize('classes', [2, 5])
def test_logits_are_the_head_of_the_features(name, classes):
    net = build(name, classes=classes).eval()
    with torch.no_grad():
        logits, features = net(images()), net.features(images())
        assert logits.shape == (4, classes)
        assert features.shape == (4, net.head.in_features)
        assert torch.allclose(net.head(features), logits, atol=1e-5)
        assert not torch.allclose(net.head(features.flip(0)), logits, atol=1e-5)


@NETWORKS
def test_gradients_reach_every_parameter(name):
    net = build(name)
    F.cross_entropy(net(images()), torch.tensor([0, 1, 2, 3])).backward()
    assert [key for key, p in net.named_parameters()
            if p.grad is None or not p.grad.abs().sum() > 0] == []
    net.zero_grad()
    net.features(images()).sum().backward()  # past the head: this is what the above would tell
    assert net.head.weight.grad is None


@NETWORKS
def test_evaluation_is_deterministic_and_of_each_image_alone(name):
    net = build(name).eval()
    with torch.no_grad():
        logits = net(images())
        assert torch.equal(net(images()), logits)
        assert torch.allclose(net(images()[:1]), logits[:1], atol=1e-5)
        assert not torch.allclose(net(images(seed=1)), logits, atol=1e-5)


@NETWORKS
def test_training_draws_are_keyed_on_the_global_generator(name):
    net = build(name)

    def logits(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return net(images())

    assert torch.equal(logits(1), logits(1))
    draws = 'shake' in name or 'dropout' in name
    assert torch.equal(logits(1), logits(2)) != draws


@NETWORKS
def test_state_round_trip(name):
    net, other = build(name).train(), build(name, seed=1)
    net(images())  # moves running statistics
    with torch.no_grad():
        assert not torch.equal(net.eval()(images()), other.eval()(images()))
        other.load_state_dict(net.state_dict())
        assert torch.equal(net(images()), other(images()))
    assert same_state(net.state_dict(), other.state_dict())


@NETWORKS
def test_mix_points_are_passed_once_and_in_order(name):
    net, seen = build(name).eval(), []
    points = net.mix_points
    assert isinstance(points, tuple)
    handles = [point.register_forward_hook(lambda module, _, out: seen.append((module, out)))
               for point in points]
    net(images())
    assert [module for module, _ in seen] == list(points)
    assert all(len(out) == 4 for _, out in seen)
    for handle in handles:
        handle.remove()
    assert len(points) == (0 if name == 'timm-efficientnet' else 1 if 'mix_points' in SMALL[name]
                           else 2)


@NETWORKS
def test_trains_in_half_precision(name):
    net = build(name)
    with torch.autocast('cpu', torch.bfloat16):
        loss = F.cross_entropy(net(images()), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all()
               for p in net.parameters())


BACKBONES = ('resnet18', 'resnet50', 'timm-resnet', 'timm-convnext', 'timm-efficientnet')


@NETWORKS
def test_a_network_that_is_no_backbone_registers_nothing_and_says_so(name, tmp_path, zoo_dir):
    history.files.write_json(tmp_path / history.FILE_NAME, [
        dict(epoch=1, iteration=1, phase='augmented', lr=0.1, loss=1.0, augmented_share=0.0)])
    model = MODELS.build(dict(
        type='RefAugClassifier', num_classes=CLASSES, network=SMALL[name],
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3)))
    record = records.RunRecord(name='net', stage='classification')
    cards = register_backbones(model, tmp_path, record, 'net')
    if name in BACKBONES:
        assert [card.name for card in cards] == ['net']
        assert record.notes == []
    else:
        assert cards == []
        note, = record.notes
        assert f'timm/{SMALL[name]["name"]}' in note if name.startswith('timm') else (
            SMALL[name]['type'] in note)
        assert '\n' not in note
        assert not zoo_dir.exists()


@pytest.mark.parametrize(('cfg', 'millions'), [
    # Zagoruyko & Komodakis 2016, tables 4 and 5 (CIFAR-10)
    (dict(type='RefAugWideResNet'), 36.5),
    (dict(type='RefAugWideResNet', depth=40, widen=4), 8.9),
    (dict(type='RefAugWideResNet', depth=16, widen=8), 11.0),
    (dict(type='RefAugWideResNet', depth=22, widen=8), 17.2),
    # Gastaldi 2017, table 1
    (dict(type='RefAugShakeShake', width=32), 2.9),
    (dict(type='RefAugShakeShake', width=64), 11.7),
    (dict(type='RefAugShakeShake'), 26.2),
])
def test_parameter_counts_as_published(cfg, millions):
    count = parameters(MODELS.build(dict(cfg, num_classes=10)))
    assert abs(count / 1e6 - millions) < 0.06  # published to 0.1, some cut and some rounded


@pytest.mark.parametrize(('cfg', 'exact'), [
    # counted by hand: convolutions 9 or 1 x in x out, 2 a BN channel, 10 x (features + 1)
    (dict(type='RefAugPreActResNet'), 11_171_274),  # Mixup's code: 128 more than the next
    (dict(type='RefAugPreActResNet', variant='manifold'), 11_171_146),  # the published 11.17 M
    (dict(type='RefAugPreActResNet', variant='he2016'), 11_171_146 + 2 * 512),
    (dict(type='RefAugWideResNet'), 36_479_194),
    (dict(type='RefAugWideResNet', dropout=0.3), 36_479_194),
    (dict(type='RefAugShakeShake'), 26_192_922),
])
def test_parameter_counts_exactly(cfg, exact):
    assert parameters(MODELS.build(dict(cfg, num_classes=10))) == exact
    features = {'RefAugPreActResNet': 512, 'RefAugWideResNet': 640, 'RefAugShakeShake': 384}
    grown = parameters(MODELS.build(dict(cfg, num_classes=100))) - exact
    assert grown == 90 * (features[cfg['type']] + 1)


@pytest.mark.parametrize(('cfg', 'total'), [
    (dict(type='RefAugWideResNet'), lambda: (
        27 * 16 + 2 * 640 + 640 * 10 + 10
        + sum(9 * a * w + 9 * w * w * 7 + a * w + 2 * (a + 7 * w)
              for a, w in [(16, 160), (160, 320), (320, 640)]))),
    (dict(type='RefAugShakeShake'), lambda: (
        27 * 16 + 2 * 16 + 384 * 10 + 10
        + sum(2 * (9 * a * w + 9 * w * w * 7 + 2 * w * 8) + a * w + 2 * w
              for a, w in [(16, 96), (96, 192), (192, 384)])))])
def test_parameter_counts_by_their_formula(cfg, total):
    assert parameters(MODELS.build(dict(cfg, num_classes=10))) == total()


@pytest.mark.parametrize(('depth', 'exact'), [(50, 25_557_032), (101, 44_549_160)])
def test_parameter_counts_of_resnets_are_those_of_torchvisions_weights(depth, exact):
    weights = torchvision.models.get_weight(f'ResNet{depth}_Weights.IMAGENET1K_V1')
    net = MODELS.build(dict(type='RefAugResNet', depth=depth, num_classes=1000))
    assert parameters(net) == weights.meta['num_params'] == exact


@pytest.mark.parametrize('depth', [34, 50])
def test_resnet_is_torchvisions_to_the_bit(depth):
    ours = MODELS.build(dict(type='RefAugResNet', depth=depth, num_classes=4)).eval()
    theirs = getattr(torchvision.models, f'resnet{depth}')(num_classes=4).eval()
    with torch.no_grad():
        assert not torch.equal(ours(images(2)), theirs(images(2)))
        theirs.load_state_dict(ours.net.state_dict())
        assert torch.equal(ours(images(2)), theirs(images(2)))
        theirs.fc = nn.Identity()
        assert torch.equal(ours.features(images(2)), theirs(images(2)))
