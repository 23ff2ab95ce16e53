"""A comparison as tables and files."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refaug_det.comparison.outcome import Comparison, Row
from refaug_det.errors import UserError
from refaug_det.escapes import guard_formula, visible
from refaug_det.runs import files
from refaug_det.tables import MISSING, Table

STEM = 'comparison'
NOTES_SHOWN = 8


def main_table(comparison: Comparison) -> Table:
    """A row a backbone: mean, its interval, runs, difference to the baseline, every run."""
    from refaug_det.comparison.statistics import mean_interval

    header = ['backbone', 'mean ± sd', '95 % of the mean', 'n', 'difference ± SE', 'not finished']
    rows = []
    for row in comparison.rows:
        mean = MISSING if row.mean is None else f'{row.mean:.2f} ± {number(row.sd)}'
        difference = MISSING if row.difference is None else (
            f'{row.difference:+.2f} ± {number(row.standard_error)}')
        if row.backbone == comparison.baseline:
            difference = 'baseline'
        interval = mean_interval(list(row.values.values()))
        n = f'{row.n}/{len(row.expected)}' if row.missing else str(row.n)
        rows.append((
            row.backbone, mean,
            MISSING if interval is None else f'[{interval.low:.2f}, {interval.high:.2f}]', n,
            difference, unfinished(row),
            *(number(row.values.get(seed)) for seed in comparison.seeds)))
    best = {(0, 0), (0, 1)} if comparison.best is not None else set()
    return Table(title(comparison), (*header, *(f'seed {seed}' for seed in comparison.seeds)),
                 tuple(rows), tuple(footnotes(comparison)), frozenset(best),
                 optional=len(comparison.seeds))


def verdict_table(comparison: Comparison) -> Table | None:
    """Which differences are real; None where nothing was tested."""
    from refaug_det.comparison.significance import ALPHA, PAIRS

    if not comparison.verdicts:
        return None
    rows = tuple((
        one.backbone, f'{one.interval.value:+.2f} [{one.interval.low:+.2f}, '
        f'{one.interval.high:+.2f}]', one.over, p_text(one.p), p_text(one.adjusted),
        'yes' if one.shown else 'no', one.needed) for one in comparison.verdicts)
    notes = [f'Against {comparison.baseline}. Shown: the interval excludes 0, and p (Holm) is '
             f'below {ALPHA}. An interval stands alone, p (Holm) is adjusted for all the rows.',
             'p: permutation test over runs; with n runs each it is at least 2 / C(2n, n), which '
             f'with 3 is 0.1. From {PAIRS} runs each with the same seeds on it is paired by seed, '
             'and at least 2 / 2^n.',
             'Runs needed: of each, for the interval to exclude 0 in 4 of 5 cases, were the '
             'difference of this size, at this spread and on these images.']
    if any(one.over == 'runs' for one in comparison.verdicts):
        notes.append('Over runs: the test images are resampled only for AP50 (11-point) and AP50 '
                     '(area), of kept detections on the same images; such an interval does not '
                     'know what other test images would give.')
    return Table('Is the difference real?', (
        'backbone', 'difference [95 %]', 'over', 'p', 'p (Holm)', 'shown', 'runs needed'), rows,
        tuple(notes))


def breakdown_table(comparison: Comparison, by: str, parts: dict[str, Comparison]) -> Table:
    """A row a class or size, a column a backbone.

    Args:
        comparison: of all classes: its rows' order is that of the columns.
        by: `class` or `size`.
        parts: class or size -> the comparison of its metric.
    """
    names = [row.backbone for row in comparison.rows]
    rows = []
    for part, found in parts.items():
        values = {row.backbone: row for row in found.rows}
        rows.append((part, *(
            MISSING if values[name].mean is None
            else f'{values[name].mean:.2f} ± {number(values[name].sd)}' for name in names)))
    whole = comparison if by == 'class' else dataclasses.replace(comparison, metric='AP')
    return Table(f'{title(whole)}, by {by}', (by, *names), tuple(rows), (
        f'Mean ± standard deviation over seeds; no test was made by {by}.',))


def title(comparison: Comparison) -> str:
    """What the numbers are: metric, selection rule, protocol and number of seeds."""
    seeds = len(comparison.seeds)
    percent = ' in percent' if comparison.metric.startswith(('AP', 'AR')) else ''
    return (f'{comparison.metric}{percent}, {comparison.selection or "selection not recorded"}, '
            f'protocol {comparison.fingerprint}, {seeds} seed{"s" * (seeds != 1)}')


def footnotes(comparison: Comparison) -> list[str]:
    """What a reader of the table must know, one sentence each."""
    rows = comparison.rows
    lines = [f'Mean ± standard deviation over seeds. A difference is against '
             f'{comparison.baseline}; its ± is its standard error (Welch), and with n < 3 '
             'it proves nothing.']
    if comparison.best is not None:
        lines.append('Bold: shown to be better than every other backbone with two runs or more, by '
                     '95 % intervals over all pairs at once (Bonferroni) and by p (Holm).')
    if missing := [f'{row.backbone} seed {_seeds(row)}' for row in rows if row.missing]:
        lines.append(f'Missing: {"; ".join(missing)}.')
    if ends := [f'{row.backbone} {unfinished(row)}' for row in rows if _unfinished(row)]:
        lines.append(f'Not finished, not averaged: {"; ".join(ends)}.')
    if blank := [f'{row.backbone} {row.unmeasured}' for row in rows if row.unmeasured]:
        lines.append(f'Finished without {comparison.metric}: {"; ".join(blank)}.')
    for count, what in (
            (comparison.set_aside, 'unfinished, of another protocol or with other weights'),
            (comparison.classification_runs, 'of classification')):
        if count:
            lines.append(f'Left out: {_runs(count)} {what}.')
    for count, what in ((comparison.copies, 'copies of a run that is counted once'),
                        (comparison.repeats, 'repeats of a trial with equal results')):
        if count:
            lines.append(f'Merged: {count} {what}.')
    noted = [f'{note} ({_runs(count)})' for note, count in comparison.notes.items()]
    if len(noted) > NOTES_SHOWN:
        noted[NOTES_SHOWN:] = [f'... and {len(noted) - NOTES_SHOWN} more']
    if noted:
        lines.append(f'Noted by the runs: {"; ".join(noted)}.')
    return lines


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """A flat dict per row, at full precision, None where a value is missing."""
    out = []
    judged = {one.backbone: one for one in comparison.verdicts}
    for row in comparison.rows:
        cells = {'backbone': row.backbone, 'n': row.n, 'expected': len(row.expected),
                 'mean': row.mean, 'sd': row.sd, 'difference': row.difference,
                 'standard_error': row.standard_error, 'failed': row.failed,
                 'interrupted': row.interrupted, 'running': row.running,
                 'unmeasured': row.unmeasured}
        if judged:
            one = judged.get(row.backbone)
            cells |= dict(low=one.interval.low if one else None,
                          high=one.interval.high if one else None,
                          p=one.p if one else None, p_holm=one.adjusted if one else None)
        cells |= {f'seed {seed}': row.values.get(seed) for seed in comparison.seeds}
        out.append(cells)
    return out


def unfinished(row: Row) -> str:
    """Such as `1 failed, 2 running`; `0` if every run finished."""
    return ', '.join(f'{n} {what}' for n, what in _unfinished(row)) or '0'


def to_csv(comparison: Comparison) -> str:
    """Header and rows (RFC 4180, CRLF), full precision, empty where a value is missing."""
    out = io.StringIO()
    # All text is quoted: where ';' separates, a name must not open a cell of its own.
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator='\r\n')
    rows = records(comparison)
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([guard_formula(visible(value, keep='\t\r\n'))
                         if isinstance(value, str) else value for value in row.values()])
    return out.getvalue()


def write(comparison: Comparison, tables: list[Table], directory: Path | str) -> list[Path]:
    """Write `comparison.md`, `.tex`, `.html` (all tables) and `.csv`, each whole or not at all.

    Raises:
        UserError: the directory cannot be written to.
    """
    forms: dict[str, Callable[[Table], str]] = {
        '.md': Table.to_markdown, '.tex': Table.to_latex, '.html': Table.to_html}
    texts = {suffix: '\n'.join(map(form, tables)) for suffix, form in forms.items()}
    texts['.csv'] = to_csv(comparison)
    paths = [Path(directory) / f'{STEM}{suffix}' for suffix in texts]
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            files.write_text(path, text)
    except OSError as error:
        raise UserError(f'cannot write the tables ({error.strerror or error})', directory,
                        'name a folder that can be written to') from None
    return paths


def p_text(p: float) -> str:
    """Three digits, and never 0."""
    return f'{p:.3f}' if p >= 0.0005 else '< 0.001'


def number(value: float | None) -> str:
    """Two digits, or a dash."""
    return MISSING if value is None else f'{value:.2f}'


def _unfinished(row: Row) -> list[tuple[int, str]]:
    counts = ((row.failed, 'failed'), (row.interrupted, 'interrupted'), (row.running, 'running'))
    return [(n, what) for n, what in counts if n]


def _seeds(row: Row) -> str:
    return ', '.join(map(str, row.missing))


def _runs(count: int) -> str:
    return f'{count} run{"s" * (count != 1)}'
