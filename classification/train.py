"""A stage 1 run from its command line to its backbones in the zoo."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

import classification.batch_augments
import classification.classifier
import classification.datasets
import classification.metrics
import classification.models.resnet
import classification.refinement
import classification.transforms  # noqa: F401  (all: registration)
from classification.datasets import split_folder
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
        UserError: the data is not there, or the config asks for another number.
    """
    dataset = cfg.train_dataloader.dataset
    folder = split_folder(dataset.data_root, dataset.split)
    names = classes.split(',') if classes not in (None, 'auto') else sorted(
        p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))
    if not names:
        raise UserError('no class folders', folder, 'one folder of images per class')
    wanted = cfg.model.get('num_classes')
    if wanted is not None and wanted != len(names):
        raise UserError(f'{len(names)} classes in the data, {wanted} in the config', folder,
                        'pass --cfg-options model.num_classes=None to take those of the data')
    cfg.model.num_classes = len(names)
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(part):
            cfg[part].dataset.classes = names
    return names


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
