"""The style of all figures, and their files: SVG and PNG, the same bytes for the same numbers.

Lines differ in dash and marker as well as in colour, so that they can be told apart in grey;
colours are those of Okabe & Ito 2008, safe for colour-blind readers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refaug_det.runs import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, PURPLE, GREY = '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#6E6E6E'
STYLES: tuple[dict[str, Any], ...] = (
    dict(color='#000000', linestyle='-', marker='o'),
    dict(color=VERMILLION, linestyle='--', marker='s'),
    dict(color=BLUE, linestyle='-.', marker='^'),
    dict(color=GREEN, linestyle=(0, (1, 1.2)), marker='D'),
    dict(color=PURPLE, linestyle=(0, (5, 1, 1, 1, 1, 1)), marker='v'),
    dict(color=GREY, linestyle=(0, (7, 2)), marker='P'))
_RC: dict[Any, Any] = {
    'font.size': 9, 'axes.titlesize': 10, 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'grid.color': '#E4E4E4', 'grid.linewidth': 0.6, 'axes.axisbelow': True,
    'axes.edgecolor': '#444444', 'legend.frameon': False, 'lines.linewidth': 1.6,
    'lines.markersize': 4.5, 'svg.hashsalt': 'refaug-det', 'figure.dpi': 100}
_FONTS = re.compile(r"(font(?:-family)?: [^;\"']*)'DejaVu Sans'[^;\"]*")  # in matplotlib's SVG


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.svg` and `stem.png` (160 dpi), without dates; returns both."""
    import matplotlib

    paths = []
    for suffix, metadata in (('svg', {'Date': None, 'Creator': None}), ('png', {'Software': None})):
        data = io.BytesIO()
        with matplotlib.rc_context(_RC):
            figure.savefig(data, format=suffix, metadata=metadata, dpi=160)
        paths.append(stem.with_name(f'{stem.name}.{suffix}'))
        files.write_bytes(paths[-1], data.getvalue())
    return paths


def to_svg(figure: Figure) -> bytes:
    """An SVG for a page: no background, no date, and text as text, in the reader's own font."""
    import matplotlib

    data = io.StringIO()
    with matplotlib.rc_context({**_RC, 'svg.fonttype': 'none'}):
        figure.savefig(data, format='svg', metadata={'Date': None, 'Creator': None},
                       transparent=True)
    return _FONTS.sub(r'\1system-ui, sans-serif', data.getvalue()).encode()


@contextmanager
def panels(count: int = 1, size: tuple[float, float] = (4.6, 3.2),
           sharey: bool = False) -> Iterator[tuple[Figure, Any]]:
    """A figure with panels side by side, of `size` inches each; drawn within this house's style."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(size[0] * count, size[1]), layout='constrained')
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(1, count, squeeze=False, sharey=sharey)[0]


def log_where_wide(set_scale: Callable[[str], Any], values: Sequence[float]) -> None:
    """Set a logarithmic scale where values span more than a factor of ten."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 10 * min(positive):
        set_scale('log')


def mark(axes: Axes, x: float, text: str) -> None:
    """A dashed vertical line at x, with a word at its upper end."""
    axes.axvline(x, color='#222222', linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(text, (x, 1), xycoords=('data', 'axes fraction'), fontsize=8, va='top',
                  textcoords='offset points', xytext=(3, -2))
