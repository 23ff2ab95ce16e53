"""Figure R11: weights that are wrong, partial or foreign are stopped, and the reason is said."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save
from torchvision.models import mobilenet_v2, squeezenet1_0

from refaug_det.backbones import formats, resnets, zoo


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bad = neighbour('bad_world')
LAYER4 = 'layer4.0.conv1.weight'
PIXELS = ('--mean', 1, 2, 3, '--std', 1, 1, 1, '--channel-order', 'RGB')


class Wrong(NamedTuple):
    """`words(world)` names the weights; the error has to match `reason`."""

    words: Callable
    reason: str


def add(w, path, *more):
    return ['refaug-det', 'backbone', 'add', 'x', '--from', path, *more]


def refine(w, path, *more):
    words = w.cls(*more)
    return ['refine', *words[1:4], '--checkpoint', path, '--name', 'x', '--lr', '1',
            '--epochs', '1', *words[4:]]


def state(change, reason, *more, words=add, name='a.pth'):
    """A ResNet-18 of width 8 with its classifier, changed."""
    return Wrong(lambda w: words(w, w.weights(name, change), *more), reason)


def content(name, data, reason):
    return Wrong(lambda w: add(w, w.put(name, data() if callable(data) else data)), reason)


def of(network, reason, *more):
    """The state dict of another network."""
    def words(w):
        torch.save(network().state_dict(), w.home / 'a.pth')
        return add(w, w.home / 'a.pth', *more)
    return Wrong(words, reason)


def each(change):
    return lambda s: {key: change(value) if value.is_floating_point() else value
                      for key, value in s.items()}


def one(change, key=LAYER4):
    return lambda s: {**s, key: change(s[key])}


def without(pattern):
    return lambda s: {key: value for key, value in s.items() if not re.search(pattern, key)}


def half_safetensors():
    data = save({k: v.contiguous() for k, v in resnets.build(18, 8, 2).state_dict().items()})
    return data[:len(data) // 2]


def preallocated():
    """A download that was cut off, in a file that had its full length from the start."""
    data = save({k: v.contiguous() for k, v in resnets.build(18, 8, 2).state_dict().items()})
    return data[:len(data) // 2] + bytes(len(data) - len(data) // 2)


def scripted():
    data = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), data)
    return data.getvalue()


def keras():
    return b'\x89HDF\r\n\x1a\n' + bytes(200)


def weights_of_zip():
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as packed:
        packed.writestr('conv1.weight.npy', b'\x93NUMPY')
    return data.getvalue()


def plugged(spoil, reason):
    """A registered backbone that is changed behind its card, put into a detector."""
    def words(w):
        spoil(w, w.backbone())
        return w.det(backbone='mine')
    return Wrong(words, reason)


def respecified(**changes):
    return lambda w, folder: w.edit(folder / 'card.json', lambda card: {
        **card, 'spec': {**card['spec'], **changes}})


CASES = {
    'deeper': state(dict, 'did not load whole.*resnet|did not load whole', '--architecture',
                    'resnet34', '--width', 8),
    'shallower': Wrong(lambda w: [torch.save(resnets.build(34, 8, 2).state_dict(), w.home / 'a'),
                                  add(w, w.home / 'a', '--architecture', 'resnet18', '--width', 8)]
                       [1], 'another architecture: it also holds layer1.2'),
    'of bottlenecks': state(dict, 'missing', '--architecture', 'resnet50', '--width', 8),
    'wider': state(dict, '100 of another shape.*first: conv1.weight', '--architecture', 'resnet18',
                   '--width', 16),
    'another prefix': state(dict, "no key in the file begins with 'encoder.'", '--prefix',
                            'encoder.'),
    'an unknown prefix': state(lambda s: {f'my.net.{k}': v for k, v in s.items()}, 'prefix'),
    'only a head': state(without('^(?!fc)'), 'fc.weight|no format'),
    'only the last stage': state(without('^(?!layer4)'), 'missing|layer4'),
    'half of the keys': Wrong(lambda w: add(w, w.weights(change=lambda s: dict(
        list(s.items())[::2]))), 'missing'),
    'without its batch norm\'s statistics': state(without('running_'), '40 missing'),
    'one tensor too few': state(without('layer2.0.conv1'), r'1 missing.*layer2\.0\.conv1\.weight'),
    'right keys, a wrong shape': state(one(lambda t: t[:, :3]), f'of another shape.*{LAYER4}'),
    'convolutions as TensorFlow has them': state(lambda s: {
        k: v.permute(2, 3, 1, 0) if v.ndim == 4 else v for k, v in s.items()}, 'shape|width|whole'),
    'all zero': state(each(torch.zeros_like), 'all zero; first: conv1.weight'),
    'the end is zero': content('a.safetensors', preallocated, 'zero'),
    'nan': state(one(lambda t: t * float('nan')), f'not finite.*\n.*{LAYER4}'),
    'infinite': state(one(lambda t: t / 0), f'not finite.*\n.*{LAYER4}'),
    'whole numbers': state(each(lambda t: (9 * t).to(torch.int8)), 'torch.int8'),
    'quantised': state(one(lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
                       f'1 missing.*{LAYER4}'),
    'complex': state(one(lambda t: t + 1j), 'torch.complex64'),
    'sparse': state(one(lambda t: t.to_sparse()), f'1 missing.*{LAYER4}'),
    'without memory': state(one(lambda t: t.to('meta')), f'1 missing.*{LAYER4}'),
    'an optimizer': Wrong(lambda w: [torch.save(dict(optimizer=dict(state={0: dict(
        momentum_buffer=torch.zeros(2))}, param_groups=[])), w.home / 'a.pth'),
        add(w, w.home / 'a.pth')][1], 'holds no tensors'),
    'of MobileNet': of(mobilenet_v2, 'format|whole'),
    'of SqueezeNet': of(squeezenet1_0, 'format|whole'),
    'of a transformer': of(lambda: torch.nn.TransformerEncoderLayer(8, 2, 8), 'format|whole'),
    'a neck': Wrong(lambda w: add(w, w.weights(change=lambda s: {
        f'neck.{k}': v for k, v in s.items()})), 'neck'),
    'a page': content('a.pth', '<!DOCTYPE html><html>Sign in</html>', 'web page'),
    'a pointer': content('a.pth', 'version https://git-lfs.github.com/spec/v1', 'git-lfs'),
    'an empty file': content('a.pth', b'', 'not a weights file'),
    'half a safetensors': content('a.safetensors', half_safetensors, 'not a weights file'),
    'of TorchScript': content('a.pth', scripted, 'not a weights file'),
    'of Keras': content('a.h5', keras, 'not a weights file'),
    'of numpy': content('a.npz', weights_of_zip, 'not a weights file'),
    'refined without its classifier': state(without('^fc'), r'fc\.weight', words=refine),
    'refined with other classes': state(lambda s: {
        **s, 'fc.weight': torch.zeros(5, 64), 'fc.bias': torch.zeros(5)},
        r'of another shape.*fc\.', words=refine),
    'refined from another network': state(without('layer4'), 'missing', words=refine),
    'refined from weights of other pixels': Wrong(lambda w: [w.edit(
        w.copy('run') / 'config.json', lambda value: value['model']['data_preprocessor'].update(
            mean=[1, 2, 3])), refine(w, w.home / 'run' / 'weights_augmented.safetensors')][1],
        'trained with pixel mean'),
    'refined from weights of other classes': Wrong(lambda w: [
        (w.copy('run') / 'config.json').write_text(json.dumps(json.loads(
            (w.home / 'run' / 'config.json').read_text().replace('"dog"', '"cow"')))),
        refine(w, w.home / 'run' / 'weights_augmented.safetensors')][1], 'other classes'),
    'a card of another depth': plugged(respecified(architecture='resnet34'), 'did not load whole'),
    'a card of another width': plugged(respecified(width=16, out_channels=[16, 32, 64, 128]),
                                       'of another shape'),
    'a card of other channels': plugged(respecified(out_channels=[1, 2, 3, 4]), 'channels'),
    'a card with a deviation of 0': plugged(respecified(std=[0, 0, 0]), 'std'),
    'weights of another card': plugged(lambda w, folder: (
        folder / 'weights.safetensors').write_bytes(half_safetensors()), 'sha256 differs'),
}


@pytest.fixture
def world(tmp_path, made, monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return bad.World(tmp_path / 'here', made)


def judge(words, reason, capsys) -> list[str]:
    """What is wrong with how the command ends; nothing if the weights are stopped."""
    program, *words = map(str, words)
    before = zoo.names()
    capsys.readouterr()
    code = bad.main_of(program)(words)
    err = capsys.readouterr().err
    faults = {f'ends with {code}': code != 2, 'another reason': not re.search(reason, err, re.S),
              'more than three lines': len(err.splitlines()) > 3, 'no remedy': '  fix: ' not in err,
              'registered': zoo.names() != before}
    return [*(fault for fault, is_one in faults.items() if is_one),
            *([err] if any(faults.values()) else [])]


@pytest.mark.figure('R11')
@pytest.mark.parametrize('name', CASES)
def test_wrong_weights_are_stopped_with_the_reason(name, world, capsys, tally):
    faults = judge(CASES[name].words(world), CASES[name].reason, capsys)
    tally(bool(faults), 1)
    assert not faults, '\n'.join(faults)


@pytest.mark.figure('R11')
@pytest.mark.parametrize('way', [add, refine])
@pytest.mark.parametrize('change', [dict, lambda s: {f'module.{k}': v for k, v in s.items()},
                                    each(torch.Tensor.half)])
def test_right_weights_are_not(way, change, world, capsys):
    words = way(world, world.weights(change=change), *(() if way is refine else PIXELS))
    assert 'ends with 0' in judge(words, '', capsys)
    assert zoo.names() == ['x']


@pytest.mark.figure('R11')
@pytest.mark.parametrize('name', ['deeper', 'half of the keys', 'refined without its classifier'])
def test_without_the_account_of_every_tensor_they_pass(name, world, capsys, monkeypatch):
    monkeypatch.setattr(formats.LoadReport, 'whole', True)
    assert any('ends with 0' in fault for fault in judge(CASES[name].words(world), '', capsys))
