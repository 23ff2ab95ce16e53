"""The errors of several backbones as a table, in plain words, and as a figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from refaug_det.tables import Table

HEADS = {'classification': 'cls', 'localisation': 'loc', 'both': 'both', 'duplicate': 'dupe',
         'background': 'bkg', 'missed': 'missed'}  # as TIDE abbreviates them
_HATCHES = ('', '////', '....', 'xxxx', '----', '\\\\\\\\', 'oo')


def table(found: dict[str, Any], threshold: str, deviations: bool = True) -> Table:
    """One IoU threshold: two rows a backbone.

    Args:
        found: what `errors.json` holds.
        threshold: as in its keys, such as `0.5`.
        deviations: also the standard deviations, where a value has one.
    """
    from refaug_det.tables import MISSING, Table

    def number(spread: dict[str, Any], digits: int = 2) -> str:
        if spread['mean'] is None:
            return MISSING
        known = deviations and spread['sd'] is not None
        deviation = f' ± {spread["sd"]:.{digits}f}' if known else ''
        return f'{spread["mean"]:.{digits}f}{deviation}'

    name, rows = _name(threshold), []
    for arm in found['arms']:
        at = arm['at'][threshold]
        rows += [(arm['backbone'], str(len(arm['seeds'])), number(at['ap']),
                  *(number(at['gain'][kind]) for kind in HEADS)),
                 ('  errors', '', '', *(number(at['count'][kind], 0) for kind in HEADS))]
    title = (f'{name} ({found["mode"]}) in percent, and the points that fixing one type of error '
             f'would add, {found["selection"]}, protocol {found["protocol"]}')
    notes = [*words(found, threshold),
             'Mean ± standard deviation over n seeds; a difference\'s ± is its standard error '
             '(Welch). Gains do not add up over types, and a detector that finds little has '
             'little to gain from one fix: read them beside its AP.',
             f'With t = {threshold}: cls, classification: IoU of t or more with an object of '
             f'another class; loc, localisation: {found["background"]} to t with one of its own; '
             'dupe, duplicate: of an object already found; bkg, background: up to '
             f'{found["background"]} with every object; both: wrong class and poor box; missed: '
             'objects that no detection, and no cls or loc error, is near (Bolya et al. 2020).']
    return Table(title, ('backbone', 'n', name, *HEADS.values()), tuple(rows), tuple(notes))


def words(found: dict[str, Any], threshold: str) -> list[str]:
    """One sentence each for localisation and classification: what they cost every backbone."""
    arms = {arm['backbone']: arm['at'][threshold]['gain'] for arm in found['arms']}
    base = arms.get(found['baseline'])
    sentences = []
    for kind in ('localisation', 'classification'):
        costs = []
        for name, gain in sorted(arms.items(), key=lambda item: item[1] is not base):
            if (mean := gain[kind]['mean']) is not None:
                against = '' if base is None or gain is base else _against(gain[kind], base[kind])
                costs.append(f'{name} {mean:.2f}{against}')
        if costs:
            sentences.append(f'Poor {kind} costs, in points of {_name(threshold)}: '
                             f'{"; ".join(costs)}.')
    return sentences


def show(found: dict[str, Any], console: Console) -> None:
    """Print the tables; without the deviations where the terminal is too narrow for them."""
    for threshold in found['arms'][0]['at']:
        whole = table(found, threshold)
        columns = zip(whole.header, *whole.rows, strict=True)
        fits = sum(max(map(len, column)) + 2 for column in columns) <= console.width
        (whole if fits else table(found, threshold, deviations=False)).show(console)


def draw(found: dict[str, Any]) -> Figure:
    """Bars of gain by type, a bar a backbone, a panel a threshold; whiskers: one sd each way."""
    from refaug_det.escapes import visible
    from refaug_det.figures import STYLES, panels

    arms, kinds = found['arms'], list(HEADS)
    thickness = 0.82 / len(arms)
    with panels(len(arms[0]['at']), (4.3, 1.5 + 0.55 * max(len(arms), 3))) as (figure, axes):
        for ax, threshold in zip(axes, arms[0]['at'], strict=True):
            for number, arm in enumerate(arms):
                gain = [arm['at'][threshold]['gain'][kind] for kind in kinds]
                y = [n + thickness * (number - (len(arms) - 1) / 2) for n in range(len(kinds))]
                colour = STYLES[number % len(STYLES)]['color']
                ax.barh(y, [one['mean'] or 0 for one in gain], thickness, color=colour,
                        edgecolor='white', linewidth=0.6, hatch=_HATCHES[number % len(_HATCHES)],
                        label=visible(arm['backbone']).replace('$', r'\$'))
                ax.errorbar([one['mean'] or 0 for one in gain], y,
                            xerr=[one['sd'] or 0 for one in gain], ecolor='#222222',
                            capsize=2 * (len(arm['seeds']) > 1), elinewidth=0.8, linestyle='none')
            ax.set_yticks(range(len(kinds)), kinds)
            ax.invert_yaxis()
            ax.grid(axis='y', visible=False)
            ax.set_xlim(left=0)
            ax.set_xlabel(f'points of {_name(threshold)} ({found["mode"]}) gained by fixing, ± sd')
            ax.set_title(f'IoU {threshold}')
        figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center',
                      ncols=min(len(arms), 3))
    return figure


def _name(threshold: str) -> str:
    return f'AP{100 * float(threshold):g}'


def _against(one: dict[str, Any], base: dict[str, Any]) -> str:
    """Such as ` (-1.20 ± 0.80)`."""
    if base['mean'] is None:
        return ''
    if one['sd'] is None or base['sd'] is None:
        return f' ({one["mean"] - base["mean"]:+.2f})'
    variance = sum(arm['sd']**2 / sum(v is not None for v in arm['values']) for arm in (one, base))
    return f' ({one["mean"] - base["mean"]:+.2f} ± {math.sqrt(variance):.2f})'
