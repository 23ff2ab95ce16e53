"""Whoever trained it: a backbone is recognised, whole and accounted for, or it is refused."""

from __future__ import annotations

import functools
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from refaug_det.backbones import key_names, zoo
from refaug_det.backbones.importing import add
from refaug_det.backbones.resnets import IMAGENET_MEAN, IMAGENET_STD, build
from refaug_det.errors import UserError

CONFIG = '''
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(backbone=dict(type='ResNet', depth=18, style='pytorch'),
             bbox_coder=dict(target_means=[0.0, 0.0], target_stds=[1.0, 1.0]))
'''


@functools.cache
def network(depth: int) -> dict[str, torch.Tensor]:
    """A narrow ResNet with statistics of its own, the classifier included."""
    torch.manual_seed(depth)
    return {k: v + torch.rand(v.shape) if v.is_floating_point() else v
            for k, v in build(depth, 8, 10).state_dict().items()}


def under(prefix: str, state: dict) -> dict:
    return {prefix + key: value for key, value in state.items()}


def detectron2(state: dict, body: str = '', last: str | None = None) -> dict:
    """By detectron2's names; `last` is where the last stage lies, if elsewhere."""
    found = {}
    for key, value in state.items():
        key = re.sub(r'bn(\d)', r'conv\1.norm', key).replace('downsample.0', 'shortcut')
        key = key.replace('downsample.1', 'shortcut.norm')
        key = re.sub(r'layer(\d)', lambda m: f'res{int(m[1]) + 1}', key)
        key = key if key.startswith('res') else f'stem.{key}'
        found[(body if last is None or not key.startswith('res5') else last) + key] = value
    return found


def plain(state: dict) -> dict:
    return {key: value.numpy() for key, value in state.items()}


def pixels(mean: tuple, std: tuple) -> dict:
    return {'pixel_mean': torch.tensor(mean).view(3, 1, 1),
            'pixel_std': torch.tensor(std).view(3, 1, 1)}


# format -> state dict -> what its authors' code writes; the name says the file's kind
WRITTEN = {
    'torchvision.pth': lambda s: s, 'torchvision.safetensors': lambda s: s,
    'data-parallel.pth': lambda s: dict(  # CutMix-PyTorch
        epoch=1, arch='resnet', state_dict=under('module.', s), best_err1=torch.tensor(20.0),
        optimizer={'state': {0: {'momentum_buffer': torch.zeros(1)}}}),
    'moco.pth': lambda s: dict(epoch=1, arch='resnet50', state_dict={
        **under('module.encoder_q.', s), **under('module.encoder_k.', network(34)),
        'module.queue': torch.zeros(2, 3), 'module.queue_ptr': torch.zeros(1)}),
    'moco-v3.pth': lambda s: dict(state_dict={
        **under('module.base_encoder.', s), **under('module.momentum_encoder.', network(34)),
        'module.predictor.0.weight': torch.zeros(2, 3)}),
    'simsiam.pth': lambda s: dict(state_dict={
        **under('module.encoder.', s), 'module.predictor.0.weight': torch.zeros(2, 3)}),
    'barlow-twins.pth': lambda s: dict(epoch=1, optimizer={}, model={
        **under('module.backbone.', s), 'module.projector.0.weight': torch.zeros(2, 3)}),
    'dino.pth': lambda s: dict(
        student=under('module.backbone.', network(34)), epoch=1, dino_loss={
            'center': torch.zeros(1, 3)}, teacher={
            **under('module.backbone.', s), 'module.head.mlp.0.weight': torch.zeros(2, 3)}),
    'openmmlab.pth': lambda s: dict(meta=dict(cfg=CONFIG, best=np.float64(1)), state_dict={
        **under('backbone.', s), 'neck.lateral_convs.0.conv.weight': torch.zeros(2, 3)}),
    'detectron2.pkl': lambda s: dict(  # torchvision's, converted for it
        model=plain(detectron2(s)), __author__='torchvision', matching_heuristics=True),
    'detectron2.pth': lambda s: dict(model={  # FPN
        **detectron2(s, 'backbone.bottom_up.'), 'backbone.fpn_lateral2.weight': torch.zeros(2),
        **pixels(IMAGENET_MEAN, IMAGENET_STD)}, iteration=3),
    'detectron2-c4.pkl': lambda s: dict(__author__='Detectron2 Model Zoo', model=plain({
        **detectron2(s, 'backbone.', 'roi_heads.'), **pixels(IMAGENET_MEAN, IMAGENET_STD)})),
}


def write(path: Path, value: object) -> Path:
    if path.suffix == '.pkl':
        path.write_bytes(pickle.dumps(value))
    elif path.suffix == '.safetensors':
        save_file(value, path)
    else:
        torch.save(value, path)
    return path


@pytest.fixture
def written(tmp_path):
    """`written(name, depth)`: the file of a source; returns its path."""
    return lambda name, depth=18: write(tmp_path / name, WRITTEN[name](network(depth)))


def format_of(name: str) -> str:
    return name.partition('.')[0].removesuffix('-c4')


