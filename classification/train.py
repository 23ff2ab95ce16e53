"""A stage 1 run from its command line to its backbones in the zoo."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, ConfigDict

import classification.autoaugment
import classification.batch_augments
import classification.classifier
import classification.cutout
import classification.datasets
import classification.manifold_mixup
import classification.metrics
import classification.models.preact_resnet
import classification.models.resnet
import classification.models.shake_shake
import classification.models.timm_model
import classification.models.wide_resnet
import classification.refinement
import classification.transforms  # noqa: F401  (all: registration)
from classification.datasets import class_names, split_folder
from classification.export import register_backbones
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, directory, history, launch, processes
from refaug_det.runs.records import RunRecord


def resolve_classes(cfg: Config, classes: str | None) -> list[str]:
    """Settle classes and `num_classes` from the data, and put them into the config.

    Args:
        cfg: changed in place.
        classes: `auto` or None for the class folders of the training split,
            or names separated by commas.

    Raises:
        UserError: the data is not there, a split lacks a class, or the config
            asks for another number.
    """
    train = list(image_folders(cfg.train_dataloader.dataset))
    if not train:
        raise UserError('no image folder to take the classes from', 'train_dataloader.dataset',
                        'use RefAugImageFolder, or a data set with data_root and split')
    folders = [split_folder(dataset.data_root, dataset.split) for dataset in train]
    if classes in (None, 'auto'):
        names = sorted({name for folder in folders for name in class_names(folder)})
    else:
        names = [name.strip() for name in classes.split(',')]
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in image_folders(cfg[part].dataset) if cfg.get(part) else ():
            class_names(split_folder(dataset.data_root, dataset.split), names)  # all there?
            dataset.classes = names
    wanted = cfg.model.get('num_classes')
    if wanted is not None and wanted != len(names):
        raise UserError(f'{len(names)} classes in the data, {wanted} in the config', folders[0],
                        'pass --cfg-options model.num_classes=None to take those of the data')
    cfg.model.num_classes = len(names)
    return names


def image_folders(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """The configs of image folders inside those of wrappers (RepeatDataset, ConcatDataset)."""
    inner = dataset.get('datasets') or ([dataset.dataset] if 'dataset' in dataset else [])
    if not inner and 'data_root' in dataset and 'split' in dataset:
        yield dataset
    for one in inner:
        yield from image_folders(one)


def run(args: argparse.Namespace) -> RunRecord:
    """Train a classifier as the command line says, and register its backbones."""
    cfg = launch.load(args)
    resolve_classes(cfg, args.classes)
    name = args.name or Path(args.config).stem
    record = launch.prepare(cfg, args, 'classification', name)
    work_dir = Path(cfg.work_dir)
    with directory.recorded(work_dir, record):
        record.selection = 'last epoch'
        runner = launch.build(cfg, record)
        runner.train()
        if processes.is_first():
            record.metrics = history.test_metrics(history.read(work_dir)[-1])
            cards = register_backbones(checkpoints.unwrapped(runner.model), work_dir, record,
                                       name, overwrite=args.overwrite)
            record.registered = [card.name for card in cards]
            for card in cards:
                shown = ', '.join(f'{k} {v:.4g}' for k, v in card.metrics.items())
                print(f'registered backbone {card.name} ({shown})')
    return record
