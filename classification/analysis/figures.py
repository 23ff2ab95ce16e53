"""The figures of the analyses of stage 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from refaug_det.figures import BLUE, GREY, STYLES, log_where_wide, mark, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RISKS = {'clean_train': (dict(STYLES[2], linestyle='-', marker='o'), 'clean train'),
         'standard_train': (dict(STYLES[5], marker='v'), 'standard train'),
         'augmented_train': (dict(STYLES[1]), 'augmented train'),
         'test': (dict(STYLES[3], linestyle='-.'), 'test'),
         'objective': (dict(color=GREY, linestyle=':', marker=''), 'training objective')}


def curves(series: dict[str, Sequence[tuple[int, float]]], switch: int | None,
           title: str) -> Figure:
    """Risks against epochs, with the switch marked: Figure 1.

    Args:
        series: name (of `RISKS`) -> (epoch, nats) by rising epoch.
        switch: the last epoch with augmentation; None where there is none.
        title: what run it is.
    """
    with panels(1, (5.6, 3.6)) as (figure, (axes,)):
        for name, points in series.items():
            style, label = RISKS[name]
            marker = style['marker'] if len(points) <= 40 else ''
            axes.plot(*zip(*points, strict=True), label=label, **dict(style, marker=marker))
        if switch is not None:
            mark(axes, switch + 0.5, 'refinement')
        log_where_wide(axes.set_yscale, [v for points in series.values() for _, v in points])
        _whole_numbers(axes.xaxis)
        axes.set(xlabel='epoch', ylabel='cross entropy (nats)', title=title)
        figure.legend(loc='outside lower center', ncols=len(series), fontsize=8)
    return figure


def risks(entries: Sequence[dict[str, Any]], title: str) -> Figure:
    """Risks of a run's networks with their intervals, a row for each: Table 2 as a picture."""
    names = ['clean_train', 'standard_train', 'augmented_train', 'test']
    with panels(1, (5.6, 1.5 + 0.62 * len(entries))) as (figure, (axes,)):
        for row, entry in enumerate(entries):
            for number, name in enumerate(names):
                style, label = RISKS[name]
                one = entry[name]
                axes.errorbar(one['value'], row + (number - 1.5) * 0.17,
                              xerr=[[one['value'] - one['low']], [one['high'] - one['value']]],
                              color=style['color'], marker=style['marker'], linestyle='none',
                              capsize=2.5, label=label if not row else None)
        log_where_wide(axes.set_xscale, [entry[name]['value'] for entry in entries
                                          for name in names])
        axes.set_yticks(range(len(entries)), [entry['weights'] for entry in entries])
        axes.set_ylim(len(entries) - 0.5, -0.5)
        axes.grid(axis='y', visible=False)
        axes.set(xlabel='cross entropy (nats), with 95 % bootstrap interval', ylabel='weights',
                 title=title)
        figure.legend(loc='outside lower center', ncols=4, fontsize=8)
    return figure


def spectra(entries: dict[str, dict[str, Any]], scale: str) -> Figure:
    """Ordered singular values of feature covariances, a line a network: Figure 3.

    Args:
        entries: label -> what `features.spectra` returned.
        scale: `covariance` or `scatter`.
    """
    first = next(iter(entries.values()))
    one = next(iter(first['classes_alone']))
    parts: dict[str, Callable[[dict], dict]] = {
        f'class {one}': lambda entry: next(iter(entry['classes_alone'].values())),
        'within classes, average': lambda entry: entry['intra_class'],
        'all classes': lambda entry: entry['all_classes']}
    with panels(3, (3.5, 3.3)) as (figure, row):
        for axes, (title, part) in zip(row, parts.items(), strict=True):
            tops, lows = [], []
            for style, (label, entry) in zip(_cycle(), entries.items(), strict=False):
                values = part(entry)[scale]
                tops.append(max(values[0], 1e-300))
                lows.append(min((v for v in values if v > 0), default=tops[-1]))
                axes.plot(range(1, len(values) + 1), values,
                          label=label if axes is row[0] else None, **dict(style, marker=''))
            axes.set_yscale('log')
            axes.set_ylim(max(min(tops) * 1e-8, min(lows) / 2), max(tops) * 3)
            if first['classes'] <= first['features']:
                mark(axes, first['classes'], f'K = {first["classes"]}')
            axes.set(xlabel='rank (largest to smallest)', title=title)
        row[0].set_ylabel(f'singular value of the {scale}\n(squared feature units)')
        figure.legend(loc='outside lower center', ncols=min(len(entries), 4), fontsize=8)
    return figure


def switch_curve(points: Sequence[dict[str, Any]], epochs: int) -> Figure:
    """Test error against the switch epoch, mean and range: Figure 4."""
    with panels(1, (5.0, 3.4)) as (figure, (axes,)):
        at, means = [p['switch'] for p in points], [p['mean'] for p in points]
        reach = [[p['mean'] - p['low'] for p in points], [p['high'] - p['mean'] for p in points]]
        axes.errorbar(at, means, yerr=reach, color=BLUE, marker='o', capsize=3.5, elinewidth=1.2)
        counts = {point['n'] for point in points}
        for point in points if len(counts) > 1 else ():
            axes.annotate(f'n = {point["n"]}', (point['switch'], point['high']), xytext=(0, 4),
                          textcoords='offset points', ha='center', fontsize=7.5, color='#444444')
        if len(at) <= 10:
            axes.set_xticks(at)
        axes.margins(x=0.08, y=0.18)
        axes.set(xlabel=f'epoch at which augmentation ends, of {epochs}', ylabel='test error (%)',
                 title='mean and range of the runs'
                       + (f' (n = {counts.pop()} each)' if len(counts) == 1 else ''))
    return figure


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator
    axis.set_major_locator(MaxNLocator(integer=True))


def _cycle() -> Iterator[dict[str, Any]]:
    while True:
        yield from STYLES
