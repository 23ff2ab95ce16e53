"""Accuracy against AP as tables, in plain words, and as a figure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refaug_det.comparison.transfer import DIGITS, LEAST, RESAMPLED_FROM
from refaug_det.tables import MISSING, Table, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Console

FEW = 6  # points; with fewer, p has little room
IN_CELLS = 12  # backbones; with more, a heat map has no room for numbers
CAPTION = ('Left: a point a backbone, numbered by its rank, or the mean of those that differ in '
           'the seed of stage 1 alone; the vertical bar is the 95 % interval of its mean over '
           'runs, or over these seeds, the horizontal one the standard deviation over stage 1 '
           'runs of the same config, crosses are single runs, or seeds. Right: the chance of each '
           'rank in percent when every backbone is run once.')


def tables(found: dict[str, Any]) -> tuple[Table, Table, Table]:
    """The backbones, the correlations, and the chance of each rank.

    Args:
        found: what `transfer.json` holds.
    """
    return _points(found), _correlations(found), _ranks(found)


def with_words(found: dict[str, Any]) -> tuple[Table, Table, Table]:
    """The same tables where nothing else says in words what they show."""
    points, correlations, ranks = tables(found)
    return points, replace(correlations, notes=(*words(found), *correlations.notes)), ranks


def show(shown: tuple[Table, ...], console: Console) -> None:
    """Print them, with a line between two."""
    for number, table in enumerate(shown):
        console.print('\n' * (number > 0), end='')
        table.show(console)


def words(found: dict[str, Any]) -> list[str]:
    """What is shown and what is not, a sentence each."""
    x, y, first = found['classification_metric'], found['metric'], found['correlations'][0]
    if first is None:
        which = next((name for name, key in ((x, 'accuracy'), (y, 'mean')) if len(
            {round(one[key], DIGITS) for one in found['groups']}) == 1), None)
        said = [f'No rank correlation is defined: all {_over(found)} have the same {which}.'
                if which and len(found['groups']) >= LEAST else
                f'No rank correlation: {x} and {y} are known of {_over(found)}.']
        return said + _luck(found)
    start = (f'A backbone with a higher {x} tends to have a '
             f'{"higher" if first["value"] > 0 else "lower"} {y}' if found['shown'] else
             f'It is not shown that {x} says which backbone has the higher {y}')
    said = [f'{start}: over {_over(found)}, {_in_short(first)}.']
    if found['recipes'] < len(found['groups']):
        one = found['over_recipes']
        told = f'{_in_short(one)}.' if one else 'it is not defined.'
        said.append(f'Weights of one recipe before and after its switch are not independent: with '
                    f'a point a recipe, {found["recipes"]} of them, {told} Only what both show '
                    'counts.')
    if first['over_runs']:
        low, high = first['over_runs']
        said.append(f'For these very backbones, other runs would put it between {low:+.2f} and '
                    f'{high:+.2f}.')
    return said + _luck(found)


def _over(found: dict[str, Any]) -> str:
    backbones, groups = len(found['points']), len(found['groups'])
    return f'{backbones} backbones' if groups == backbones else (
        f'{groups} points ({backbones} backbones; those that differ in the seed of stage 1 alone '
        'are one point)')


def _in_short(one: dict[str, Any]) -> str:
    low, high = one['over_backbones']
    return f'{one["name"]} is {one["value"]:+.2f} [{low:+.2f}, {high:+.2f}], p = {one["p"]:.3f}'


def alt(found: dict[str, Any]) -> str:
    """What the figure shows, to those who do not see it."""
    points = '; '.join(f'{one["backbone"]} {one["accuracy"]:.4g} and {one["mean"]:.2f}'
                       for one in found['points'])
    return (f'{found["metric"]} against {found["classification_metric"]} of '
            f'{len(found["points"])} backbones: {points}. Beside it the chance of each rank.')


def draw(found: dict[str, Any]) -> Figure:
    """Accuracy and AP as points with bars both ways, and a heat map of ranks."""
    from refaug_det.figures import panels

    count = len(found['ranking']['backbones'])
    with panels(2, (4.9, max(3.4, 1.4 + 0.3 * count))) as (figure, (left, right)):
        _scatter(found, left)
        _heat_map(found['ranking'], right)
    return figure


def _points(found: dict[str, Any]) -> Table:
    rows = []
    for one in found['points']:
        spread = MISSING if one['accuracy_sd'] is None else (
            f'{one["accuracy_sd"]:.3g} (n = {one["accuracy_runs"]})')
        rows.append((one['backbone'], f'{one["accuracy"]:.4g}', spread, one['source'],
                     f'{one["mean"]:.2f}', _ends(one['interval'], '.2f'), str(len(one['values']))))
    x, y = found['classification_metric'], found['metric']
    return Table(f'{x} and {y}, {found["selection"]}, protocol {found["protocol"]}',
                 ('backbone', x, 'sd of stage 1', 'from', y, '95 %', 'n'), tuple(rows),
                 tuple(_points_notes(found)), optional=1)


def _points_notes(found: dict[str, Any]) -> list[str]:
    points, x = found['points'], found['classification_metric']
    notes = [f'{x} is that of the weights that were fine-tuned; beside it, the standard deviation '
             'over stage 1 runs of the same config that are here. 95 %: Student\'s interval of the '
             'mean over n fine-tuning runs.']
    if found['without']:
        notes.append(f'Without {x}, in the ranks alone: ' + '; '.join(
            f'{one["backbone"]} ({one["why"]})' for one in found['without']) + '.')
    if found['unused']:
        notes.append(f'In the file of accuracies, but of no backbone here: '
                     f'{", ".join(found["unused"])}.')
    if len({one['source'] == 'the file' for one in points}) > 1:
        notes.append('Some accuracies come from the file, some from runs: are they of one test '
                     'set?')
    if seeds := [one for one in found['groups'] if len(one['backbones']) > 1]:
        notes.append('One point, as they differ in the seed of stage 1 alone: ' + '; '.join(
            f'{", ".join(one["backbones"])} (means {one["accuracy"]:.4g} and {one["mean"]:.2f})'
            for one in seeds) + '.')
    return notes


def _correlations(found: dict[str, Any]) -> Table:
    known, recipes = [one for one in found['correlations'] if one], found['over_recipes']
    listed = [*known, *([dict(recipes, name=f'{recipes["name"]}, a point a recipe')]
                        if recipes else [])]
    rows = tuple((one['name'], str(one['count']), f'{one["value"]:+.2f}',
                  _ends(one['over_backbones'], '+.2f'), _ends(one['over_runs'], '+.2f'),
                  f'{one["p"]:.3f}' if one['p'] >= 0.001 else '< 0.001') for one in listed)
    notes = []
    if known:
        method = ('by simulation of two normal numbers, as a bootstrap of fewer than '
                  f'{RESAMPLED_FROM}, or of a perfect order, does not cover'
                  if known[0]['method'] == 'simulation' else 'by bootstrap of the points')
        notes.append(f'Over backbones: what other backbones of the kind would give, {method}. Over '
                     'runs: what other runs of these would give, by bootstrap. p: over '
                     f'{"all" if known[0]["exact"] else "drawn"} orders of the n points.')
    count = found['recipes']
    if LEAST <= count < FEW:
        which = 'points' if count == len(found['groups']) else 'recipes'
        notes.append(f'With {count} {which} p is never below {2 / math.factorial(count):.3f}, '
                     f'however well the orders agree: few {which} show little.')
    return Table(f'Does the order by {found["classification_metric"]} predict that by '
                 f'{found["metric"]}?',
                 ('rank correlation', 'n', 'value', '95 % over backbones', '95 % over runs', 'p'),
                 rows, tuple(notes))


def _ranks(found: dict[str, Any]) -> Table:
    ranking = found['ranking']
    rows = tuple((one['backbone'], str(len(one['values'])), f'{one["mean"]:.2f}',
                  *(_percent(chance) for chance in chances))
                 for one, chances in zip(ranking['backbones'], ranking['probabilities'],
                                         strict=True))
    notes = ['One run of each backbone is drawn, each on its own; exact.']
    if single := [one['backbone'] for one in ranking['backbones'] if len(one['values']) < 2]:
        notes.append(f'Of one run only, as if others would not differ: {", ".join(single)}.')
    return Table('The chance of each rank, in percent, when every backbone is run once',
                 ('backbone', 'n', found['metric'],
                  *(f'rank {number + 1}' for number in range(len(rows)))),
                 rows, tuple(notes), optional=len(rows))


def _luck(found: dict[str, Any]) -> list[str]:
    """How much a table of single runs can be trusted."""
    ranking = found['ranking']
    best = ranking['backbones'][0]
    if max(len(one['values']) for one in ranking['backbones']) < 2:
        return ['How far the ranks depend on the runs is not known: no backbone has two.']
    said = [f'Of all tables with one run a backbone, '
            f'{_percent(ranking["probabilities"][0][0])} % have {best["backbone"]} first, as the '
            'means do.']
    if ranking['agreement'] is not None:
        said.append('Two such tables that share no run agree with a Kendall tau of '
                    f'{ranking["agreement"]:+.2f} on average (1: the same order, 0: chance).')
    return said


def _scatter(found: dict[str, Any], axes: Axes) -> None:
    from refaug_det.figures import BLUE, GREY

    points = found['groups']
    numbers = {one['backbone']: n for n, one in enumerate(found['ranking']['backbones'], start=1)}
    for one in points:
        ends = one['interval'] or (one['mean'], one['mean'])
        axes.errorbar(one['accuracy'], one['mean'], xerr=one['accuracy_sd'],
                      yerr=[[one['mean'] - ends[0]], [ends[1] - one['mean']]], marker='o',
                      color=BLUE, ecolor=GREY, elinewidth=1, capsize=2.5)
        at = one['accuracies'] if len(one['accuracies']) > 1 else (
            one['accuracies'] * len(one['values']))
        axes.plot(at, one['values'], 'x', color=GREY, markersize=3.5)
        named = ', '.join(str(numbers[name]) for name in one['backbones'])
        axes.annotate(named, (one['accuracy'], one['mean']), fontsize=8,
                      xytext=(5, 4), textcoords='offset points')
    # the interval of two runs can be twenty times their distance: it may leave the picture
    values = [value for one in points for value in one['values']]
    room = max(values) - min(values) or 1
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, min(values) - room), min(high, max(values) + room))
    axes.margins(x=0.12)
    first = found['correlations'][0]
    axes.set(xlabel=_plain(found['classification_metric']), ylabel=_plain(found['metric']),
             title='no rank correlation' if first is None else
             f'{first["name"]} {first["value"]:+.2f} [{first["over_backbones"][0]:+.2f}, '
             f'{first["over_backbones"][1]:+.2f}]')


def _heat_map(ranking: dict[str, Any], axes: Axes) -> None:
    chances, count = ranking['probabilities'], len(ranking['backbones'])
    axes.imshow(chances, cmap='Blues', vmin=0, vmax=1, aspect='auto')
    for row, line in enumerate(chances if count <= IN_CELLS else ()):
        for column, chance in enumerate(line):
            if chance:
                axes.annotate(_percent(chance), (column, row), ha='center', va='center',
                              fontsize=8, color='white' if chance > 0.6 else 'black')
    axes.set_yticks(range(count), [_plain(f'{number} {one["backbone"]}') for number, one in
                                   enumerate(ranking['backbones'], start=1)], fontsize=8)
    axes.set_xticks(range(count), [str(number + 1) for number in range(count)])
    axes.grid(visible=False)
    axes.set(xlabel='rank', title='chance of each rank (%), one run each')


def _ends(interval: list[float] | None, form: str) -> str:
    return MISSING if interval is None else f'[{interval[0]:{form}}, {interval[1]:{form}}]'


def _percent(chance: float) -> str:
    return f'{100 * chance:.0f}'


def _plain(text: str) -> str:
    return visible(text).replace('$', r'\$')
