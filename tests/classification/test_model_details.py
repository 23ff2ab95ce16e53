"""What sets each network apart: variants, draws, skip paths, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from safetensors.torch import load_file
from torch import nn
from torch.autograd.gradcheck import GradcheckError

import classification.train  # noqa: F401  (registration)
from classification.models.preact_resnet import PreActBlock
from classification.models.shake_shake import ShakeBlock, ShiftedSkip, shake
from classification.refinement import AUGMENTED_WEIGHTS
from refaug_det.errors import UserError
from refaug_det.runs import records

NETWORKS = {
    'preact': dict(type='RefAugPreActResNet', width=8),
    'preact-stride2': dict(type='RefAugPreActResNet', width=8, stem_stride=2),
    'wrn-16-1': dict(type='RefAugWideResNet', depth=16, widen=1),
    'wrn-10-2-dropout': dict(type='RefAugWideResNet', depth=10, widen=2, dropout=0.3),
    'shake-8-2x8d': dict(type='RefAugShakeShake', depth=8, width=8),
    'shake-14-2x4d': dict(type='RefAugShakeShake', depth=14, width=4, stem_stride=2),
    'timm-resnet': dict(type='RefAugTimm', name='test_resnet'),
}


def build(name, **more):
    torch.manual_seed(0)
    return MODELS.build(dict(NETWORKS[name], num_classes=5, **more))


def images(count=4, size=32, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(('name', 'shapes'), [
    ('preact', [(8, 32), (16, 16), (32, 8), (64, 4)]),
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
    net = build('preact', variant=variant).eval()
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
    net, entered = build('preact', variant=variant), []
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
