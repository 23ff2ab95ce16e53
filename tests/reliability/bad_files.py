"""What runs leave behind, spoilt: records, histories, configs, detections, analyses."""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path

import torch

_spec = importlib.util.spec_from_file_location(
    'bad_world', Path(__file__).with_name('bad_world.py'))
_world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_world)
Case = _world.Case

NO_JSON = {'empty': b'', 'half': b'[{"epoch": 1, ', 'a page': b'<html>',
           'UTF-16': b'\xff\xfe[\0]\0', 'NUL': b'\0' * 40, 'deep': b'[' * 200_000,
           'a number': b'3', 'a huge number': b'9' * 9999}


def record(content, *words, says='run.json'):
    """A run.json of stage 2 with this content, or with these fields, read by a command."""
    def made(w):
        folder = w.detected()
        if isinstance(content, bytes):
            (folder / 'run.json').write_bytes(content)
        else:
            w.edit(folder / 'run.json', lambda value: {**value, **content})
        return ['refaug-det', *(words or ('compare',)), folder]
    return Case(made, says)


def of_run(file, content, *words, says=None, program='refaug-det'):
    """A file of a finished run of stage 1 with this content, read by a command."""
    def made(w):
        run = w.copy('run')
        path = run / file
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)
        return [program, *(run if word == 'RUN' else run / word[4:] if str(word).startswith('RUN/')
                           else word for word in words)]
    return Case(made, says or file)


def resumed(file, content):
    """The same, of a run that is to go on."""
    def made(w):
        shutil.copytree(w.made.run, w.home / 'work')
        (w.home / 'work' / file).write_bytes(content)
        return w.cls('--resume')
    return Case(made, file)


def directory(file):
    def spoil(path):
        path.unlink()
        path.mkdir()
    return spoil


def kept(content, *words):
    """A detections.npz with this content."""
    def made(w):
        folder = w.detected()
        path = folder / 'detections.npz'
        content(path) if callable(content) else path.write_bytes(content)
        return ['refaug-det', *words, folder]
    return Case(made, 'detections.npz')


def arrays(**changes):
    def spoil(path):
        import numpy as np
        with np.load(path) as stored:
            values = {**{name: stored[name] for name in stored.files}, **changes}
        np.savez(path, **values)
    return spoil


