"""All kinds of writes: what is there before, the write, and what must hold whenever it breaks off.

A case has `start(at)`, `act(at)` and `usable(at)`; `act` can be done again after any `act` that
broke off, and `usable` raises where neither the old nor the new state is there, whole.
"""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from classification import imagenet, refinement
from classification.toy import write_image_folder
from detection import detections
from detection.toy import write_voc
from refaug_det.backbones import resnets, zoo
from refaug_det.data.commands import prepare
from refaug_det.runs import checkpoints, directory, history, records, results
from refaug_det.runs.records import RunRecord

PICTURE = np.zeros((32, 32, 3), np.uint8)


class Interval:
    """The end of an epoch: history, checkpoint and record; resumed from the one before."""

    def start(self, at: Path) -> None:
        directory.claim(at, {}, self.record())
        for iteration in (4, 8):
            self.save(at, iteration)

    def record(self) -> RunRecord:
        return RunRecord('a', 'classification', id='1')

    def save(self, at: Path, iteration: int, keep: int = 2) -> None:
        torch.nn.init.constant_((net := torch.nn.Linear(40, 40)).weight, iteration)
        runner = SimpleNamespace(
            model=net, optim_wrapper=torch.optim.SGD(net.parameters(), 0.1), param_schedulers=[],
            hooks=[], seed=0, work_dir=at, train_dataloader=SimpleNamespace(dataset=range(12)))
        kept = history.RefAugHistoryHook()
        kept.rows = [dict(epoch=n, iteration=4 * n) for n in range(1, iteration // 4 + 1)]
        kept._write(runner)
        checkpoints.save(runner, iteration // 4, iteration, keep)
        self.record().write(at)

    def act(self, at: Path) -> None:
        directory.claim(at, {}, self.record(), resume=True)
        self.save(at, 12)

    def usable(self, at: Path) -> None:
        _, state = checkpoints.newest_valid(at)
        assert state['iteration'] in (8, 12)  # one interval is lost at most
        assert (state['state_dict']['weight'] == state['iteration']).all()
        rows = history.read(at)
        assert rows[:state['epoch']] == [
            dict(epoch=n, iteration=4 * n) for n in range(1, state['epoch'] + 1)]
        assert records.read(at).id == '1'
        assert json.loads((at / directory.RESOLVED).read_text()) == {}


class Anew(Interval):
    """--overwrite: while anything of the old run is left, the directory counts as used."""

    def start(self, at: Path) -> None:
        super().start(at)
        for name in ('weights_augmented.safetensors', 'detections.npz', 'risk.json'):
            (at / name).touch()

    def act(self, at: Path) -> None:
        directory.claim(at, {'lr': 1}, self.record(), overwrite=True)

    def usable(self, at: Path) -> None:
        left = {path.name for path in at.iterdir() if path.name[0] != '.'} - {directory.RESOLVED}
        assert not left or records.read(at).id == '1'
        resolved = at / directory.RESOLVED
        assert not resolved.exists() or json.loads(resolved.read_text()) in ({}, {'lr': 1})


class Record:
    """run.json alone."""

    def start(self, at: Path) -> None:
        RunRecord('old', 'detection', notes=['x' * 3000]).write(at)

    def act(self, at: Path) -> None:
        RunRecord('new', 'detection', notes=['y' * 2000]).write(at)

    def usable(self, at: Path) -> None:
        found = records.read(at)
        assert found.notes == dict(old=['x' * 3000], new=['y' * 2000])[found.name]


class Analysis:
    """The results of analyses: an entry is added, the others stay."""

    def start(self, at: Path) -> None:
        results.keep(at / 'risk.json', 'run', 'augmented', dict(test=1.0))

    def act(self, at: Path) -> None:
        results.keep(at / 'risk.json', 'run', 'last', dict(test=2.0))

    def usable(self, at: Path) -> None:
        found = {entry['weights']: entry['test'] for entry in results.read(at / 'risk.json')}
        assert found in ({'augmented': 1.0}, {'augmented': 1.0, 'last': 2.0})


class Kept:
    """What a run leaves beside: weights before the switch, and detections."""

    def start(self, at: Path) -> None:
        self.write(at, 1)

    def act(self, at: Path) -> None:
        self.write(at, 2)

    def write(self, at: Path, value: int) -> None:
        torch.nn.init.constant_((net := torch.nn.Linear(9, 9)).weight, value)
        refinement._save_weights(at / refinement.AUGMENTED_WEIGHTS, net)
        rows = [dict(image_ids=f'{n}', image_sizes=(9, 9), boxes=[[0, 0, value, 9]], scores=[0.5],
                     labels=[0], gt_boxes=[[0, 0, 9, 9]], gt_labels=[0], gt_difficult=[False])
                for n in range(value)]
        detections.save(detections.of_images(['a'], rows), at / detections.FILE_NAME)

    def usable(self, at: Path) -> None:
        value = load_file(at / refinement.AUGMENTED_WEIGHTS)['weight'].unique()
        assert value.tolist() in ([1.0], [2.0])
        assert detections.load(at).boxes[:, 2].tolist() in ([1.0], [2.0, 2.0])


class Zoo:
    """A backbone is added, or replaces one; its card is that of its weights, another's stays."""

    def __init__(self, there: bool) -> None:
        self.there, self.spec = there, resnets.spec_of('resnet18', 8)

    def register(self, at: Path, name: str, value: float) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('REFAUG_DET_ZOO', str(at / 'zoo'))
            zoo.register(name, {'conv1.weight': torch.full((20, 30), value)}, self.spec,
                         provenance={}, metrics={'top-1': value}, overwrite=True)

    def start(self, at: Path) -> None:
        self.register(at, 'other', 1.0)
        if self.there:
            self.register(at, 'a', 1.0)

    def act(self, at: Path) -> None:
        self.register(at, 'a', 2.0)

    def usable(self, at: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('REFAUG_DET_ZOO', str(at / 'zoo'))
            names = zoo.names()
            assert names == ['a', 'other'] or (names == ['other'] and not self.there)
            for name in names:
                value = zoo.card(name).metrics['top-1']
                assert (zoo.weights(name)['conv1.weight'] == value).all()
                assert value == 1.0 or name == 'a'


class Toy:
    """A toy data set is drawn: absent or whole."""

    def start(self, at: Path) -> None:
        at.mkdir(parents=True)

    def act(self, at: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:  # what is drawn is nothing to a write
            patch.setattr('classification.toy.draw_object_image', lambda *_: PICTURE)
            write_image_folder(at / 'images', 1, 1, size=32)

    def usable(self, at: Path) -> None:
        assert not (at / 'images').exists() or _images(at / 'images') == 16


class ToyVOC(Toy):
    def act(self, at: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('detection.toy.draw_scene', lambda *_: (PICTURE, []))
            write_voc(at / 'voc', 2, 1, size=(64, 64))

    def usable(self, at: Path) -> None:
        found = [path for path in (at / 'voc').rglob('*') if path.is_file()]
        assert not (at / 'voc').exists() or len(found) == 2 * 3 + 4 * 9 + 1


class Archive(Toy):
    """An archive is extracted by `refaug-det data prepare`: absent or whole."""

    def start(self, at: Path) -> None:
        at.mkdir(parents=True)
        image = io.BytesIO()
        Image.new('RGB', (8, 8)).save(image, 'PNG')
        with zipfile.ZipFile(at / 'mine.zip', 'w') as packed:
            for name in ('train/a/1.png', 'train/b/1.png', 'val/a/1.png', 'val/b/1.png'):
                packed.writestr(f'wrapped/{name}', image.getvalue())

    def act(self, at: Path) -> None:
        prepare('image-folder', root=at / 'mine', archives=[at / 'mine.zip'])

    def usable(self, at: Path) -> None:
        assert not (at / 'mine').exists() or _images(at / 'mine') == 4


class ImageNet(Toy):
    """The tar of a tar a class: a class is there whole or not at all, the rest goes on."""

    def start(self, at: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            _miniatures().imagenet_archives(at / 'archives', patch)

    def act(self, at: Path) -> None:
        (archive,) = (at / 'archives').glob('*train.tar')
        imagenet.extract_train(archive, at / 'train')

    def usable(self, at: Path) -> None:
        for folder in (at / 'train').glob('n*'):
            assert _images(folder) == 2


CASES = {'end of an epoch': Interval(), 'overwrite': Anew(), 'run.json': Record(),
         'analysis': Analysis(), 'weights and detections': Kept(), 'zoo, new': Zoo(False),
         'zoo, replaced': Zoo(True), 'toy images': Toy(), 'toy VOC': ToyVOC(),
         'archive': Archive(), 'ImageNet': ImageNet()}


def _images(folder: Path) -> int:
    """How many there are in a folder; each is read."""
    found = [path for path in folder.rglob('*') if path.suffix in ('.jpg', '.png', '.JPEG')]
    for path in found:
        Image.open(path).load()
    return len(found)


def _miniatures():
    path = Path(__file__).parents[1] / 'classification' / 'miniatures.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
