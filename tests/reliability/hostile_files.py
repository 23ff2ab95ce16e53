"""Files made to run code, names and links made to lead out: cases of figure R10.

A case takes a `World` (bad_world.py) and a `Trap`, and returns the words of a command line.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import pickle
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch


def neighbour(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f'{name}.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bad = neighbour('bad_world')
voc_faults = neighbour('bad_data').voc_faults
MAIN = 'numpy.f2py.__main__'
OS = dict(type='os.system', command='COMMAND')
NET = dict(type='RefAugClassifier', num_classes=2)


class Trap:
    """A folder that no case may touch, and payloads that leave a mark in it."""

    def __init__(self, outside: Path) -> None:
        self.outside, self.mark = outside, outside / 'mark'
        outside.mkdir()
        (outside / 'secret.txt').write_text('TOP SECRET')

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)

    @property
    def python(self) -> str:
        return f'__import__("os").system("touch {self.mark}")\n'


class Hostile(NamedTuple):
    """`make(world, trap)` returns words; `says` is named; `live(world, trap)` springs the trap."""

    make: Callable
    says: str
    code: int = 2
    live: Callable | None = None


def add(w, path, *more):
    return ['refaug-det', 'backbone', 'add', 'x', '--from', path, *more]


def torch_file(name, value, words=add):
    """A file of torch.save; opened by someone trusting, it leaves the mark."""
    def make(w, trap):
        torch.save(value(trap, {'conv1.weight': torch.zeros(2)}), w.home / name)
        return words(w, w.home / name)
    return Hostile(make, name, live=lambda w, trap: torch.load(w.home / name, weights_only=False))


def pickled(name, words=add):
    """A bare pickle, whatever its name says."""
    def make(w, trap):
        return words(w, w.put(name, pickle.dumps({'model': {'a': trap}})))
    return Hostile(make, Path(name).name, live=lambda w, trap: pickle.loads(
        (w.home / name).read_bytes()))


def refine(w, path):
    words = w.cls()
    return ['refine', *words[1:4], '--checkpoint', path, '--name', 'x', '--lr', '1', *words[4:]]


def of_run(file, *words, says=None):
    """A pickle in place of a file of a run of stage 1."""
    def make(w, trap):
        run = w.copy('run')
        for path in run.glob('iter_*.pth'):
            path.unlink()
        torch.save({'format': 1, 'state_dict': trap}, run / file)
        return ['refaug-det', *words, run] if words else [
            'train_cls', *w.cls()[1:4], '--work-dir', run, '--resume', *w.cls()[6:]]
    return Hostile(make, says or file, live=lambda w, trap: torch.load(
        w.home / 'run' / file, weights_only=False))


def arrays(w, trap):
    folder = w.detected()
    np.savez(folder / 'detections.npz', boxes=np.array([trap], object))
    return ['refaug-det', 'eval', folder]


def load_objects(w, trap):
    with np.load(w.home / 'runs/a-seed0/detections.npz', allow_pickle=True) as stored:
        return stored['boxes']


def config_of_run(*words, **changes):
    """A config.json in a run directory that names code."""
    def make(w, trap):
        (w.home / 'evil.py').write_text(trap.python)
        text = json.dumps(changes).replace('COMMAND', f'touch {trap.mark}')
        w.edit(w.copy('run') / 'config.json', lambda value: {**value, **json.loads(text)})
        return ['refaug-det', 'analyze', 'risk', w.home / 'run', *words]
    return Hostile(make, 'config.json', live=lambda w, trap: exec(trap.python))


def main_of_a_module(w, trap):
    """An installed module whose main is unguarded, and obeys the words of the command line."""
    sys.modules.pop(MAIN, None)
    sys.argv = ['f2py', '-h', str(trap.mark), str(w.put('a.f', '      subroutine a\n      end\n'))]
    return config_of_run(custom_imports=dict(imports=[MAIN])).make(w, trap)


def cifar(file):
    def make(w, trap):
        w.put(f'cifar-10-batches-py/{file}', pickle.dumps(trap))
        return ['refaug-det', 'data', 'check', 'cifar10', '--root', w.home]
    return Hostile(make, file, live=lambda w, trap: pickle.loads(
        (w.home / 'cifar-10-batches-py' / file).read_bytes()))


def prepare(w, archive):
    return ['refaug-det', 'data', 'prepare', 'image-folder', '--root', w.home / 'data', '--from',
            archive]


def named(name, *words):
    """A backbone's name that leads out of the zoo."""
    def make(w, trap):
        w.backbone()
        shutil.copytree(Path(os.environ['REFAUG_DET_ZOO']) / 'mine', w.home / 'x')
        return [*(words or ('refaug-det', 'backbone', 'show')), name]
    return Hostile(make, 'backbone name')


def card(w, trap):
    path = w.backbone() / 'card.json'
    w.edit(path, lambda value: {**value, 'name': str(trap.outside)})
    (path.parent / 'weights.safetensors').write_bytes(b'')
    return w.det(backbone='mine')


def linked_backbone(w, trap):
    folder = w.backbone()
    shutil.copytree(folder, trap.outside / 'mine')
    shutil.rmtree(folder)
    folder.symlink_to(trap.outside / 'mine')
    return ['refaug-det', 'backbone', 'add', 'mine', '--from', w.weights(
        change=lambda s: {k: v + 1 for k, v in s.items()}), '--overwrite', '--mean', '1', '1', '1',
        '--std', '1', '1', '1', '--channel-order', 'RGB']


