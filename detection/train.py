"""A stage 2 run from its command line to its metrics in `run.json`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

import refaug_det.backbones.loading  # noqa: F401  (registration)
from detection import mmcv_operators
from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, directory, history, launch, processes
from refaug_det.runs.progress import headline
from refaug_det.runs.records import RunRecord

OPERATORS = mmcv_operators.import_mmdet()  # before anything else imports mmdet

from detection.datasets import classes_in  # noqa: E402
from detection.metrics import RefAugVOCMetric  # noqa: E402
from detection.plug import find, plug_backbone  # noqa: E402


def set_classes(cfg: Config, classes: str | None) -> None:
    """Train and test on other classes than the config's.

    Args:
        cfg: changed in place.
        classes: `auto` for those in the data; names separated by commas, then
            objects of other classes are left out and counted; None as it is.
    """
    if classes is None:
        return
    names = (classes_in(cfg.train_dataloader.dataset.data_root) if classes == 'auto'
             else [name.strip() for name in classes.split(',')])
    if not all(names) or len(set(names)) != len(names):
        raise UserError('class names must be distinct and not empty', f'--classes {classes}',
                        'separate them by commas')
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[part].dataset.metainfo = dict(classes=names)
        cfg[part].dataset.drop_unknown = classes != 'auto'
    cfg.model.roi_head.bbox_head.num_classes = len(names)


def _splits(runner: Any) -> dict[str, Any]:
    """What the training and the test split hold; dropped objects are said aloud."""
    found = dict(train=runner.train_loop.dataset.summary(),
                 test=runner.val_loop.dataloader.dataset.summary())
    if processes.is_first():
        for split, summary in found.items():
            dropped = ', '.join(f'{n} x {why}' for why, n in summary['dropped'].items())
            print(f'  {split}: {summary["images"]} images, {summary["objects"]} objects'
                  + (f'; dropped {dropped}' if dropped else '')
                  + (f'; truncated {summary["truncated"][:3]}' if summary['truncated'] else ''))
    return found


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


def run(args: argparse.Namespace) -> RunRecord:
    """Fine-tune a detector from a backbone as the command line says."""
    source = find(args.backbone)
    cfg = launch.load(args)
    set_classes(cfg, args.classes)
    # what is tested is what counts, also while training
    cfg.val_dataloader, cfg.val_evaluator = cfg.test_dataloader, cfg.test_evaluator
    cfg = plug_backbone(cfg, source)
    name = f'{Path(args.config).stem}-{source.name.replace("://", "-").replace(" ", "-")}'
    record = launch.prepare(cfg, args, 'detection', name)
    work_dir = Path(cfg.work_dir)
    with directory.recorded(work_dir, record):
        record.selection, record.operators = 'last epoch', OPERATORS
        record.backbone = dict(name=source.name, sha256=source.sha256, run=source.run)
        runner = launch.build(cfg, record)
        record.data = _splits(runner)
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