def said(name: str) -> tuple[str, ...]:
    """What a bottleneck network of that source must be told."""
    return ('pytorch',) if name in ('detectron2.pth', 'detectron2-c4.pkl') else (None,)


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('name', WRITTEN)
def test_a_source_is_recognised_whole_and_accounted_for(written, name, depth):
    path, state = written(name, depth), network(depth)
    card, report = add('mine', path, style=said(name)[0])
    assert report.names.name == format_of(name)
    assert (card.spec.architecture, card.spec.width) == (f'resnet{depth}', 8)
    assert card.spec.mean == pytest.approx(IMAGENET_MEAN, abs=1e-3)
    assert card.spec.std == pytest.approx(IMAGENET_STD, abs=1e-3)
    assert card.spec.channel_order == 'RGB'
    found = zoo.weights('mine')
    assert found.keys() == {key for key in state if not key.startswith('fc.')}
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    assert card.provenance['format'] == format_of(name)
    assert card.provenance['file'] == path.name
    assert len(card.provenance['sha256']) == 64
    from refaug_det.backbones.formats import read_checkpoint
    assert report.taken == len(found)
    assert report.taken + sum(report.unused.values()) == len(read_checkpoint(path).tensors)


@pytest.mark.parametrize('name', WRITTEN)
def test_another_depth_is_refused(written, name):
    path = written(name, 18)
    for architecture, width in (('resnet34', 8), ('resnet50', 8), ('resnet18', 16)):
        with pytest.raises(UserError, match='did not load whole') as caught:
            add('mine', path, architecture, width)
        assert len(str(caught.value).splitlines()) == 3
    assert zoo.names() == []
    add('mine', path, 'resnet18', 8)


@pytest.mark.parametrize('name', WRITTEN)
def test_a_truncated_file_is_refused(written, name):
    path = written(name)
    whole = path.read_bytes()
    for share in (0.01, 0.5, 0.99):
        path.write_bytes(whole[:int(share * len(whole))])
        with pytest.raises(UserError, match='not a weights file'):
            add('mine', path)
    path.write_bytes(b'<!DOCTYPE html><html><body>Sign in</body></html>')
    with pytest.raises(UserError, match='web page'):
        add('mine', path)
    assert zoo.names() == []


@pytest.mark.parametrize('name', WRITTEN)
def test_a_missing_tensor_is_named(tmp_path, name):
    state = dict(network(18))
    del state['layer2.0.bn1.running_var']
    path = write(tmp_path / name, WRITTEN[name](state))
    with pytest.raises(UserError, match=r'1 missing.*layer2\.0\.bn1\.running_var'):
        add('mine', path)
    card, report = add('mine', path, allow_missing=['layer2.0.bn1.running_var'])
    assert report.load.initialised == ('layer2.0.bn1.running_var',)
    assert card.provenance['initialised'] == ['layer2.0.bn1.running_var']
    assert torch.equal(zoo.weights('mine')['layer2.0.bn1.running_var'], torch.ones(16))
    assert 'missing: layer2.0.bn1.running_var (left as initialised)' in report.lines(card)


def test_a_missing_tensor_of_a_network_of_timm_is_named(tmp_path):
    import timm
    state, path = timm.create_model('convnext_atto').state_dict(), tmp_path / 'a.safetensors'
    value, key = state.pop('stages.1.blocks.0.norm.bias'), 'stages_1.blocks.0.norm.bias'
    save_file(state, path)
    for allowed in ([], ['stages_2.*']):
        with pytest.raises(UserError, match=re.escape(f'{key} is missing')):
            add('mine', path, 'timm/convnext_atto', allow_missing=allowed)
    card, report = add('mine', path, 'timm/convnext_atto', allow_missing=['stages_1.*.bias'])
    assert report.load.initialised == (key,)
    assert card.provenance['initialised'] == [key]
    assert torch.equal(zoo.weights('mine')[key], torch.zeros_like(value))
    save_file(state | {'stages.1.blocks.0.norm.bias': value[:3].clone()}, path)
    with pytest.raises(UserError, match='of another shape'):
        add('other', path, 'timm/convnext_atto', allow_missing=['stages_1.*'])


def test_two_keys_of_one_name_are_not_chosen_between(tmp_path):
    state = WRITTEN['detectron2-c4.pkl'](network(18))
    state['model']['backbone.res5.0.conv1.weight'] = np.zeros(2)
    path = write(tmp_path / 'a.pkl', state)
    with pytest.raises(UserError, match=r'are both layer4\.0\.conv1\.weight'):
        add('mine', path)


def test_every_format_is_tested_and_described():
    tested = {format_of(name) for name in WRITTEN} | {'refaug-det'}  # in test_origins.py
    assert tested == {names.name for names in key_names.KNOWN}


def test_the_report_says_what_was_done(written):
    card, report = add('mine', written('moco.pth'))
    assert report.lines(card) == [
        'format: moco (MoCo v1, v2)', 'architecture: resnet18, width 8',
        'pixels: RGB, mean 123.675 116.28 103.53, std 58.395 57.12 57.375 (as all of MoCo v1, v2)',
        'mapping: module.encoder_q.* -> * (120 tensors)',
        'matched: 100 tensors, and 20 counters of batch norms',
        'unused: module.encoder_q.fc (2), module.encoder_k (218), module.queue (1), '
        'module.queue_ptr (1)',
        'not read: epoch, arch', 'missing: none']