def linked_data(w, trap):
    (w.home / 'data').symlink_to(trap.outside / 'gone')
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as packed:
        packed.addfile(tarfile.TarInfo('train/a/0.jpg'), io.BytesIO())
    return prepare(w, w.put('a.tar', data.getvalue()))


def linked_aside(w, trap):
    (w.home / '.data.refaug-det.partial').symlink_to(trap.outside)
    return [linked_data(w, trap), (w.home / 'data').unlink()][0]


def linked_run(w, trap):
    """The files of the run to start anew are links to outside."""
    (w.home / 'work').mkdir()
    for name in ('run.json', 'iter_1.pth', 'history.json', 'config.json'):
        (trap.outside / name).write_bytes((w.made.run / 'run.json').read_bytes())
        (w.home / 'work' / name).symlink_to(trap.outside / name)
    return w.cls('--overwrite', options=('train_cfg.max_epochs=0',))


def shown(w, trap):
    folder = w.detected()
    bad_files = neighbour('bad_files')
    bad_files.arrays(image_ids=[f'../../../{trap.outside.name}/secret', 'b'])(
        folder / 'detections.npz')
    return ['refaug-det', 'show', folder, '--data-root', w.home]


CASES = {
    'code in a .pth': torch_file('a.pth', lambda trap, s: {'state_dict': s, 'x': trap}),
    'code in meta.config': torch_file('a.pth', lambda trap, s: {
        'state_dict': s, 'meta': {'config': trap}}),
    'code in hook_msgs': torch_file('a.pth', lambda trap, s: {
        'state_dict': s, 'meta': {'hook_msgs': {'last_ckpt': trap}}}),
    'code in message_hub': torch_file('a.pth', lambda trap, s: {
        'state_dict': s, 'message_hub': {'runtime_info': {'loss': trap}}}),
    'code in an optimizer': torch_file('a.pth', lambda trap, s: {
        'state_dict': s, 'optimizer': {'state': {0: [trap]}}}),
    'code in a .pth to refine': torch_file('a.pth', lambda trap, s: {'a': s, 'x': trap}, refine),
    'code in a .bin': torch_file('a.bin', lambda trap, s: {'state_dict': s, 'x': trap}),
    'pickle as .pth': pickled('a.pth'), 'pickle as .pkl': pickled('a.pkl'),
    'pickle as .safetensors': pickled('a.safetensors'), 'pickle as .npz': pickled('a.npz'),
    'pickle to refine': pickled('a.pth', refine),
    'code in the last checkpoint': of_run('iter_9.pth', 'analyze', 'risk', says='run'),
    'code in a checkpoint to register': of_run('iter_9.pth', 'backbone', 'add', 'x', '--from',
                                               says='run'),
    'code in objects of detections.npz': Hostile(arrays, 'detections.npz', live=load_objects),
    'a function as model': config_of_run(model=dict(type='os.system', command='COMMAND')),
    'a function as network': config_of_run(model=dict(
        type='RefAugClassifier', num_classes=2, network=dict(type='os.system', command='COMMAND'))),
    'a function as data set': config_of_run(val_dataloader=dict(
        dataset=dict(type='os.system', command='COMMAND'), batch_size=1)),
    'a module as model': config_of_run(model=dict(type='evil')),
    'custom_imports of a run': config_of_run(custom_imports=dict(imports=['evil'])),
    'custom_imports by a name in a package': config_of_run(
        custom_imports=dict(imports='evil', allow_failed_imports=True)),
    'custom_imports of a main': Hostile(
        main_of_a_module, 'public', live=lambda w, trap: importlib.import_module(MAIN)),
    'imports that are 7': config_of_run(custom_imports=dict(imports=7))._replace(live=None),
    'a function behind a key of the same spelling': config_of_run(
        model=OS, **{'model.type': 'RefAugClassifier'}),
    'a function in the pipeline of refinement': config_of_run('--clean=standard', custom_hooks=[{
        'type': 'RefAugRefinementHook', 'epochs': 1, 'pipeline': [OS]}]),
    'a scope that is a module': config_of_run(model=dict(NET, network=dict(NET, _scope_='evil'))),
    'annotations that are a pickle': config_of_run(val_dataloader=dict(dataset={'x': 'a.pkl'})),
    'code in a CIFAR batch': cifar('data_batch_1'), 'code in CIFAR\'s meta': cifar('batches.meta'),
    'a command in YAML': Hostile(lambda w, trap: w.cls(config=w.put(
        'a.yaml', f'a: !!python/object/apply:os.system ["touch {trap.mark}"]\n')), 'a.yaml'),
    'a name that leads out': named('../x'), 'an absolute name': named('/x'),
    'a name behind refaug://': named('refaug://../x'), 'a name with backslashes': named('..\\x'),
    'a name for a run that leads out': Hostile(
        lambda w, trap: w.cls('--name', f'../{trap.outside.name}/x'), 'backbone name'),
    'a card that points outside': Hostile(card, 'weights.safetensors'),
    'a backbone that is a link': Hostile(linked_backbone, 'mine'),
    'data that are a link': Hostile(linked_data, 'data'),
    'a temporary folder that is a link': Hostile(linked_aside,
                                                  '.data.refaug-det.partial'),
    'a run of links': Hostile(linked_run, 'max_epochs'),
    'an image id that leads out': Hostile(shown, 'leads out'),
}
