"""Everything in a folder of `fixtures`, as its public readers give it: plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ANALYSES = ('risk', 'curves', 'spectrum', 'switch', 'surface')


def read_all(folder: Path) -> dict[str, Any]:
    """What is in the folder of a version."""
    from classification.analysis import hook
    from detection import detections
    from refaug_det.comparison.compare import compare
    from refaug_det.runs import checkpoints, history, records, results

    found: dict[str, Any] = {}
    for path in sorted(folder.rglob(records.FILE_NAME)):
        run, name = path.parent, str(path.parent.relative_to(folder))
        record = vars(records.read(run))
        found[name] = dict(record={key: record[key] for key in (
            'name', 'stage', 'status', 'id', 'config', 'seed', 'metrics', 'protocol_fingerprint',
            'backbone', 'registered', 'data', 'notes', 'error')}, history=history.read(run))
        if (run / detections.FILE_NAME).is_file():
            found[name]['detections'] = detections_in(run)
    found['of COCO'] = detections_in(folder / 'coco')
    found['risks by epoch'] = hook.read(folder / 'cls')
    for name in ANALYSES:
        found[name] = results.read(folder / 'cls' / f'{name}.json')
    _, state = checkpoints.newest_valid(folder / 'cut')
    found['checkpoint'] = dict(
        epoch=state['epoch'], iteration=state['iteration'], seed=state['seed'],
        weights=shapes_of(state['state_dict']), sum=total(state['state_dict']))
    found['zoo'] = zoo_in(folder / 'zoo')
    found['comparison'] = {row.backbone: [row.n, row.mean] for row in compare(
        [folder / 'det']).rows}
    return found


def detections_in(run: Path) -> dict[str, Any]:
    from detection import detections

    kept = detections.load(run)
    return dict(
        classes=kept.classes.tolist(), image_ids=kept.image_ids.tolist(),
        boxes=kept.boxes.round(2).tolist(), labels=kept.labels.tolist(),
        images=kept.images.tolist(), objects=len(kept.gt_boxes),
        areas=None if kept.gt_areas is None else kept.gt_areas.tolist())


def zoo_in(folder: Path) -> dict[str, Any]:
    import dataclasses
    import json

    from refaug_det.backbones import zoo

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('REFAUG_DET_ZOO', str(folder))
        return {name: dict(card=json.loads(json.dumps(dataclasses.asdict(zoo.verify(name)))),
                           weights=shapes_of(zoo.weights(name)), sum=total(zoo.weights(name)))
                for name in zoo.names()}


def shapes_of(weights: dict) -> int:
    """How many numbers there are."""
    return sum(value.numel() for value in weights.values())


def total(weights: dict) -> float:
    return round(sum(float(value.double().abs().sum()) for value in weights.values()), 6)
