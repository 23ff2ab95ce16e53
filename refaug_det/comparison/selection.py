"""Which number of a run a table cites, and what it is over several runs: pure arithmetic."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refaug_det.errors import UserError

_MEDIAN = re.compile(r'median of last ([1-9]\d*) epochs')


@dataclass(frozen=True)
class Selected:
    """What a rule takes from the epochs of one phase of one run.

    Attributes:
        value: None where the rule cannot be followed.
        lacking: why not, such as `top-1 in 3 of the 10 epochs it takes`; else empty.
    """

    value: float | None
    lacking: str = ''


@dataclass(frozen=True)
class Spread:
    """Several runs.

    Attributes:
        mean: None without runs.
        sd: sample standard deviation (ddof = 1); None with fewer than 2 runs.
        n: runs.
        low, high: the range; None without runs.
    """

    mean: float | None
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None


def select(rows: Iterable[Mapping[str, Any]], phase: str | None, metric: str,
           rule: str) -> Selected:
    """One number from the epochs of a phase.

    A run that was tested in fewer epochs than the rule takes gives none: a median of 3
    epochs is no median of 10. An epoch whose loss was not finite does not count.

    Args:
        rows: of `history.json`, in any order: `epoch`, `phase`, and test metrics.
        phase: `augmented`, `refinement`, or None for a run without refinement hook.
        metric: name of a test metric of which more is better.
        rule: `median of last K epochs`, `last epoch` or `best epoch`, of the phase.

    Raises:
        UserError: no such rule.

    Source: He et al. 2019, section 4.1 (median of the last 10) and table 4 (best, last).
    """
    wanted = _epochs(rule)
    in_phase = sorted((row for row in rows if row.get('phase') == phase),
                      key=lambda row: row['epoch'])
    if wanted is not None:
        in_phase = in_phase[-wanted:]
    values = [float(row[metric]) for row in in_phase
              if row.get(metric) is not None and row.get('loss', 0) is not None]
    count = len(in_phase) if wanted is None else wanted
    if len(values) < max(count, 1):
        return Selected(None, f'{metric} in {len(values)} of the {count} epochs it takes'
                        if count else 'no epoch of this phase')
    return Selected(max(values) if rule == 'best epoch' else statistics.median(values))


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and range over runs."""
    return Spread(statistics.fmean(values) if values else None,
                  statistics.stdev(values) if len(values) > 1 else None, len(values),
                  min(values, default=None), max(values, default=None))


def _epochs(rule: str) -> int | None:
    """How many epochs at the end of the phase a rule takes; None for all of it."""
    median = _MEDIAN.fullmatch(rule)
    if rule not in ('best epoch', 'last epoch') and median is None:
        raise UserError(f'no such rule: {rule!r}', 'rule',
                        'it is "median of last K epochs", "last epoch" or "best epoch"')
    return None if rule == 'best epoch' else 1 if median is None else int(median[1])
