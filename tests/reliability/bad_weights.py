"""Weights, cards of the zoo and checkpoints to start from that are none, or not whole."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def neighbour(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f'{name}.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Case = neighbour('bad_world').Case
NO_JSON = neighbour('bad_files').NO_JSON


def weights(name, content, *more):
    """`backbone add` of a file with this content."""
    return Case(lambda w: ['refaug-det', 'backbone', 'add', 'x', '--from', w.put(name, content),
                           *more], name)


def state(change, *more, says='r18.pth'):
    """`backbone add` of a ResNet-18 whose state dict is changed."""
    return Case(lambda w: ['refaug-det', 'backbone', 'add', 'x', '--from', w.weights(
        change=change), *more], says)


def refined(path, says=None, *more):
    """`tools/refine.py` from a checkpoint."""
    def made(w):
        words = w.cls(*more)
        return ['refine', *words[1:4], '--checkpoint', path(w) if callable(path) else path,
                '--name', 'x', '--lr', '0.1', *words[4:]]
    return Case(made, says or Path(path).name)


def card(content, *words):
    """A card in the zoo with this content, or these fields."""
    def made(w):
        path = w.backbone() / 'card.json'
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            w.edit(path, lambda value: {**value, **content})
        return ['refaug-det', *(words or ('backbone', 'show', 'mine'))]
    return Case(made, 'card.json')


WEIGHTS = {f'weights, {name}': weights('a.pth', data) for name, data in NO_JSON.items()} | {
    'a page as .safetensors': weights('a.safetensors', b'<!DOCTYPE html><html>'),
    'half a .safetensors': weights('a.safetensors', b'\x40\0\0\0\0\0\0\0{"a":'),
    'a pickle of text': weights('a.pkl', b'\x80\x04\x8c\x01a.'),
    'no weights': Case(lambda w: ['refaug-det', 'backbone', 'add', 'x', '--from',
                                  w.home / 'no.pth'], 'no.pth'),
    'a folder as weights': Case(lambda w: ['refaug-det', 'backbone', 'add', 'x', '--from', w.home],
                                'run.json'),
    'unknown scheme': Case(lambda w: ['refaug-det', 'backbone', 'add', 'x', '--from', 'http://x'],
                           'http'),
    'unknown network of torchvision': Case(lambda w: [
        'refaug-det', 'backbone', 'add', 'x', '--from', 'torchvision://nothing'], 'nothing'),
    'unknown network of timm': Case(lambda w: [
        'refaug-det', 'backbone', 'add', 'x', '--from', 'timm://nothing'], 'nothing'),
    'a tensor too few': state(lambda s: s.__delitem__('layer2.0.conv1.weight')),
    'weights of nan': state(lambda s: s['conv1.weight'].fill_(float('nan')) is None,
                            says='conv1.weight'),
    'refined from a page': refined(lambda w: w.put('a.pth', '<html>'), 'a.pth'),
    'refined from nothing': refined('gone.pth'),
    'refined from another network': refined(lambda w: w.weights(
        change=lambda s: {k: v for k, v in s.items() if 'layer4' not in k}), 'r18.pth'),
    'refined from an unknown scheme': refined('ftp://x', 'ftp://x'),
    'refined from a run with half a config.json': Case(lambda w: [
        w.copy('run'), w.put('run/config.json', '{'), refined(
            w.home / 'run' / 'weights_augmented.safetensors').spoil(w)][2], 'config.json'),
    'refined for no epoch': refined(lambda w: w.weights(), '--epochs', '--epochs', '0'),
    'a detector from a name that leads out': Case(lambda w: w.det(backbone='../x'), '../x'),
    'a detector from an unknown name': Case(lambda w: w.det(backbone='nope'), 'nope'),
    'a detector from an unknown random': Case(lambda w: w.det(backbone='random:nope'), 'nope'),
    'a detector from changed weights': Case(lambda w: [
        (w.backbone() / 'weights.safetensors').write_bytes(b'x'), w.det(backbone='mine')][1],
        'weights.safetensors'),
}
CARDS = {f'card, {name}': card(data) for name, data in NO_JSON.items()} | {
    'card of another schema': card(dict(schema=9)), 'card with unknown fields': card(dict(more=1)),
    'spec of text': card(dict(spec='resnet18')), 'spec of a list': card(dict(spec=[1])),
    'spec without width': card(dict(spec=dict(architecture='resnet18'))),
    'card, half, listed': card(b'{', 'backbone', 'list'),
    'card, half, verified': card(b'{', 'backbone', 'verify'),
    'metrics of a card, a list': card(dict(metrics=[1]), 'backbone', 'list'),
    'provenance of a card, text': card(dict(provenance='x'), 'backbone', 'list'),
    'sha256 of a card, a number': card(dict(sha256=3), 'backbone', 'list'),
}
CASES = {**WEIGHTS, **CARDS}