def bomb(path):
    """A file whose array claims 2 ** 60 numbers."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 4), }"
    data = b'\x93NUMPY\x01\0' + len(header).to_bytes(2, 'little') + header.encode()
    with zipfile.ZipFile(path, 'w') as packed:
        packed.writestr('boxes.npy', data)


def two(**fields):
    """Two runs that cannot stand in one table."""
    def made(w):
        w.detected('a')
        return ['refaug-det', 'compare', w.detected('b', **fields).parent]
    return Case(made, 'runs')


RECORDS = {f'run.json, {name}': record(data) for name, data in NO_JSON.items()} | {
    'run.json of another schema': record(dict(schema=99)),
    'run.json with unknown fields': record(dict(more=1)),
    'run.json without status': record(dict(status=None)),
    'metrics that are a list': record(dict(metrics=[1])),
    'metrics of text': record(dict(metrics={'AP50 (11-point)': 'high'})),
    'a metric of 1e300': record(dict(metrics={'AP50 (11-point)': 1e300})),
    'a seed of text': record(dict(seed='0')), 'a backbone of text': record(dict(backbone='a')),
    'a protocol that is a list': record(dict(protocol=[1])), 'notes of numbers': record(
        dict(notes=[1])),
    'an id that is a list': record(dict(id=[1])), 'a name that is a number': record(dict(name=3)),
    'versions of text': record(dict(versions='all')),
    'metrics that are a list, errors': record(dict(metrics=[1]), 'analyze', 'errors'),
    'data of text': record(dict(data='x'), 'paper', 'table6'),
    'a record without a protocol': record(dict(protocol={}), 'protocol', 'show', says='a-seed0'),
    'two protocols': two(protocol={'epochs': 24}),
    'two weights of one name': two(backbone=dict(name='a', sha256='other', run=None)),
    'a folder without runs': Case(lambda w: ['refaug-det', 'compare', w.home], 'here'),
    'no run': Case(lambda w: ['refaug-det', 'compare', w.home / 'gone'], 'gone'),
    'run.json that is a folder': Case(lambda w: ['refaug-det', 'compare', w.put(
        'a/run.json/b').parents[1]], 'run.json'),
    'run.json that is a loop': Case(lambda w: [(w.home / 'run.json').symlink_to(
        w.home / 'run.json'), 'refaug-det', 'compare', w.home][1:], 'here'),
}
STAGE1 = {f'history.json, {name}, curves': of_run('history.json', data, 'analyze', 'curves', 'RUN')
          for name, data in NO_JSON.items()} | {
    f'config.json, {name}, risk': of_run('config.json', data, 'analyze', 'risk', 'RUN')
    for name, data in NO_JSON.items()} | {
    'history.json, half, switch': of_run('history.json', b'[{"epoch":', 'analyze', 'switch', 'RUN'),
    'history.json, rows of text': of_run('history.json', b'["a"]', 'analyze', 'curves', 'RUN'),
    'history.json, no epochs': of_run('history.json', b'[{"loss": 1}]', 'analyze', 'curves', 'RUN'),
    'history.json, half, backbone': of_run('history.json', b'[', 'backbone', 'add', 'x', '--from',
                                           'RUN'),
    'history.json, half, resumed': resumed('history.json', b'[{'),
    'history.json, half, table': of_run('history.json', b'[{', 'RUN', program='refinement_table'),
    'config.json, half, resumed': resumed('config.json', b'{"model'),
    'config.json, a list, resumed': resumed('config.json', b'[1]'),
    'config.json, half, table': of_run('config.json', b'{', 'RUN', program='refinement_table'),
    'config.json, half, switch': of_run('config.json', b'{', 'analyze', 'switch', 'RUN'),
    'config.json, empty, backbone': of_run('config.json', b'{}', 'backbone', 'add', 'x', '--from',
                                           'RUN'),
    'run.json, half, resumed': resumed('run.json', b'{"name": "a'),
    'risk.json, half': of_run('risk.json', b'[{', 'analyze', 'risk', 'RUN'),
    'risk.json of another schema': of_run('risk.json', b'[{"schema": 9}]', 'analyze', 'risk',
                                          'RUN'),
    'risks.json, half': of_run('risks.json', b'[{', 'analyze', 'curves', 'RUN'),
    'risks.json, a number': of_run('risks.json', b'3', 'analyze', 'curves', 'RUN'),
    'no checkpoint': of_run('iter_2.pth', lambda path: [p.unlink() for p in path.parent.glob(
        'iter_*')], 'analyze', 'risk', 'RUN', says='run'),
    'no config': of_run('config.json', Path.unlink, 'analyze', 'risk', 'RUN'),
    'no weights before the switch': of_run('weights_augmented.safetensors', Path.unlink, 'analyze',
                                           'risk', 'RUN', '--weights', 'augmented', says='run'),
    'weights that are no file': of_run('a', lambda path: None, 'analyze', 'risk', 'RUN',
                                       '--weights', 'gone.pth', says='gone.pth'),
    'weights of half a file': of_run('weights_augmented.safetensors', b'\x80', 'analyze', 'risk',
                                     'RUN', '--weights', 'augmented'),
    'a run of no stage 1': Case(lambda w: ['refaug-det', 'analyze', 'risk', w.detected()],
                                'a-seed0'),
    'data that are not there': of_run('a', lambda path: None, 'analyze', 'risk', 'RUN',
                                      '--data-root', '/nowhere', says='/nowhere'),
}
DETECTIONS = {f'detections.npz, {name}': kept(data, 'eval') for name, data in NO_JSON.items()} | {
    'detections.npz, half': kept(lambda path: path.write_bytes(path.read_bytes()[:300]), 'eval'),
    'detections.npz, a folder': kept(directory('detections.npz'), 'analyze', 'errors'),
    'detections.npz, none': kept(Path.unlink, 'eval'),
    'labels outside': kept(arrays(labels=torch.tensor([0, 9]).short().numpy()), 'eval'),
    'scores of nan': kept(arrays(scores=torch.tensor([0.5, float('nan')]).numpy()), 'eval'),
    'boxes of another shape': kept(arrays(boxes=torch.zeros(2, 3).numpy()), 'eval'),
    'another version': kept(arrays(version=torch.tensor(9).numpy()), 'eval'),
    'a huge array': kept(bomb, 'eval'),
    'other metrics than the record\'s': Case(lambda w: [
        'refaug-det', 'analyze', 'errors', w.detected(metrics={'AP50 (11-point)': 3.0})],
        'a-seed0'),
    'pictures of a folder that is not there': Case(lambda w: [
        'refaug-det', 'show', w.detected(), '--data-root', w.home / 'gone'], 'gone'),
    'pictures of an id that leads out': Case(lambda w: [
        'refaug-det', 'show', [arrays(image_ids=['../../a', 'b'])(
            w.detected() / 'detections.npz'), w.home / 'runs/a-seed0'][1], '--data-root', w.home],
        'leads out'),
}
CASES = {**RECORDS, **STAGE1, **DETECTIONS}
