"""What a source does not say is asked for; what is given wins; what cannot be known is refused."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from refaug_det.backbones import zoo
from refaug_det.backbones.importing import add
from refaug_det.backbones.resnets import IMAGENET_MEAN, build
from refaug_det.errors import UserError

GIVEN = dict(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), channel_order='BGR')
RGB = "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]"
BGR = "mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395]"
MSRA = "mean=[\n    103.53,\n    116.28,\n    123.675,\n], std=[1.0, 1.0, 1.0]"


@functools.cache
def network(depth: int = 18) -> dict[str, torch.Tensor]:
    torch.manual_seed(depth)
    return {k: v + torch.rand(v.shape) if v.is_floating_point() else v
            for k, v in build(depth, 8, 10).state_dict().items()}


@pytest.fixture
def saved(tmp_path):
    """`saved(prefix, depth, **beside)`: a .pth file; returns its path."""
    def save(prefix: str = '', depth: int = 18, more: dict | None = None, **beside) -> Path:
        state = {prefix + k: v for k, v in network(depth).items()}
        torch.save(dict(beside, state_dict=state | (more or {})), tmp_path / 'a.pth')
        return tmp_path / 'a.pth'
    return save


# Which network of a file

def test_two_backbones_in_a_file_are_told_apart_by_the_person(saved):
    other = {f'backbone.{k}': v + 1 for k, v in network().items()}
    path = saved('module.', more=other, meta=dict(cfg=f'{RGB}, to_rgb=True'))
    with pytest.raises(UserError, match='data-parallel and openmmlab') as caught:
        add('mine', path)
    assert '--format' in caught.value.fix
    for name, state in (('data-parallel', network()), ('openmmlab', other)):
        _, report = add(name, path, format_name=name)
        assert sum(report.unused.values()) == len(other) + 2  # the other one, and the classifier
        first = state.get('conv1.weight', state.get('backbone.conv1.weight'))
        assert torch.equal(zoo.weights(name)['conv1.weight'], first)


@pytest.mark.parametrize(('prefix', 'said'), [
    ('net.module.', "'net.module.'"), ('model.', "'model.'"), ('encoder.0.', "'encoder.0.'")])
def test_an_unknown_prefix_is_found_and_asks_for_the_pixels(saved, prefix, said):
    path = saved(prefix)
    with pytest.raises(UserError, match='no known format') as caught:
        add('mine', path)
    assert said in caught.value.fix
    with pytest.raises(UserError, match='nothing says which pixels'):
        add('mine', path, prefix=prefix)
    with pytest.raises(UserError, match='nothing says which pixels'):
        add('mine', path, prefix=prefix, mean=(1, 2, 3), std=(1, 2, 3))
    card, _ = add('mine', path, prefix=prefix, **GIVEN)
    assert card.provenance['prefix'] == prefix
    assert card.spec.channel_order == 'BGR'
    card, _ = add('as', path, prefix=prefix, format_name='torchvision')
    assert card.spec.mean == IMAGENET_MEAN


@pytest.mark.parametrize(('change', 'what', 'fix'), [
    (dict(prefix='net.'), "begins with 'net.'", "'module.'"),
    (dict(prefix=''), 'not a ResNet', "'module.'"),
    (dict(prefix='', architecture='resnet18', width=8), 'did not load whole', "'module.'"),
    (dict(format_name='dino'), 'format dino', "'module.'"),
    (dict(format_name='mocov2'), "unknown format 'mocov2'", 'moco-v3'),
    (dict(architecture='resnet34'), 'did not load whole', ''),
    (dict(architecture='vit'), 'unknown architecture', 'resnet50'),
    (dict(width=16), 'another shape', ''), (dict(style='tf'), "style 'tf'", 'pytorch'),
    (dict(channel_order='rgb'), 'channel order', 'RGB or BGR'),
    (dict(std=(58.0, 0.0, 57.0)), 'must be positive', '0-255'),
    (dict(mean=(float('nan'), 0.0, 57.0)), 'finite', '0-255'),
    (dict(name='../mine'), 'not a backbone name', ''),
    (dict(source='ftp://x'), 'unknown source ftp://', 'torchvision://')])
def test_anything_but_a_whole_backbone_is_not_registered(saved, change, what, fix):
    right = dict(name='mine', source=saved('module.'))
    with pytest.raises(UserError) as caught:
        add(**{**right, **change})
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert zoo.names() == []
    add(**right)
    assert zoo.names() == ['mine']
    assert add('again', right['source'], 'resnet18')[0].spec.width == 8  # by its tensors


def test_what_is_no_resnet_of_four_stages(tmp_path):
    small = {k: v for k, v in network().items() if not k.startswith('layer4')}
    deep = {k.replace('conv1.', 'conv1.0.', 1) if k.startswith('conv1') else k: v
            for k, v in network().items()}
    deeper = network() | {k.replace('layer1.0', 'layer1.2'): v for k, v in network().items()
                          if k.startswith('layer1.0')}
    caffe2 = {'conv1_w': torch.zeros(2), 'res2_0_branch2a_w': torch.zeros(2)}
    for state, said in ((small, 'it has 3'), (deep, 'no known format'), (caffe2, 'Caffe2'),
                        (deeper, "unknown architecture 'resnet20'"),
                        ({'x.kernel': torch.zeros(1)}, "first key is 'x.kernel'")):
        torch.save(state, tmp_path / 'a.pth')
        with pytest.raises(UserError) as caught:
            add('mine', tmp_path / 'a.pth')
        assert said in str(caught.value)
    torch.save(network() | {'conv1.weight': torch.tensor(1.0)}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='another shape'):
        add('mine', tmp_path / 'a.pth')


def test_other_weights_do_not_take_the_name(saved, tmp_path):
    add('mine', saved())
    torch.save({k: v + 1 for k, v in network().items()}, tmp_path / 'b.pth')
    with pytest.raises(UserError, match='other weights under'):
        add('mine', tmp_path / 'b.pth')
    add('mine', tmp_path / 'b.pth', overwrite=True)
    torch.save(network() | {'bn1.bias': torch.full((8,), float('nan'))}, tmp_path / 'b.pth')
    with pytest.raises(UserError, match='not finite'):
        add('mine', tmp_path / 'b.pth', overwrite=True)


# OpenMMLab's config, which is text from a stranger

@pytest.mark.parametrize(('key', 'config', 'order', 'mean'), [
    ('cfg', f"data_preprocessor = dict({RGB}, bgr_to_rgb=True)", 'RGB', 123.675),
    ('cfg', f"data_preprocessor = dict({BGR}, to_rgb=False, type='X')", 'BGR', 103.53),
    ('config', f"img_norm_cfg = dict({RGB}, to_rgb=True)\npipeline = dict({RGB}, to_rgb=True)",
     'RGB', 123.675),
    ('config', f"x = dict({MSRA}, to_rgb=False, style='caffe')", 'BGR', 103.53)])
def test_the_config_in_the_file_says_the_pixels(saved, key, config, order, mean):
    card, report = add('mine', saved('backbone.', meta={key: config}))
    assert (card.spec.channel_order, card.spec.mean[0]) == (order, mean)
    assert report.said == 'the config in the file'
    card, report = add('mine', saved('backbone.', meta={key: config}), **GIVEN)
    assert (card.spec.mean, card.spec.std) == (GIVEN['mean'], GIVEN['std'])
    assert report.said == 'as given'
    card, _ = add('mine', saved('backbone.', meta={key: config}), mean=(1, 2, 3))
    assert (card.spec.mean, card.spec.channel_order) == ((1, 2, 3), order)


@pytest.mark.parametrize('meta', [
    {}, dict(cfg=''), dict(cfg=3), dict(cfg=f'{RGB}'), dict(cfg='to_rgb=True'),
    dict(cfg=f'{RGB}, to_rgb=True; {BGR}, to_rgb=True'), dict(cfg=f'{RGB}, to_rgb=maybe'),
    dict(cfg='mean=[1, 2], std=[1, 2], to_rgb=True'), dict(cfg=f'{RGB}, to_rgb=True, to_rgb=False'),
    dict(cfg='mean=[1, -, e], std=[1, 2, 3], to_rgb=True'), dict(cfg=[RGB])])
def test_a_config_that_does_not_say_is_no_reason_to_guess(saved, meta):
    path = saved('backbone.', meta=meta)
    with pytest.raises(UserError, match='nothing says which pixels'):
        add('mine', path)
    add('mine', path, **GIVEN)


def test_a_config_is_searched_and_never_run(saved, tmp_path):
    mark = tmp_path / 'mark'
    code = f'__import__("pathlib").Path({str(mark)!r}).touch()'
    config = (f'x = {code}\nmodel = dict({RGB}, to_rgb=True, style={code})\n'
              f'mean=[{code}, 1, 2]\ncustom_imports = dict(imports=["{tmp_path}/x"])\n'
              '_base_ = "/etc/passwd"\n' + '(' * 100_000)
    card, _ = add('mine', saved('backbone.', meta=dict(cfg=config, config=config)))
    assert card.spec.mean == IMAGENET_MEAN
    assert not mark.exists()
    exec(config.splitlines()[0])
    assert mark.exists()  # the code is live


# Where bottleneck blocks have their stride, which no tensor tells

@pytest.mark.parametrize(('config', 'refusal'), [
    (f"dict({RGB}, to_rgb=True, style='pytorch')", None), (f'dict({RGB}, to_rgb=True)', None),
    (f"dict({MSRA}, to_rgb=False, style='caffe')", 'caffe style'),
    (f"dict({RGB}, to_rgb=True, style='pytorch', x=dict(style='caffe'))", 'nothing says whether')])
def test_caffe_style_is_refused_where_it_matters(saved, config, refusal):
    add('r18', saved('backbone.', 18, meta=dict(cfg=config)))  # no 1x1 convolution in its blocks
    path = saved('backbone.', 50, meta=dict(cfg=config))
    if refusal:
        with pytest.raises(UserError, match=refusal):
            add('mine', path)
        assert 'mine' not in zoo.names()
    add('mine', path, style='pytorch')
    with pytest.raises(UserError, match='caffe style'):
        add('mine', path, style='caffe')


def test_pixels_alone_do_not_say_the_style(saved):
    path = saved('backbone.', 50)
    with pytest.raises(UserError, match='nothing says whether'):
        add('mine', path, **GIVEN)
    add('mine', path, style='pytorch', **GIVEN)


@pytest.mark.parametrize('epsilon', [0.0, 1e-5])
def test_folded_batch_norms_speak_for_caffe(tmp_path, epsilon):
    state = {k: torch.zeros_like(v) if k.endswith('running_mean') else
             torch.ones_like(v) - epsilon if k.endswith('running_var') else v
             for k, v in network(50).items()}
    torch.save(state, tmp_path / 'a.pth')  # OpenMMLab's resnet50_msra, by torchvision's names
    for known in ({}, dict(style='pytorch'), GIVEN):
        with pytest.raises(UserError, match='folded'):
            add('mine', tmp_path / 'a.pth', **known)
    add('mine', tmp_path / 'a.pth', style='pytorch', **GIVEN)
    torch.save(network(50), tmp_path / 'a.pth')
    add('other', tmp_path / 'a.pth')


@pytest.mark.parametrize(('mean', 'std', 'author', 'said'), [
    ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), 'Detectron2 Model Zoo', 'caffe style'),
    ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), 'me', 'nothing says whether'),
    ((1.0, 2.0, 3.0), (1.0, 1.0, 1.0), 'me', 'nothing says which pixels'),
    (None, None, 'me', 'nothing says which pixels'), (None, None, 'MOCO', '')])
def test_what_a_file_of_detectron2_says(tmp_path, mean, std, author, said):
    state = {('stem.' if 'layer' not in k else '') + k: v.numpy()
             for k, v in network(50).items() if k.startswith(('conv1', 'layer'))}
    renames = {'layer1': 'res2', 'layer2': 'res3', 'layer3': 'res4', 'layer4': 'res5',
               'bn1': 'conv1.norm', 'bn2': 'conv2.norm', 'bn3': 'conv3.norm',
               'downsample.0': 'shortcut', 'downsample.1': 'shortcut.norm'}
    for old, new in renames.items():
        state = {k.replace(old, new): v for k, v in state.items()}
    state.update({f'stem.conv1.norm.{k.removeprefix("bn1.")}': v.numpy()
                  for k, v in network(50).items() if k.startswith('bn1.')})
    if mean:
        state.update(pixel_mean=np.float32(mean).reshape(3, 1, 1), pixel_std=np.float32(std))
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(model=state, __author__=author)))
    if said:
        with pytest.raises(UserError, match=said):
            add('mine', tmp_path / 'a.pkl')
    else:
        assert add('moco', tmp_path / 'a.pkl')[0].spec.mean == IMAGENET_MEAN
    card, _ = add('mine', tmp_path / 'a.pkl', style='pytorch', **(GIVEN if not mean or mean[0] == 1
                                                                  else {}))
    assert card.spec.channel_order == 'BGR'
