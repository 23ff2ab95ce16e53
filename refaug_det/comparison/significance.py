"""Which differences of a comparison are real: intervals over runs and images, tests, power."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refaug_det.comparison.statistics import (
    Interval,
    difference_interval,
    holm,
    image_weights,
    permutation_p,
    runs_needed,
    two_level,
)
from refaug_det.errors import UserError

if TYPE_CHECKING:
    from refaug_det.comparison.outcome import Comparison, Row
    from refaug_det.comparison.trials import Trials

GROUP = 'refaug_det.resampling'  # (run directory, metric) -> image names, metric by weights
ALPHA, POWER = 0.05, 0.8
PAIRS = 6  # with fewer, no p of a test over pairs is below 0.05: the runs are not paired


@dataclass(frozen=True)
class Verdict:
    """What is known of one backbone's difference to the baseline.

    Attributes:
        backbone: its name.
        interval: of the difference, 95 %.
        over: what the interval knows of: `runs, images`, or `runs` where the detections of
            some run are not kept, or are not of the same images.
        p: of the exact permutation test over runs; paired by seed where the seeds are the same
            and there are `PAIRS` or more.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(backbone=self.backbone, difference=self.interval.value, low=self.interval.low,
                    high=self.interval.high, over=self.over, p=self.p, p_holm=self.adjusted,
                    runs_needed=self.runs_needed)


def judge(comparison: Comparison, resamples: int = 1000) -> tuple[tuple[Verdict, ...], str | None]:
    """Judge every row that has two runs or more.

    Args:
        comparison: its runs' kept detections are read.
        resamples: of the test images.

    Returns:
        A verdict a row against the baseline, if that has two runs; and the name of the row that
        is told from all others with two runs, by 95 % intervals over all pairs at once
        (Bonferroni), or None.

    Raises:
        UserError: no resamples; a run's detections cannot be read.
    """
    if resamples < 2:
        raise UserError(f'{resamples} resamples', '--resamples', 'at least 2; 1000 are usual')
    rows = [row for row in comparison.rows if row.n > 1]
    if len(rows) < 2:
        return (), None
    base = next((row for row in rows if row.backbone == comparison.baseline), rows[0])
    resampled: dict[str, Any] = dict(_resampled(
        [base, *(row for row in rows if row is not base)], comparison.trials, comparison.metric,
        resamples))
    verdicts: tuple[Verdict, ...] = ()
    if base.backbone == comparison.baseline:
        verdicts = _verdicts(base, [row for row in rows if row is not base], resampled)
    first = comparison.rows[0]
    level = 1 - ALPHA / math.comb(len(rows), 2)
    alone = first.n > 1 and all(_interval(first, row, resampled, level)[0].low > 0
                                for row in rows if row is not first)
    return verdicts, first.backbone if alone else None


def _verdicts(base: Row, judged: list[Row], resampled: dict[str, Any]) -> tuple[Verdict, ...]:
    p_values = [_p(row, base) for row in judged]
    out = []
    for row, p, adjusted in zip(judged, p_values, holm(p_values), strict=True):
        interval, over = _interval(row, base, resampled, 1 - ALPHA)
        sd = math.sqrt(((row.sd or 0)**2 + (base.sd or 0)**2) / 2)
        out.append(Verdict(row.backbone, interval, over, p, adjusted,
                           runs_needed(interval.value, sd, POWER, ALPHA)
                           if interval.value else None))
    return tuple(out)


def _interval(a: Row, b: Row, resampled: dict[str, Any],
              confidence: float) -> tuple[Interval, str]:
    """Of the difference of two rows with two runs or more each, and what it is over."""
    if {a.backbone, b.backbone} <= resampled.keys():
        found = two_level(resampled[a.backbone], resampled[b.backbone], confidence)
        return cast(Interval, found), 'runs, images'
    found = difference_interval(list(a.values.values()), list(b.values.values()), confidence)
    return cast(Interval, found), 'runs'


def _p(row: Row, base: Row) -> float:
    paired = set(row.values) == set(base.values) and row.n >= PAIRS
    seeds = sorted(base.values, key=str) if paired else []
    a = [row.values[s] for s in seeds] if paired else list(row.values.values())
    b = [base.values[s] for s in seeds] if paired else list(base.values.values())
    found = permutation_p(a, b, paired)
    return 1.0 if found is None else found


def _resampled(rows: list[Row], found: Trials | None, metric: str,
               resamples: int) -> Iterator[tuple[str, Any]]:
    """Backbone -> (1 + resamples, runs), for those whose runs can be resampled alike."""
    import numpy as np

    if found is None:
        return
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
