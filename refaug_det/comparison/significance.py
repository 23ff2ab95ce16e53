"""Which differences of a comparison are real: intervals over runs and images, tests, power."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from refaug_det.comparison.compare import Comparison, Row
from refaug_det.comparison.statistics import (
    Interval,
    difference_interval,
    holm,
    image_weights,
    permutation_p,
    runs_needed,
    two_level,
)
from refaug_det.comparison.trials import Trials
from refaug_det.errors import UserError

GROUP = 'refaug_det.resampling'  # (run directory, metric) -> image names, metric by weights
HEADER = ['backbone', 'difference [95 %]', 'over', 'p', 'p (Holm)', 'runs needed']
ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Verdict:
    """What is known of one backbone's difference to the baseline.

    Attributes:
        backbone: its name.
        interval: of the difference, 95 %.
        over: what the interval knows of: `runs, images`, or `runs` where the detections of
            some run are not kept, or are not of the same images.
        p: of the exact permutation test over runs, paired where the seeds are the same.
        adjusted: p by Holm over all backbones of the table.
        runs_needed: runs of each with which a t-test would show a difference of this size, at
            this spread, in four of five cases; None where over a thousand.
    """

    backbone: str
    interval: Interval
    over: str
    p: float
    adjusted: float
    runs_needed: int | None


def verdicts(comparison: Comparison, found: Trials, resamples: int = 1000) -> list[Verdict]:
    """Judge every row that has two trials or more, if the baseline has.

    Args:
        comparison: of `found`.
        found: where the runs lie; their kept detections are read.
        resamples: of the test images.

    Raises:
        UserError: no resamples; a run's detections cannot be read.
    """
    if resamples < 2:
        raise UserError(f'{resamples} resamples', '--resamples', 'at least 2; 1000 are usual')
    rows = {row.backbone: row for row in comparison.rows}
    base = rows.pop(comparison.baseline)
    judged = [row for row in rows.values() if min(row.n, base.n) > 1]
    if not judged:
        return []
    resampled: dict[str, Any] = dict(
        _resampled([base, *judged], found, comparison.metric, resamples))
    p_values = [_p(row, base) for row in judged]
    out = []
    for row, p, adjusted in zip(judged, p_values, holm(p_values), strict=True):
        if {row.backbone, base.backbone} <= resampled.keys():
            over = 'runs, images'
            interval = two_level(resampled[row.backbone], resampled[base.backbone])
        else:
            over = 'runs'
            interval = difference_interval(list(row.values.values()), list(base.values.values()))
        sd = math.sqrt(((row.sd or 0)**2 + (base.sd or 0)**2) / 2)
        value = cast(Interval, interval).value  # both have two runs
        out.append(Verdict(row.backbone, cast(Interval, interval), over, p, adjusted,
                           runs_needed(value, sd, POWER, ALPHA) if value else None))
    return out


def cells(judged: list[Verdict]) -> list[list[str]]:
    """A row of text a verdict, under `HEADER`."""
    return [[one.backbone, f'{one.interval.value:+.2f} [{one.interval.low:+.2f}, '
             f'{one.interval.high:+.2f}]', one.over, f'{one.p:.3f}', f'{one.adjusted:.3f}',
             str(one.runs_needed or '> 1000')] for one in judged]


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the verdicts must know."""
    return [f'Against {comparison.baseline}. p: permutation test over runs, exact; with n runs '
            'each it is at least 2 / C(2n, n), paired by seed 2 / 2^n. Runs needed: of each, for '
            'a difference of this size at this spread to be shown in 4 of 5 cases.']


def _p(row: Row, base: Row) -> float:
    paired = set(row.values) == set(base.values)
    seeds = sorted(base.values, key=str) if paired else []
    a = [row.values[s] for s in seeds] if paired else list(row.values.values())
    b = [base.values[s] for s in seeds] if paired else list(base.values.values())
    found = permutation_p(a, b, paired)
    return 1.0 if found is None else found


def _resampled(rows: list[Row], found: Trials, metric: str,
               resamples: int) -> Iterator[tuple[str, Any]]:
    """Backbone -> (1 + resamples, runs), for those whose runs can be resampled alike."""
    import numpy as np

    images: list[str] | None = None
    weights = None
    for row in rows:
        runs = [_of_run(found.places[row.backbone][seed], metric) for seed in row.values]
        names = {tuple(run[0]) for run in runs if run is not None}
        if None in runs or len(names) != 1 or (images is not None and list(*names) != images):
            continue
        if weights is None:
            images = list(*names)
            drawn = image_weights(len(images), resamples, np.random.default_rng(0))
            weights = np.concatenate([np.ones((1, len(images)), drawn.dtype), drawn])
        yield row.backbone, np.stack([run[1](weights) for run in runs if run is not None], 1)


def _of_run(run_dir: Path, metric: str) -> tuple[list[str], Callable[[Any], Any]] | None:
    for point in entry_points(group=GROUP):
        found = point.load()(run_dir, metric)
        if found is not None:
            return found
    return None


def to_dicts(judged: list[Verdict]) -> list[Mapping[str, Any]]:
    """JSON-able."""
    return [dict(backbone=one.backbone, difference=one.interval.value, low=one.interval.low,
                 high=one.interval.high, over=one.over, p=one.p, p_holm=one.adjusted,
                 runs_needed=one.runs_needed) for one in judged]
