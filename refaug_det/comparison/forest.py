"""The forest plot: every backbone's difference to the baseline, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refaug_det.figures import BLUE, GREY, panels
from refaug_det.tables import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from refaug_det.comparison.outcome import Comparison


def draw(comparison: Comparison) -> Figure:
    """A line a backbone, best first: points are runs, the bar is the 95 % interval.

    Intervals are drawn where a test was asked for. A difference that is shown is blue with a
    filled mark, the others are grey with an open one.
    """
    rows = [row for row in comparison.rows if row.mean is not None]
    base = next((row.mean for row in rows if row.backbone == comparison.baseline), None)
    judged = {one.backbone: one for one in comparison.verdicts}
    with panels(1, (6.6, 1.1 + 0.42 * max(len(rows), 2))) as (figure, (axes,)):
        for y, row in enumerate(rows):
            if base is None:
                break
            assert row.mean is not None
            verdict = judged.get(row.backbone)
            shown = verdict is not None and verdict.shown
            colour = BLUE if shown else GREY
            axes.plot([value - base for value in row.values.values()], [y] * row.n, '|',
                      color=colour, markersize=7, alpha=0.7)
            if verdict is not None:
                ends = [verdict.interval.low, verdict.interval.high]
                axes.plot(ends, [y, y], color=colour, linewidth=2.2)
            axes.plot(row.mean - base, y, 'o', markersize=7, color=colour,
                      markerfacecolor=colour if shown else 'white')
        axes.axvline(0, color='#222222', linewidth=0.8)
        axes.set_yticks(range(len(rows)), [
            visible(f'{row.backbone} (n = {row.n})').replace('$', r'\$') for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis='y', visible=False)
        points = 'points of ' if comparison.metric.startswith(('AP', 'AR')) else ''
        axes.set_xlabel(f'difference to {visible(comparison.baseline)}, {points}'
                        f'{visible(comparison.metric)}'.replace('$', r'\$'))
    return figure
