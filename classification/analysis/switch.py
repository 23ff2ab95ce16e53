"""Test error against the epoch at which augmentation ends: Figure 4 of the paper.

A pure function of run.json and history.json files.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refaug_det.errors import UserError
from refaug_det.runs import config as configs
from refaug_det.runs import directory, files, history, records

REFINEMENT = 'refinement'
# what runs of one curve may differ in: the switch itself, the seed, and their place
_FREE = ('randomness.seed', 'experiment_name', 'work_dir')


@dataclass(frozen=True)
class Trial:
    """One run: after how many epochs its augmentation ended, of how many, and its test error.

    Attributes:
        switch: T1, epochs with augmentation.
        epochs: T1 + T2.
        error: 100 - top-1, in percent.
        seed: of the run.
    """

    switch: int
    epochs: int
    error: float
    seed: int | None


def trial(rows: list[dict[str, Any]], seed: int | None = None, median_of: int = 1) -> Trial | None:
    """What a run's history says; None where it measured no test error in its last phase.

    Args:
        rows: of history.json.
        seed: of the run.
        median_of: the error is the median over so many of the last epochs measured, none of
            them from before the switch.
    """
    if not rows:
        return None
    refined = [row for row in rows if row.get('phase') == REFINEMENT]
    last = [100 - row['top-1'] for row in refined or rows if row.get('top-1') is not None]
    epochs = rows[-1]['epoch']
    switch = refined[0]['epoch'] - 1 if refined else epochs
    return Trial(switch, epochs, statistics.median(last[-median_of:]), seed) if last else None


def curve(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """One point a switch epoch, by rising epoch: `switch`, `mean`, `low`, `high`, `n`, `seeds`."""
    by_switch: dict[int, list[Trial]] = {}
    for one in trials:
        by_switch.setdefault(one.switch, []).append(one)
    return [dict(switch=switch, mean=statistics.fmean(t.error for t in those),
                 low=min(t.error for t in those), high=max(t.error for t in those),
                 n=len(those), seeds=[t.seed for t in those])
            for switch, those in sorted(by_switch.items())]


def collect(paths: Iterable[Path | str], median_of: int = 1) -> dict[str, Any]:
    """The curve of all finished classification runs in or below some paths, JSON-able.

    Args:
        paths: run directories, or folders that hold them.
        median_of: see `trial`.

    Returns:
        `epochs` of every run, `points` (see `curve`), `set_aside`: how many runs are not in it,
        by reason, and `differences`: config keys other than the switch's in which runs differ.

    Raises:
        UserError: no runs, fewer than two switch epochs, or runs of different length.
    """
    if median_of < 1:
        raise UserError(f'a median of {median_of} epochs', '--median-of', 'at least 1')
    aside = dict.fromkeys(('other stage', 'unfinished', 'copies', 'no test error'), 0)
    trials, resolved, known = [], [], set()
    for file, record in records.find(list(paths)):
        reason = ('other stage' if record.stage != 'classification' else
                  'unfinished' if record.status != 'done' else
                  'copies' if record.id in known else None)
        one = None if reason else trial(history.read(file.parent), record.seed, median_of)
        if one is None:
            aside[reason or 'no test error'] += 1
            continue
        known.add(record.id)
        trials.append(one)
        stored = file.parent / directory.RESOLVED
        resolved.append(files.read_json(stored, 'the config', dict) if stored.is_file() else {})
    lengths = sorted({one.epochs for one in trials})
    if len(lengths) > 1:
        raise UserError(f'runs of {lengths} epochs: the curve has one length',
                        'analyze switch', 'name the runs of one length')
    points = curve(trials)
    if len(points) < 2:
        raise UserError(f'{len(points)} switch epochs among {len(trials)} finished runs',
                        'analyze switch', 'train with several RefAugRefinementHook.epochs')
    return dict(epochs=lengths[0], median_of=median_of, points=points,
                differences=_differences(resolved),
                set_aside={reason: count for reason, count in aside.items() if count})


def _differences(resolved: list[dict[str, Any]]) -> list[str]:
    """Keys in which configs differ, but for those that a switch curve varies."""
    hooks = [{key: value for key, value in hook.items() if key != 'epochs'}
             for cfg in resolved for hook in cfg.get('custom_hooks') or []
             if hook.get('type') == 'RefAugRefinementHook' and hook.get('epochs')]
    others = [dict(cfg, custom_hooks=[]) for cfg in resolved]
    keys = {key for other in others for key, _, _ in configs.differences(others[0], other)
            if not key.endswith(('.end', '.begin')) and key not in _FREE}
    return sorted(keys | {f'RefAugRefinementHook.{key}' for hook in hooks
                          for key, _, _ in configs.differences(hooks[0], hook)})
