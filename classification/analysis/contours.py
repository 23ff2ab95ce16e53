"""The pictures of a loss surface: contours on the plane, and risks along its lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from refaug_det.figures import BLUE, VERMILLION, log_where_wide, mark, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = 13
_MARKS = {'augmented': 's', 'refined': 'o', 'standard': '^'}


def plane(survey: dict[str, Any]) -> Figure:
    """Contours of every risk, side by side, darker where it is lower; the solutions are marked.

    Args:
        survey: what `landscape` returned.
    """
    import numpy as np
    from matplotlib.patheffects import withStroke

    far = survey['distances']
    with panels(len(survey['risks']), (4.4, 3.9)) as (figure, row):
        for axes, name, values in zip(row, survey['risks'], survey['plane'], strict=True):
            z = np.array(values, dtype=float)
            levels = _levels(z)
            filled = axes.contourf(survey['x'], survey['y'], np.clip(z, levels[0], levels[-1]),
                                   levels=levels, cmap='cividis', norm='log')
            lines = axes.contour(survey['x'], survey['y'], z, levels=levels[1:-1:2],
                                 colors='white', linewidths=0.6)
            for text in axes.clabel(lines, fmt=lambda v: f'{v:.2g}', fontsize=7):
                text.set_path_effects([withStroke(linewidth=1.5, foreground='#333333')])
            bar = figure.colorbar(filled, ax=axes, ticks=levels[::3], format='%.2g')
            bar.ax.minorticks_off()
            bar.set_label('cross entropy (nats)')
            for point, (x, y) in survey['points'].items():
                axes.plot(x, y, _MARKS[point], color='white', markeredgecolor='black',
                          markersize=8, zorder=5)
                axes.annotate(point, (x, y), xytext=(7, 6), textcoords='offset points',
                              fontsize=8, bbox=dict(boxstyle='round,pad=0.15', linewidth=0,
                                                    facecolor='white', alpha=0.85))
            axes.grid(visible=False)
            axes.set(title=f'{name} training images', xlabel='towards refined '
                     f'(1 = {far["augmented to refined"]:.3g} in weight space, L2)')
        row[0].set_ylabel('towards standard '
                          f'(1 = {far["augmented to standard"]:.3g} in weight space, L2)')
    return figure


def lines(survey: dict[str, Any]) -> Figure:
    """Risks along the three lines: t = 0 is the first solution, t = 1 the second."""
    styles = (dict(color=BLUE, linestyle='-'), dict(color=VERMILLION, linestyle='--'))
    every = [value for risks in survey['lines'].values() for values in risks
             for value in values if value is not None]
    with panels(len(survey['lines']), (3.4, 3.1), sharey=True) as (figure, row):
        for axes, (line, risks) in zip(row, survey['lines'].items(), strict=True):
            for style, name, values in zip(styles, survey['risks'], risks, strict=False):
                kept = [math.nan if value is None else value for value in values]
                axes.plot(survey['t'], kept, label=name if axes is row[0] else None, **style)
            for t in (0, 1):
                mark(axes, t, '')
            a, b = line.split(' to ')
            axes.set_xticks([0, 0.5, 1], [f'0\n{a}', '0.5', f'1\n{b}'])
            axes.set(xlabel=f't (1 = {survey["distances"][line]:.3g} in weight space, L2)')
        log_where_wide(row[0].set_yscale, every)
        row[0].set_ylabel('cross entropy (nats)')
        figure.legend(loc='outside lower center', ncols=2, fontsize=8)
    return figure


def _levels(z: Any) -> Any:
    """Evenly spaced in the logarithm, from the least value to one that few points exceed."""
    import numpy as np

    finite = z[np.isfinite(z)]
    low, high = max(finite.min(), 1e-6), np.quantile(finite, 0.97)
    return np.geomspace(low, max(high, low * 1.01), LEVELS)
