"""Manifold Mixup: Mixup at a depth of the network that is drawn."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

import classification.train  # noqa: F401  (registration)
from classification import manifold_mixup
from classification.batch_augments import RefAugMixup
from classification.manifold_mixup import RefAugManifoldMixup, mixing_after
from refaug_det.errors import UserError

CLASSES = 5


def network(**more):
    torch.manual_seed(0)
    return MODELS.build(dict(dict(type='RefAugPreActResNet', width=4, num_classes=CLASSES),
                             **more)).eval()


def batch(size=6):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(size, 3, 32, 32, generator=generator),
            F.one_hot(torch.arange(size) % CLASSES, CLASSES).float())


def rng(seed=0):
    return np.random.default_rng(seed)


def hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def by_hand(net, images, point, lam, partner):
    """Logits with the hidden state mixed after `point` modules, written out."""
    hidden = images
    for number, layer in enumerate([nn.Sequential(net.conv1, net.bn1, nn.ReLU(), net.layer1),
                                    net.layer2, nn.Sequential(net.layer3, net.layer4)]):
        if number == point:
            hidden = lam * hidden + (1 - lam) * hidden[partner]
        hidden = layer(hidden)
    return net.fc(hidden.mean((2, 3)))


@pytest.mark.parametrize('point', [0, 1, 2])
@torch.no_grad()
def test_it_is_its_formula_at_every_point(point):
    net, (images, targets) = network(), batch()
    found, soft, mixed = RefAugManifoldMixup(points=(point,)).through(net, images, targets, rng(3))
    again = rng(3)
    again.random()
    lam, partner = again.beta(1.0, 1.0), torch.from_numpy(again.permutation(6))
    assert mixed
    assert torch.allclose(found, by_hand(net, images, point, lam, partner), atol=1e-5)
    assert torch.allclose(soft, lam * targets + (1 - lam) * targets[partner])
    for other in {0, 1, 2} - {point}:
        assert not torch.allclose(found, by_hand(net, images, other, lam, partner), atol=1e-5)
    assert not torch.allclose(found, by_hand(net, images, point, 1 - lam, partner), atol=1e-5)


@pytest.mark.parametrize('options', [{}, dict(per_sample=True), dict(pairing='reversed'),
                                     dict(alpha=0.2, probability=0.5)])
@torch.no_grad()
def test_at_the_input_it_is_mixup_with_the_same_draws(options):
    net, (images, targets) = network(), batch()
    options, differ = dict(alpha=1.0) | options, 0
    for seed in range(6):
        mine, plain, deep = (
            augment.through(net, images, targets, rng(seed)) for augment in (
                RefAugManifoldMixup(**options, points=(0,)), RefAugMixup(**options),
                RefAugManifoldMixup(**options, points=(2,))))
        assert torch.equal(mine[0], plain[0])
        assert torch.equal(mine[1], plain[1])
        assert torch.equal(mine[1], deep[1])  # the targets do not depend on the point
        assert mine[2] == plain[2] == deep[2]
        differ += not torch.equal(deep[0], plain[0])
    assert differ > 1


@torch.no_grad()
def test_points_are_drawn_uniformly_per_batch(monkeypatch):
    net, (images, targets) = network(), batch(2)
    met = []

    @contextmanager
    def noted(module, lam, partner):
        met.append(module)
        yield

    monkeypatch.setattr(manifold_mixup, 'mixing_after', noted)
    for seed in range(90):
        RefAugManifoldMixup().through(net, images, targets, rng(seed))
    counts = [met.count(net.layer1), met.count(net.layer2), 90 - len(met)]
    assert all(15 < count < 45 for count in counts)


@pytest.mark.parametrize('cfg', [
    dict(type='RefAugPreActResNet', width=4), dict(type='RefAugResNet', depth=18, width=4),
    dict(type='RefAugWideResNet', depth=10, widen=1),
    dict(type='RefAugShakeShake', depth=8, width=4),
    dict(type='RefAugTimm', name='test_resnet', zero_init_last=False),
    dict(type='RefAugTimm', name='test_vit', img_size=32, mix_points=['blocks.0', 'blocks.1'])])
def test_every_network_can_be_mixed_and_keeps_no_hooks(cfg):
    net, (images, targets) = MODELS.build(dict(cfg, num_classes=CLASSES)), batch()
    copies, before = (images.clone(), targets.clone()), hooks(net)
    for point in range(3):
        logits, soft, mixed = RefAugManifoldMixup(points=(point,)).through(
            net, images, targets, rng())
        assert mixed
        assert logits.shape == (6, CLASSES)
        assert torch.allclose(soft.sum(1), torch.ones(6))
        assert hooks(net) == before
        net.zero_grad()
        F.cross_entropy(logits, soft).backward()
        assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    assert torch.equal(images, copies[0])
    assert torch.equal(targets, copies[1])


def test_hooks_go_even_when_the_network_fails():
    net, (images, targets) = network(), batch()
    with pytest.raises(RuntimeError):
        RefAugManifoldMixup(points=(2,)).through(net, images[:, :2], targets, rng())
    assert hooks(net) == 0
    with mixing_after(net.layer1, 0.5, torch.arange(6)):
        assert hooks(net) == 1  # else the line above would say nothing
        net(images)


@torch.no_grad()
def test_a_mix_point_is_called_exactly_once():
    net, (images, _) = network(), batch()

    def call(times):
        with mixing_after(net.layer1, 0.5, torch.arange(6)):
            for _ in range(times):
                net(images)

    call(1)
    for times in (0, 2):
        with pytest.raises(RuntimeError, match=f'called {times} times'):
            call(times)
        assert hooks(net) == 0


@torch.no_grad()
def test_off_at_strength_zero_and_weaker_below_one():
    net, (images, targets) = network(), batch()
    plain = net(images)
    for seed in range(10):
        logits, soft, mixed = RefAugManifoldMixup().through(net, images, targets, rng(seed), 0.0)
        assert (mixed, soft is targets) == (False, True)
        assert torch.equal(logits, plain)
    partners = []
    for strength in (1.0, 0.1):
        generator = rng()
        soft = torch.stack([RefAugManifoldMixup(points=(0,)).through(
            nn.Flatten(), images, targets, generator, strength)[1] for _ in range(200)])
        partners.append(float((1 - soft.amax(2)).mean()))
    assert partners[0] > 2 * partners[1] > 0


@torch.no_grad()
def test_all_draws_come_from_the_generator():
    net, (images, targets) = network(), batch()
    before = torch.get_rng_state()
    first, again, other = (RefAugManifoldMixup(per_sample=True).through(
        net, images, targets, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[1], other[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_classifier_trains_with_it():
    model = MODELS.build(dict(
        type='RefAugClassifier', num_classes=CLASSES,
        network=dict(type='RefAugPreActResNet', width=4),
        batch_augments=[dict(type='RefAugManifoldMixup', alpha=1.0, points=[1])],
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3)))
    images, targets = batch()
    losses = []
    for strength in (1.0, 0.0):
        model.strength = strength
        torch.manual_seed(0)
        losses.append(model.loss(images, targets.argmax(1), torch.zeros(6, dtype=torch.bool)))
    assert (model.seen, model.seen_augmented) == (12, 6)
    assert losses[0]['loss'] != losses[1]['loss']
    assert hooks(model) == 0


def test_points_the_network_does_not_have_are_refused():
    net, (images, targets) = network(), batch()
    with pytest.raises(UserError, match='mix point 3'):
        RefAugManifoldMixup(points=(0, 3)).through(net, images, targets, rng())
    with pytest.raises(UserError, match='which has 0'):
        RefAugManifoldMixup().through(nn.Flatten(), images, targets, rng(), 0.0)
    logits = RefAugManifoldMixup(points=(0,)).through(nn.Flatten(), images, targets, rng())[0]
    assert logits.shape == (6, 3072)
    for wrong in (dict(points=()), dict(points=(-1,)), dict(pairing='sorted'), dict(alpha=0.0)):
        with pytest.raises(UserError):
            RefAugManifoldMixup(**wrong)
