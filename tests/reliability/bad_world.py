"""What malformed inputs are made of: small true data, runs, weights and words, each to be spoilt.

A case is a function that takes a `World`, spoils something, and returns the words of a command
line, of which the first is the program: `refaug-det`, or a file in tools/.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from detection import detections
from detection.toy import write_voc
from refaug_det.backbones import resnets, zoo
from refaug_det.comparison.compare import METRIC
from refaug_det.runs.records import RunRecord

ROOT = Path(__file__).parents[2]
CLS = ROOT / 'configs' / 'cls' / 'toy_mixup_refine.py'
DET = ROOT / 'configs' / 'det' / 'toy_faster_rcnn.py'
SMALL = ('model.network.width=8', 'train_dataloader.dataset.pipeline.0.size=32',
         'train_dataloader.batch_size=16', 'auto_scale_lr.base_batch_size=16',
         'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
         'train_dataloader.persistent_workers=False', 'val_dataloader.persistent_workers=False',
         'param_scheduler.0.milestones=1,', 'param_scheduler.0.end=1', 'custom_hooks.0.epochs=1',
         'train_cfg.max_epochs=2')


class Case(NamedTuple):
    """`spoil(world)` returns the words; `says` is the file or option that must be named."""

    spoil: Callable[[World], list]
    says: str


def main_of(program: str) -> Callable[[list[str]], int]:
    """The `main` behind a first word."""
    if program == 'refaug-det':
        from refaug_det.cli import main
        return main
    path = ROOT / 'tools' / f'{program}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{program}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


class Made:
    """What all cases share and none may change; made once, when first asked for."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @cached_property
    def images(self) -> Path:
        """Class folders: 2 classes, 2 + 1 images each."""
        from PIL import Image
        for n, name in enumerate(('train/cat/0', 'train/cat/1', 'train/dog/0', 'train/dog/1',
                                  'val/cat/0', 'val/dog/0')):
            path = self.home / 'images' / f'{name}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (32, 32), (40 * n, 90, 20)).save(path)
        return self.home / 'images'

    @cached_property
    def voc(self) -> Path:
        """The folder above `VOC2007`: 4 + 2 scenes."""
        write_voc(self.home / 'voc', trainval=4, test=2, size=(96, 80), seed=4)
        return self.home / 'voc'

    @cached_property
    def run(self) -> Path:
        """A finished run of stage 1: one epoch with Mixup, one of refinement."""
        words = [CLS, '--data-root', self.images, '--work-dir', self.home / 'run', '--cfg-options',
                 *SMALL]
        assert main_of('train_cls')([str(word) for word in words]) == 0
        return self.home / 'run'


class World:
    """One case's own folder `home`, and copies of what it may spoil."""

    def __init__(self, home: Path, made: Made) -> None:
        self.home, self.made = home, made

    def put(self, name: str, content: str | bytes = b'') -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def copy(self, what: str) -> Path:
        """A copy of `images`, `voc` or `run` that may be changed."""
        target = self.home / what
        return target if target.exists() else Path(
            shutil.copytree(getattr(self.made, what), target))

    def edit(self, path: Path, change: Callable[[Any], Any]) -> Path:
        """Change the value of a JSON file in place."""
        value = json.loads(path.read_text())
        path.write_text(json.dumps(change(value) or value))
        return path

    def detected(self, name: str = 'a', seed: int = 0, **fields: object) -> Path:
        """A finished run of stage 2, as far as tables and analyses read it."""
        folder = self.home / 'runs' / f'{name}-seed{seed}'
        kept = detections.of_images('ab', [dict(
            image_ids=f'{n}', image_sizes=(80, 80), boxes=np.array([[9., 9, 30, 30]]),
            scores=np.array([0.9]), labels=np.array([n]), gt_boxes=np.array([[9., 9, 30, 30]]),
            gt_labels=np.array([n]), gt_difficult=np.array([False])) for n in range(2)])
        detections.save(kept, folder / detections.FILE_NAME)
        RunRecord(**{**dict(
            name=name, stage='detection', status='done', seed=seed, selection='last epoch',
            metrics={METRIC: 100.0}, protocol={'epochs': 12},
            backbone={'name': name, 'sha256': name, 'run': None}), **fields}).write(folder)
        return folder

    def backbone(self, name: str = 'mine') -> Path:
        """A registered ResNet-18 of width 8; its folder in the zoo."""
        torch.manual_seed(0)
        zoo.register(name, resnets.reference('resnet18', 8).state_dict(),
                     resnets.spec_of('resnet18', 8), provenance={}, metrics={})
        return zoo.zoo_dir() / name

    def weights(self, name: str = 'r18.pth', change: Callable[[dict], Any] = dict) -> Path:
        """A .pth file of a ResNet-18 of width 8 with its classifier; `change` of its state."""
        torch.manual_seed(0)
        state = resnets.build(18, 8, 2).state_dict()
        torch.save(change(state) or state, self.home / name)
        return self.home / name

    def cls(self, *words: object, config: object = CLS, data: object = None,
            options: tuple = ()) -> list:
        """Words of a small run of stage 1 in the folder `work`."""
        return ['train_cls', config, '--data-root', data or self.made.images, '--work-dir',
                self.home / 'work', *words, '--cfg-options', *SMALL, *options]

    def det(self, *words: object, config: object = DET, data: object = None,
            backbone: str = 'random:resnet18', options: tuple = ()) -> list:
        """Words of a small run of stage 2 in the folder `work`."""
        return ['train_det', config, '--backbone', backbone, '--data-root', data or self.made.voc,
                '--work-dir', self.home / 'work', '--classes', 'auto', *words,
                *(['--cfg-options', *options] if options else [])]
