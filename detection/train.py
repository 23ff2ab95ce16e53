"""A stage 2 run from its command line to its metrics in `run.json`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

import refaug_det.backbones.loading  # noqa: F401  (registration)
from detection import coco_annotations, mmcv_operators, shared_images
from refaug_det.comparison import protocol
from refaug_det.comparison.grid import Plan
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, directory, history, launch, processes
from refaug_det.runs import config as configs
from refaug_det.runs.progress import headline
from refaug_det.runs.records import RunRecord

OPERATORS = mmcv_operators.import_mmdet()  # before anything else imports mmdet

import detection.coco_dataset  # noqa: E402  (registration)
import detection.legacy_boxes  # noqa: E402  (registration)
import detection.res5_head  # noqa: E402  (registration)
import detection.timm_backbone  # noqa: E402, F401  (registration)
from detection.datasets import kind_of, refuse_faults  # noqa: E402
from detection.metrics import RefAugVOCMetric  # noqa: E402
from detection.plug import Source, find, plug_backbone  # noqa: E402


def set_classes(cfg: Config, classes: str | None) -> None:
    """Train and test on other classes than the config's.

    Args:
        cfg: changed in place.
        classes: `auto` for those in the data; names separated by commas, then
            objects of other classes are left out and counted; None as it is.
    """
    if classes is None:
        return
    names = (_classes_in(cfg) if classes == 'auto'
             else [name.strip() for name in classes.split(',')])
    if not all(names) or len(set(names)) != len(names):
        raise UserError('class names must be distinct and not empty', f'--classes {classes}',
                        'separate them by commas')
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[part].dataset.metainfo = dict(classes=names)
        cfg[part].dataset.drop_unknown = classes != 'auto'
    configs.set_everywhere(cfg.model, 'num_classes', len(names))  # in whichever head


def _classes_in(cfg: Config) -> list[str]:
    """Those that occur where the training and the test split lie, sorted."""
    names = set[str]()
    for part in ('train_dataloader', 'test_dataloader'):
        settings = cfg[part].dataset
        if (kind := kind_of(settings)) is None:
            raise UserError(f'{settings.type} does not tell its classes', '--classes auto',
                            'name them: --classes a,b,c')
        names.update(kind.class_names(settings))
    return sorted(names)


def _splits(runner: Any) -> dict[str, Any]:
    """What the training and the test split hold; dropped objects are said aloud."""
    sets = dict(train=runner.train_loop.dataset, test=runner.val_loop.dataloader.dataset)
    found = {split: dataset.summary() for split, dataset in sets.items()}
    both = shared_images.also_in(_files(sets['test']), _files(sets['train']))
    found['test']['also_in_train'] = len(both)
    if processes.is_first():
        for split, summary in found.items():
            said = [f'{what} {", ".join(f"{n} x {kind}" for kind, n in summary[what].items())}'
                    for what in ('dropped', 'noted') if summary[what]]
            print('; '.join([f'  {split}: {summary["images"]} images, {summary["objects"]} objects',
                             *said, *([f'truncated {summary["truncated"][:3]}']
                                      if summary['truncated'] else [])]))
        if both:
            print(f'  test images that are in train too: {len(both)}, such as {both[0]}')
    return found


def _files(dataset: Any) -> list[Path]:
    return [Path(dataset.get_data_info(n)['img_path']) for n in range(len(dataset))]


def _keep_detections(runner: Any, work_dir: Path) -> None:
    """Have every evaluation leave its detections in the run directory.

    On the metric, not in the config: where a run lies is no part of what it is.
    """
    for metric in runner.val_loop.evaluator.metrics:
        if isinstance(metric, RefAugVOCMetric):
            metric.save_to = work_dir


def _adopt_protocol(record: RunRecord, cfg: Config, world_size: int) -> None:
    counted = {split: {k: v for k, v in summary.items() if k in ('images', 'objects', 'sha256')}
               for split, summary in record.data.items()}
    record.protocol = protocol.protocol_of(cfg.to_dict(), world_size, counted)
    record.protocol_fingerprint = protocol.fingerprint(record.protocol)


def configure(args: argparse.Namespace) -> tuple[Config, Source, str]:
    """The config of a run, the backbone it starts from, and what the run is called."""
    source = find(args.backbone)
    cfg = launch.load(args)
    for part in ('train_dataloader', 'test_dataloader', 'test_evaluator'):
        if not cfg.get(part):
            raise UserError(f'the config has no {part}: it trains no detector', args.config,
                            'use one such as those in configs/det')
    set_classes(cfg, args.classes)
    # what is tested is what counts, also while training
    cfg.val_dataloader, cfg.val_evaluator = cfg.test_dataloader, cfg.test_evaluator
    name = f'{Path(args.config).stem}-{source.name.replace("://", "-").replace(" ", "-")}'
    return plug_backbone(cfg, source), source, name


def planned(args: argparse.Namespace) -> Plan:
    """What `run` would record of config and backbone, without running."""
    cfg, source, name = configure(args)
    return Plan(launch.resolve(cfg, args, name)[1], source.sha256)


def run(args: argparse.Namespace) -> RunRecord:
    """Fine-tune a detector from a backbone as the command line says."""
    cfg, source, name = configure(args)
    refuse_faults(cfg)
    record = launch.prepare(cfg, args, 'detection', name)
    work_dir = Path(cfg.work_dir)
    record.selection, record.operators = 'last epoch', OPERATORS
    record.backbone = dict(name=source.name, sha256=source.sha256, run=source.run)
    with directory.recorded(work_dir, record):
        runner = launch.build(cfg, record)
        record.data = _splits(runner)
        coco_annotations.forget()  # workers would inherit it
        _keep_detections(runner, work_dir)
        _adopt_protocol(record, cfg, processes.world_size(args.launcher))
        runner.train()
        record.notes += [f'{split}: {len(found["truncated"])} truncated images, such as '
                         f'{found["truncated"][0]}, decoded as far as they go'
                         for split, found in record.data.items() if found['truncated']]
        backbone = checkpoints.unwrapped(runner.model).backbone
        record.notes.append(getattr(backbone, 'refaug_load_report', 'backbone left random'))
        record.metrics = history.test_metrics(history.read(work_dir)[-1])
        if processes.is_first():
            print(f'{source.name}: {headline(record.metrics)}')
    return record
