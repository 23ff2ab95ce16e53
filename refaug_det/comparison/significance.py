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
    images_variance,
    permutation_p,
    runs_needed,
    two_level,
)
from refaug_det.errors import UserError

if TYPE_CHECKING:
    from refaug_det.comparison.outcome import Comparison, Row
    from refaug_det.comparison.trials import Trials

GROUP = 'refaug_det.resampling'  # (run directory, metric) -> image names, metric by weights
ALPHA, POWER, MOST = 0.05, 0.8, 1000
LEAST_RESAMPLES = 100
IMAGES_TOO = 'runs, images'
AGREES = 1e-6  # percentage points; another numpy may round otherwise
PAIRS = 6  # with fewer, no p of a test over pairs is below 0.05: the runs are not paired


@dataclass(frozen=True)
class Verdict:
    """What is known of one backbone's difference to the baseline.

    Attributes:
        backbone: its name.
        interval: of the difference, 95 %.
        over: what the interval knows of: `runs, images`, or `runs` where the detections of
            some run are not kept, or are not of the same images.
        p: of the permutation test over runs; paired by seed where the seeds are the same and
            there are `PAIRS` or more.
        adjusted: p by Holm over all backbones of the table.
        runs_needed: runs of each with which the interval would exclude 0 in four of five cases,
            were the difference of this size, at this spread; None where over a thousand.
    """

    backbone: str
    interval: Interval
    over: str
    p: float
    adjusted: float
    runs_needed: int | None

    @property
    def shown(self) -> bool:
        """Whether the difference is shown: by its interval, and by p among all the rows."""
        return self.interval.excludes(0) and self.adjusted < ALPHA

    @property
    def needed(self) -> str:
        """`runs_needed` in words: where no number would do, the images are too few."""
        if self.runs_needed is not None:
            return str(self.runs_needed)
        return 'more images' if self.over == IMAGES_TOO else f'> {MOST}'

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(backbone=self.backbone, difference=self.interval.value, low=self.interval.low,
                    high=self.interval.high, over=self.over, p=self.p, p_holm=self.adjusted,
                    shown=self.shown, runs_needed=self.runs_needed)


def judge(comparison: Comparison, resamples: int = 1000) -> tuple[tuple[Verdict, ...], str | None]:
    """Judge every row that has two runs or more.

    Args:
        comparison: its runs' kept detections are read.
        resamples: of the test images.

    Returns:
        A verdict a row against the baseline, if that has two runs; and the name of the row that
        is shown to be better than every other row with two runs, or None: by intervals of 95 %
        over all pairs at once (Bonferroni), and by p among the pairs with that row (Holm).

    Raises:
        UserError: too few resamples; a run's detections cannot be read, or are not those that
            its record was made of.
    """
    if resamples < LEAST_RESAMPLES:
        raise UserError(f'{resamples} resamples', '--resamples',
                        f'at least {LEAST_RESAMPLES}; 1000 are usual')
    rows = [row for row in comparison.rows if row.n > 1]
    if len(rows) < 2:
        return (), None
    base = next((row for row in rows if row.backbone == comparison.baseline), rows[0])
    resampled: dict[str, Any] = dict(_resampled(
        [base, *(row for row in rows if row is not base)], comparison.trials, comparison.metric,
        resamples))
    found: tuple[Verdict, ...] = ()
    if base.backbone == comparison.baseline:
        found = _verdicts(base, [row for row in rows if row is not base], resampled, 1 - ALPHA)
    first, *others = rows
    against = _verdicts(first, others, resampled, 1 - ALPHA / math.comb(len(rows), 2))
    alone = first is comparison.rows[0] and all(
        one.shown and one.interval.value < 0 for one in against)
    return found, first.backbone if alone else None


def _verdicts(base: Row, judged: list[Row], resampled: dict[str, Any],
              confidence: float) -> tuple[Verdict, ...]:
    p_values = [_p(row, base) for row in judged]
    out = []
    for row, p, adjusted in zip(judged, p_values, holm(p_values), strict=True):
        over, interval, images = 'runs', None, 0.0
        if {row.backbone, base.backbone} <= resampled.keys():
            both = resampled[row.backbone], resampled[base.backbone]
            over, interval = IMAGES_TOO, two_level(*both, confidence)
            images = images_variance(*both)
        if interval is None:
            over, interval = 'runs', difference_interval(
                list(row.values.values()), list(base.values.values()), confidence)
        interval = cast(Interval, interval)  # both have two runs
        sd = math.sqrt(((row.sd or 0)**2 + (base.sd or 0)**2) / 2)
        needed = runs_needed(interval.value, sd, POWER, ALPHA, MOST,
                             images) if interval.value else None
        out.append(Verdict(row.backbone, interval, over, p, adjusted, needed))
    return tuple(out)


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
        values = np.stack([run[1](weights) for run in runs if run is not None], 1)
        for (seed, recorded), value in zip(row.values.items(), values[0], strict=True):
            if not abs(recorded - value) <= AGREES:
                raise UserError(
                    f'the kept detections have an {metric} of {value:.4f}, the record says '
                    f'{recorded:.4f}', found.places[row.backbone][seed],
                    'restore the two files of the run, or evaluate the detector again')
        yield row.backbone, values


def _of_run(run_dir: Path, metric: str) -> tuple[list[str], Callable[[Any], Any]] | None:
    for point in entry_points(group=GROUP):
        found = point.load()(run_dir, metric)
        if found is not None:
            return found
    return None
