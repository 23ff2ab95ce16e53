"""Tiny image folders, stage 1's command line, and a recorder of all that reaches a network."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from PIL import Image
from torch import nn

import classification.train  # noqa: F401  (registration)
from classification.toy import write_image_folder
from refaug_det.runs import checkpoints
from refaug_det.runs.runner import RefAugRunner

ROOT = Path(__file__).parents[2]
DARK = 60  # pixels of the files lie below; inverted and dimmed to no less than half, above
CLASSES = ('a', 'b', 'c')

# what makes a run of configs/cls/toy_*.py tiny
TINY = ['model.network.width=8', 'train_dataloader.dataset.pipeline.0.size=32',
        'train_dataloader.batch_size=16', 'auto_scale_lr.base_batch_size=16',
        'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']


@MODELS.register_module(force=True)
class NetworkOfTests(nn.Module):
    """A convolution with batch norm, and a linear layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.conv(images)).relu().mean((2, 3)))

    def backbone_state(self, weights=None) -> dict[str, torch.Tensor]:
        return {k: v for k, v in (weights or self.state_dict()).items() if not k.startswith('fc.')}


@pytest.fixture(autouse=True)
def zoo_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    return tmp_path / 'zoo'


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Power is not cut here, and a busy disk can take seconds for it."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


@pytest.fixture(scope='session')
def toy_images(tmp_path_factory):
    """data_root of 8 classes, 4 + 2 JPEGs each, 32 pixels."""
    root = tmp_path_factory.mktemp('toy') / 'images'
    write_image_folder(root, 4, 2, size=32)
    return root


@pytest.fixture(scope='session')
def train_cls():
    """`main(argv)` of tools/train_cls.py."""
    spec = importlib.util.spec_from_file_location('train_cls', ROOT / 'tools' / 'train_cls.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope='session')
def arguments(toy_images):
    """Words of a tiny `tools/train_cls.py` command line; takes more words."""
    def make(work_dir, *more, config=ROOT / 'configs' / 'cls' / 'toy_mixup_refine.py',
             data=toy_images, epochs=3, refine=1, options=()):
        schedule = [f'train_cfg.max_epochs={epochs}', 'param_scheduler.0.milestones=1,']
        if refine is not None:
            schedule += [f'custom_hooks.0.epochs={refine}',
                         f'param_scheduler.0.end={max(epochs - 1, 1)}']
        return [str(config), '--data-root', str(data), '--work-dir', str(work_dir), *more,
                '--cfg-options', *TINY, *schedule, *options]
    return make


@pytest.fixture
def words(arguments, tmp_path):
    """The same, with the run directory `run`."""
    return lambda *more, **options: arguments(tmp_path / 'run', *more, **options)


@pytest.fixture(scope='session')
def dark_images(tmp_path_factory):
    """data_root of two splits of 12 dark noise images, PNG: their pixels identify them."""
    root = tmp_path_factory.mktemp('dark')
    rng = np.random.default_rng(0)
    for split in ('train', 'more'):
        for number in range(12):
            pixels = rng.integers(0, DARK, (8, 8, 3), dtype=np.uint8)
            path = root / split / CLASSES[number % 3] / f'{number:02d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


@dataclass
class Seen:
    """One iteration, as the network saw it."""

    epoch: int
    iteration: int
    rate: float
    inputs: torch.Tensor  # (B, 3, H, W), pixel values after all augmentation
    targets: torch.Tensor  # (B, K)
    flags: torch.Tensor  # (B,) bool, what the workers said
    raw: torch.Tensor  # (B, 3, H, W) uint8, as the workers delivered it


@dataclass
class Recorder(Hook):
    """Keeps what reaches the network in training, image by image."""

    seen: list[Seen] = field(default_factory=list)

    def before_train(self, runner: Any) -> None:
        model = checkpoints.unwrapped(runner.model)
        loss, self.parts = model.loss, []

        def watched(inputs, label, augmented):
            self.parts.append([augmented])
            return loss(inputs, label, augmented)

        model.loss = watched
        model.network.register_forward_pre_hook(
            lambda module, inputs: self.parts[-1].append(inputs[0].cpu().clone()))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.parts.clear()
        self.rate = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        flags, inputs, targets = zip(*self.parts, strict=True)
        said = torch.cat([flag for flag in flags if flag is not None] or [torch.tensor([])])
        self.seen.append(Seen(runner.epoch, runner.iter, self.rate, torch.cat(inputs),
                              torch.cat(targets), said, data_batch['inputs'].clone()))

    def of(self, *epochs: int) -> list[Seen]:
        return [seen for seen in self.seen if seen.epoch in epochs]


@pytest.fixture
def observe(dark_images, tmp_path, monkeypatch):
    """Trains a tiny classifier with the real loop and Runner; returns (runner, recorder)."""
    recorders: list[Recorder] = []
    real = F.cross_entropy

    def cross_entropy(logits, targets, **kwargs):
        recorders[-1].parts[-1].append(targets.cpu().clone())
        return real(logits, targets, **kwargs)

    monkeypatch.setattr(F, 'cross_entropy', cross_entropy)

    def run(work_dir='run', *, epochs=4, refine: int | None = 2, lr=None, workers=0,
            persistent=False, resume=False, dataset=None, batch_augments=True, micro_batch=None,
            step=1, interval_iters=None, hooks=1, scheduler=None, **refinement):
        cfg = Config(dict(
            work_dir=str(tmp_path / work_dir), resume=resume, randomness=dict(seed=5),
            default_scope='mmengine', custom_hooks=[],
            model=dict(
                type='RefAugClassifier', num_classes=3, network=dict(type='NetworkOfTests'),
                batch_augments=[dict(type='RefAugMixup', alpha=1.0)] if batch_augments else [],
                data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[0.0] * 3,
                                       std=[1.0] * 3)),
            train_dataloader=dict(
                batch_size=4, num_workers=workers, persistent_workers=persistent,
                collate_fn=dict(type='default_collate'), dataset=dataset or folder()),
            train_cfg=dict(type='RefAugTrainLoop', max_epochs=epochs, micro_batch=micro_batch),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=[scheduler or dict(type='MultiStepLR', milestones=[step], gamma=0.1)],
            default_hooks=dict(logger=None, checkpoint=dict(
                type='RefAugCheckpointHook', keep=99, interval_iters=interval_iters),
                               history=dict(type='RefAugHistoryHook'), sampler_seed=None)))
        if refine is not None:
            cfg.custom_hooks = [dict(type='RefAugRefinementHook', epochs=refine, lr=lr,
                                     **refinement)] * hooks
        runner = RefAugRunner.from_cfg(cfg)
        recorders.append(Recorder())
        runner.register_hook(recorders[-1], priority='LOWEST')
        runner.train()
        return runner, recorders[-1]

    def folder(split='train', **more):
        return dict(dict(
            type='RefAugImageFolder', data_root=str(dark_images), split=split, pipeline=[
                dict(type='RefAugTransform', name='RandomHorizontalFlip'),
                dict(type='RefAugAugmentation', name='RandomInvert', p=1.0),
                dict(type='RefAugAugmentation', name='ColorJitter', brightness=(0.5, 1.0))]),
            **more)

    run.folder = folder
    return run


@pytest.fixture(scope='session')
def miniatures():
    """The module `miniatures.py` beside this file."""
    path = Path(__file__).with_name('miniatures.py')
    spec = importlib.util.spec_from_file_location('miniatures', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
