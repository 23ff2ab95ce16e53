"""A stage 1 run from its command line to its backbones in the zoo."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS

import classification.analysis.hook
import classification.autoaugment
import classification.batch_augments
import classification.cifar
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
import classification.tiny_imagenet
import classification.transforms  # noqa: F401  (all: registration)
from classification.export import refuse_taken_names, register_backbones
from refaug_det.backbones import zoo
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, directory, history, launch, processes
from refaug_det.runs.records import RunRecord


def resolve_classes(cfg: Config, classes: str | None) -> list[str]:
    """Settle classes and `num_classes` from the data, and put them into the config.

    Args:
        cfg: changed in place.
        classes: `auto` for the classes of the training data, names separated by
            commas, or None for those the config names, if it does, else `auto`.

    Raises:
        UserError: the data is not there, a split lacks a class, or the config
            asks for another number.
    """
    train = list(leaf_configs(cfg.train_dataloader.dataset))
    if classes in (None, 'auto'):
        found = [names_of({**dataset, 'classes': None} if classes else dataset)
                 for dataset in train]
        names = list(found[0]) if len(set(found)) == 1 else sorted(set().union(*found))
    else:
        names = [name.strip() for name in classes.split(',')]
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in leaf_configs(cfg[part].dataset) if cfg.get(part) else ():
            dataset.classes = names
            names_of(dataset)  # all there?
    wanted = cfg.model.get('num_classes')
    if wanted is not None and wanted != len(names):
        raise UserError(f'{len(names)} classes in the data, {wanted} in the config',
                        train[0].get('data_root', 'train_dataloader.dataset'),
                        'pass --cfg-options model.num_classes=None to take those of the data')
    cfg.model.num_classes = len(names)
    return names


def names_of(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names of the data set that a config asks for, in label order.

    Raises:
        UserError: the data is not there or lacks a class, or this kind of data
            set cannot say its classes.
    """
    try:
        kind = DATASETS.get(dataset.get('type'))
    except (RuntimeError, TypeError):  # a module that is not there; no string
        kind = None
    if not hasattr(kind, 'names_in'):
        raise UserError(f'{dataset.get("type")} does not say its classes', 'dataset.type',
                        'use a data set of classification/, or give yours the class method '
                        'names_in of classification.datasets.LabelledImages')
    try:
        return kind.names_in(dataset)
    except KeyError as error:
        raise UserError(f'the data set has no {error}', f'dataset of {dataset["type"]}',
                        'add it to the config') from None


def leaf_configs(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """The configs of data sets inside those of wrappers (RepeatDataset, ConcatDataset)."""
    inner = dataset.get('datasets') or ([dataset.dataset] if 'dataset' in dataset else [])
    if not inner:
        yield dataset
    for one in inner:
        yield from leaf_configs(one)


def run(args: argparse.Namespace) -> RunRecord:
    """Train a classifier as the command line says, and register its backbones."""
    cfg = launch.load(args)
    resolve_classes(cfg, args.classes)
    name = Path(args.config).stem if args.name is None else args.name
    return carry_out(cfg, args, name)


def carry_out(cfg: Config, args: argparse.Namespace, name: str,
              start: Callable[[Any], str] | None = None) -> RunRecord:
    """Run a config whose classes are settled, recorded from beginning to end.

    Args:
        cfg: from `launch.load` and `resolve_classes`.
        args: the command line.
        name: of the run, and of the backbones it registers.
        start: puts weights into the network before training, and reports on it.
    """
    zoo.plain_name(name)
    record = launch.prepare(cfg, args, 'classification', name)
    work_dir = Path(cfg.work_dir)
    with directory.recorded(work_dir, record):
        record.selection = 'last epoch'
        if not args.overwrite:
            refuse_taken_names(cfg, record, name)
        runner = launch.build(cfg, record)
        if start is not None:
            def put_in() -> None:
                report = start(checkpoints.unwrapped(runner.model).network)
                record.notes.append(f'starts from {cfg.refined_from.file}: {report}')
            runner.start = put_in
        record.data = {part: dict(images=len(loop.dataloader.dataset)) for part, loop in (
            ('train', runner.train_loop), ('val', runner.val_loop)) if loop is not None}
        runner.train()
        if processes.is_first():
            record.metrics = history.test_metrics(history.read(work_dir)[-1])
            cards = register_backbones(checkpoints.unwrapped(runner.model), work_dir, record,
                                       name, cfg.get('refined_from'), overwrite=args.overwrite)
            record.registered = [card.name for card in cards]
            for card in cards:
                shown = ', '.join(f'{k} {v:.4g}' for k, v in card.metrics.items())
                print(f'registered backbone {card.name} ({shown})')
    return record
