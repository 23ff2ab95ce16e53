"""What every network promises, and what each of them is known to be."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmengine.registry import MODELS
from safetensors.torch import load_file
from torch import nn
from torch.autograd.gradcheck import GradcheckError

import classification.train  # noqa: F401  (registration)
from classification.export import register_backbones
from classification.models.preact_resnet import PreActBlock
from classification.models.shake_shake import ShakeBlock, ShiftedSkip, shake
from classification.refinement import AUGMENTED_WEIGHTS
from refaug_det.errors import UserError
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


@pytest.mark.parametrize(('name', 'shapes'), [
    ('preact-mixup', [(8, 32), (16, 16), (32, 8), (64, 4)]),
    ('preact-stride2', [(8, 16), (16, 8), (32, 4), (64, 2)]),
    ('wrn-16-1', [(16, 32), (32, 16), (64, 8)]),
    ('shake-8-2x8d', [(8, 32), (16, 16), (32, 8)]),
    ('shake-14-2x4d', [(4, 16), (8, 8), (16, 4)])])
def test_stages_have_the_published_shapes(name, shapes):
    net, seen = build(name).eval(), []
    for stage in range(len(shapes)):
        getattr(net, f'layer{stage + 1}').register_forward_hook(
            lambda module, _, out: seen.append((out.shape[1], *set(out.shape[2:]))))
    net(images())
    assert seen == shapes
    net(images(size=64))  # any size: the average is over the whole map
    assert seen[len(shapes):] == [(channels, 2 * side) for channels, side in shapes]


@pytest.mark.parametrize(('variant', 'activated'), [
    ('mixup', [True, True]), ('manifold', [False, False]), ('he2016', [True, False])])
def test_skip_paths_of_the_preact_variants(variant, activated):
    net = build('preact-mixup', variant=variant).eval()
    for block, expected in zip(net.layer1, activated, strict=True):
        nn.init.zeros_(block.conv2.weight)
        nn.init.constant_(block.bn1.bias, 0.1)
        x = images(2)[:, :1].repeat(1, 8, 1, 1)
        assert torch.equal(block(x), F.relu(block.bn1(x)) if expected else x)
        assert not torch.equal(block(x), x if expected else F.relu(block.bn1(x)))
    down = net.layer2[0]
    nn.init.zeros_(down.conv2.weight)
    assert torch.equal(down(x), down.shortcut(F.relu(down.bn1(x))))


@pytest.mark.parametrize(('variant', 'stem', 'final'), [
    ('mixup', True, False), ('manifold', False, False), ('he2016', False, True)])
def test_norms_of_the_preact_variants(variant, stem, final):
    net, entered = build('preact-mixup', variant=variant), []
    assert ('bn1.weight' in net.state_dict(), 'bn.weight' in net.state_dict()) == (stem, final)
    net.layer1.register_forward_pre_hook(lambda _, x: entered.append(x[0]))
    features = net.features(images())
    assert bool((entered[0] >= 0).all()) == stem  # a ReLU went before
    assert bool((features >= 0).all()) == final


def test_dropout_sits_between_the_convolutions():
    net = build('wrn-10-2-dropout')
    block = net.layer1[0]
    kept = []
    block.conv2.register_forward_pre_hook(lambda _, x: kept.append((x[0] == 0).float().mean()))
    net(images())
    net.eval()(images())
    assert kept[0] - kept[1] > 0.1  # 0.3 of the half that ReLU leaves
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.3] * 3


def branches(seed=0, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 2, 3, 3, generator=generator, dtype=torch.double,
                        requires_grad=True) for _ in range(2)]


def weights(*values):
    return torch.tensor(values, dtype=torch.double).view(-1, 1, 1, 1)


def test_gradient_of_shake():
    a, b = branches()
    alpha, beta = weights(0.1, 0.5, 1.0), weights(0.8, 0.0, 0.3)
    # with equal draws it is an ordinary function, whose gradient numbers confirm
    assert torch.autograd.gradcheck(lambda a, b: shake(a, b, alpha, alpha), (a, b))
    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(lambda a, b: shake(a, b, alpha, beta), (a, b))
    # with others its gradient is that of the mixture with beta
    grad = torch.randn(a.shape, dtype=torch.double)
    out = shake(a, b, alpha, beta)
    assert torch.allclose(out, alpha * a + (1 - alpha) * b, rtol=0, atol=1e-12)
    found = torch.autograd.grad(out, (a, b), grad)
    expected = torch.autograd.grad(beta * a + (1 - beta) * b, (a, b), grad)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_block_draws_for_every_image_and_pass_alone():
    torch.manual_seed(0)
    block, kept = ShakeBlock(4, 4, 1).double(), {}
    for name in ('branch1', 'branch2'):
        getattr(block, name).register_forward_hook(
            lambda _, inputs, out, name=name: (out.retain_grad(), kept.update({name: out}))[1])
    x = images(6, 5, 3)[:, :1].double().repeat(1, 4, 1, 1).requires_grad_()
    out = block(x)
    grad = torch.randn_like(out)
    out.backward(grad)
    a, b = kept['branch1'], kept['branch2']
    alpha = ((out - x - b) / (a - b)).detach().flatten(1)
    beta = (a.grad / grad).flatten(1)
    assert torch.allclose(a.grad + b.grad, grad)
    for draw in (alpha, beta):
        assert torch.allclose(draw, draw[:, :1].expand_as(draw), atol=1e-6)  # one an image
        assert ((draw >= -1e-6) & (draw <= 1 + 1e-6)).all()
        assert draw[:, 0].unique().numel() == 6
    assert not torch.allclose(alpha, beta, atol=0.01)
    out = block.eval()(x)
    assert torch.allclose(out, x + (block.branch1(x) + block.branch2(x)) / 2)


def test_skip_path_where_the_shape_changes():
    skip = ShiftedSkip(1, 2, 2).eval()
    nn.init.ones_(skip.conv1.weight)
    nn.init.ones_(skip.conv2.weight)
    x = torch.arange(1.0, 37.0).view(1, 1, 6, 6)
    first, second = skip(x)[0] * (1 + skip.bn.eps) ** 0.5
    assert torch.allclose(first, x[0, 0, ::2, ::2])
    assert torch.allclose(second[1:, 1:], x[0, 0, 1:-1:2, 1:-1:2])
    assert not second[0].any()
    assert not second[:, 0].any()
    assert not skip(-x).any()  # a ReLU goes before
    assert isinstance(ShakeBlock(4, 4, 1).skip, nn.Identity)
    assert isinstance(PreActBlock(4, 4, 2, 'input').shortcut, nn.Conv2d)


@pytest.mark.parametrize(('cfg', 'says'), [
    (dict(type='RefAugPreActResNet', variant='v2'), 'variant'),
    (dict(type='RefAugPreActResNet', stem_stride=3), 'stem_stride'),
    (dict(type='RefAugWideResNet', depth=27), '6n'),
    (dict(type='RefAugWideResNet', dropout=1.0), 'dropout'),
    (dict(type='RefAugShakeShake', width=95), 'even'),
    (dict(type='RefAugShakeShake', depth=28), '6n'),
    (dict(type='RefAugTimm', name='resnet_18'), "did you mean 'resnet"),
    (dict(type='RefAugTimm', name='resnet18', mix_points=['layer9']), 'layer9'),
    (dict(type='RefAugTimm', name='resnet18', pretrained=True), 'pretrained'),
    (dict(type='RefAugTimm', name='resnet18', drop_paths=0.1), 'drop_paths')])
def test_wrong_arguments_are_refused(cfg, says):
    with pytest.raises(UserError, match=says):
        MODELS.build(dict(cfg, num_classes=2))


def test_timm_network_with_several_heads_says_so():
    net = MODELS.build(dict(type='RefAugTimm', name='deit_tiny_distilled_patch16_224',
                            img_size=32, num_classes=3))
    with pytest.raises(UserError, match='not one linear layer'):
        _ = net.head
    assert net.eval()(images(1)).shape == (1, 3)


def test_timm_options_are_passed_on():
    net = build('timm-resnet', drop_rate=0.5)
    assert net.net.drop_rate == 0.5 != build('timm-resnet').net.drop_rate


BACKBONES = ('RefAugResNet',)


@NETWORKS
def test_a_network_without_backbone_state_registers_nothing_and_says_so(name, tmp_path, zoo_dir):
    history.files.write_json(tmp_path / history.FILE_NAME, [
        dict(epoch=1, iteration=1, phase='augmented', lr=0.1, loss=1.0, augmented_share=0.0)])
    model = MODELS.build(dict(
        type='RefAugClassifier', num_classes=CLASSES, network=SMALL[name],
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3)))
    record = records.RunRecord(name='net', stage='classification')
    cards = register_backbones(model, tmp_path, record, 'net')
    if SMALL[name]['type'] in BACKBONES:
        assert [card.name for card in cards] == ['net']
        assert record.notes == []
    else:
        assert cards == []
        note, = record.notes
        assert SMALL[name]['type'] in note
        assert '\n' not in note
        assert not zoo_dir.exists()


def test_a_run_of_such_a_network_ends_well(words, train_cls, tmp_path):
    config = tmp_path / 'preact.py'
    base = Path(words()[0]).as_posix()
    config.write_text(f'_base_ = [{base!r}]\nmodel = dict(network=dict(\n    _delete_=True, '
                      "type='RefAugPreActResNet', stem_stride=2))\n", encoding='utf-8')
    assert train_cls([str(config), *words()[1:]]) == 0
    record = json.loads((tmp_path / 'run' / records.FILE_NAME).read_text(encoding='utf-8'))
    assert (record['status'], record['registered']) == ('done', [])
    assert any('no backbone registered: RefAugPreActResNet' in note for note in record['notes'])
    kept = load_file(tmp_path / 'run' / AUGMENTED_WEIGHTS)
    net = MODELS.build(dict(type='RefAugPreActResNet', width=8, num_classes=8))
    net.load_state_dict(kept)  # the whole network, its last layer included
