"""The forest plot as a table: its lines stand beside the numbers, in the page's own type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refaug_det.comparison.tables import p_text
from refaug_det.tables import MISSING

if TYPE_CHECKING:
    from refaug_det.comparison.outcome import Comparison, Row
    from refaug_det.comparison.significance import Verdict

MARGIN = 0.08  # of the range, on either side; a label at an end is not drawn
HEADER = ('backbone', 'difference [95 %]', 'n', 'p', 'p (Holm)', 'runs needed')


@dataclass(frozen=True)
class Line:
    """A backbone: text, and where its marks stand in per cent of the width.

    Attributes:
        cells: under `HEADER`.
        words: what the marks show.
        mean: difference of the means.
        ends: of the 95 % interval; empty where there is none.
        runs: every run's difference to the baseline's mean.
        real: the difference is shown.
    """

    cells: tuple[str, ...]
    words: str
    mean: float
    ends: tuple[float, ...]
    runs: tuple[float, ...]
    real: bool


@dataclass(frozen=True)
class Forest:
    """Differences to a baseline, a line a backbone.

    Attributes:
        title: what the numbers are.
        lines: best first.
        ticks: (place, label).
        zero: the place of no difference.
        notes: what a reader must know.
    """

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float
    notes: tuple[str, ...]
    header: tuple[str, ...] = HEADER


def forest(comparison: Comparison) -> Forest | None:
    """None where the baseline has no value, or no other has one."""
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in comparison.rows if row.mean is not None]
    base = next((row for row in rows if row.backbone == comparison.baseline), None)
    if base is None or base.mean is None or len(rows) < 2:
        return None
    verdicts = {one.backbone: one for one in comparison.verdicts}
    ends = [end for one in verdicts.values() for end in (one.interval.low, one.interval.high)]
    found = [0.0, *ends, *(value - base.mean for row in rows for value in row.values.values())]
    low, high = min(found), max(found)
    room = MARGIN * (high - low) or 1.0
    low, high = low - room, high + room

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    ticks = [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
             if 4 <= at(tick) <= 96]
    judged = comparison.verdict_table()
    alone = [one.backbone for one in comparison.verdicts if one.over == 'runs']
    return Forest(
        f'Difference to {base.backbone} in {comparison.metric}',
        tuple(_line(row, base.mean, comparison, verdicts.get(row.backbone), at) for row in rows),
        tuple((at(tick), f'{tick:+g}' if tick else '0') for tick in ticks), at(0),
        ('A bar is a 95 % interval, the circle on it the difference of the means, a dot below it '
         'a run. Open and grey: the difference is not shown.',
         *([f'Over runs alone, not over test images: {", ".join(alone)}.'] if alone else []),
         *(judged.notes if judged else ())))


def _line(row: Row, base: float, comparison: Comparison, verdict: Verdict | None,
          place: Callable[[float], float]) -> Line:
    assert row.mean is not None
    value = row.mean - base
    name, n = row.backbone, str(row.n)
    runs = tuple(place(one - base) for one in row.values.values())
    if row.backbone == comparison.baseline:
        return Line((name, 'baseline', n, '', '', ''), 'The baseline, at zero.', place(0), (), runs,
                    False)
    if verdict is None:
        return Line((name, f'{value:+.2f}', n, MISSING, MISSING, MISSING),
                    f'{value:+.2f}, no interval.', place(value), (), runs, False)
    interval = verdict.interval
    text = f'{value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]'
    return Line(
        (name, text, n, p_text(verdict.p), p_text(verdict.adjusted), verdict.needed), text,
        place(value), (place(interval.low), place(interval.high)), runs, verdict.shown)
