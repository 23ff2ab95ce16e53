"""What a comparison shows, in words that promise no more than the numbers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refaug_det.comparison.tables import p_text

if TYPE_CHECKING:
    from refaug_det.comparison.outcome import Comparison, Row
    from refaug_det.comparison.significance import Verdict

SHOWN, HINTED, NOTHING, SINGLE, BLANK = 'shown', 'hinted', 'nothing', 'single', 'blank'


def kind_of(row: Row, comparison: Comparison) -> str:
    """How much is known of a row's difference to the baseline: one of the five above."""
    verdict = verdict_of(row, comparison)
    if row.mean is None or row.difference is None:
        return BLANK
    if verdict is None:
        return SINGLE
    if not verdict.interval.excludes(0):
        return NOTHING
    return SHOWN if verdict.shown else HINTED


def verdict_of(row: Row, comparison: Comparison) -> Verdict | None:
    return next((one for one in comparison.verdicts if one.backbone == row.backbone), None)


def headline(comparison: Comparison) -> str:
    """One sentence: the answer, as far as there is one."""
    others = [row for row in comparison.rows if row.backbone != comparison.baseline]
    kinds = [kind_of(row, comparison) for row in others]
    if not others:
        return 'One backbone alone: there is nothing to compare.'
    if comparison.best is not None:
        return f'{comparison.best} is better than every other backbone that has two runs or more.'
    shown = [row for row, kind in zip(others, kinds, strict=True) if kind == SHOWN]
    if len(shown) == 1:
        return f'{shown[0].backbone} is {_direction(shown[0])} {comparison.baseline}.'
    if shown:
        return (f'{len(shown)} of {len(others)} backbones are told from {comparison.baseline}, '
                'none from all the others.')
    if HINTED in kinds:
        return 'Nothing is shown yet: an interval excludes zero, the test over runs does not.'
    if set(kinds) <= {SINGLE, BLANK}:
        return 'Nothing is shown: single runs prove nothing.'
    return 'Nothing is shown: every interval includes zero.'


def lede(comparison: Comparison) -> str:
    """What was compared, in a sentence or two."""
    count = len(comparison.rows)
    return (f'{count} backbone{"s" * (count != 1)}, '
            f'{_runs(sum(row.n for row in comparison.rows))} of fine-tuning under one protocol, '
            f'measured by {comparison.metric} ({comparison.selection or "selection not recorded"}).'
            f' Differences are against {comparison.baseline}.')


def sentences(comparison: Comparison) -> list[str]:
    """A sentence a backbone, best first."""
    base = next(row for row in comparison.rows if row.backbone == comparison.baseline)
    return [_sentence(row, base, comparison) for row in comparison.rows if row is not base]


def caveat(comparison: Comparison) -> str:
    """What the intervals leave open."""
    images = any(one.over != 'runs' for one in comparison.verdicts)
    return (f'Intervals are over fine-tuning runs{" and test images" * images}. Every backbone is '
            'one pretraining: they do not say what another pretraining with the same augmentation, '
            'another detector or other data would give.')


def tone(comparison: Comparison) -> str:
    """`shown` where something is, else `nothing`."""
    kinds = {kind_of(row, comparison) for row in comparison.rows}
    return SHOWN if comparison.best is not None or SHOWN in kinds else NOTHING


def _sentence(row: Row, base: Row, comparison: Comparison) -> str:
    kind, verdict = kind_of(row, comparison), verdict_of(row, comparison)
    if kind == BLANK:
        lacking = row if row.mean is None else base
        return f'{row.backbone}: no difference can be told; {lacking.backbone} has no value.'
    start = f'{row.backbone} against {base.backbone}: {row.difference:+.2f}'
    if verdict is None:
        return (f'{start}, with {_runs(row.n)} against {_runs(base.n)}. A single run proves '
                'nothing: there is no spread to hold a difference against.')
    interval = verdict.interval
    start += (f', 95\N{NO-BREAK SPACE}% interval [{interval.low:+.2f}, {interval.high:+.2f}] over '
              f'{verdict.over.replace(", ", " and ").replace("images", "test images")}, '
              f'{_each(row, base)}.')
    if kind == SHOWN:
        return f'{start} The difference is shown (p = {p_text(verdict.adjusted)} after Holm).'
    if kind == HINTED:
        return (f'{start} The interval excludes zero, the permutation test over runs does not '
                f'(p = {p_text(verdict.adjusted)} after Holm): more runs would tell.')
    if verdict.runs_needed is not None:
        return (f'{start} The interval includes zero: nothing is shown. If the difference were of '
                f'this size, about {verdict.runs_needed} runs of each would show it in four of '
                'five cases.')
    needed = 'over a thousand runs' if verdict.over == 'runs' else 'more test images'
    return (f'{start} The interval includes zero: nothing is shown. A difference of this size '
            f'would take {needed}.')


def _direction(row: Row) -> str:
    better = (row.difference or 0) > 0
    return f'{"better" if better else "worse"} ({row.difference:+.2f}) than'


def _each(row: Row, base: Row) -> str:
    return (f'n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row.n} each' if row.n == base.n else
            f'n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row.n} and {base.n}')


def _runs(count: int) -> str:
    return f'{count} run{"s" * (count != 1)}'
