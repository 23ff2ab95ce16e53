"""A comparison as a table: for the terminal, Markdown and CSV.

Names come from files that others wrote. Whatever is in them, a table shows it as text.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refaug_det.comparison.compare import Comparison, Row
from refaug_det.errors import UserError
from refaug_det.runs import files

if TYPE_CHECKING:
    from rich.console import Console

MISSING = '—'
STEM = 'comparison'
NOTES_SHOWN = 8
FORMULA = tuple('=+-@\uff1d\uff0b\uff0d\uff20')


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
    for row in comparison.rows:
        cells = {'backbone': row.backbone, 'n': row.n, 'expected': len(row.expected),
                 'mean': row.mean, 'sd': row.sd, 'difference': row.difference,
                 'standard_error': row.standard_error, 'failed': row.failed,
                 'interrupted': row.interrupted, 'running': row.running,
                 'unmeasured': row.unmeasured}
        cells.update({f'seed {seed}': row.values.get(seed) for seed in comparison.seeds})
        out.append(cells)
    return out


def unfinished(row: Row) -> str:
    """Such as `1 failed, 2 running`; `0` if every run finished."""
    return ', '.join(f'{n} {what}' for n, what in _unfinished(row)) or '0'


def to_text(comparison: Comparison) -> str:
    """The terminal's table as plain text, as wide as it needs to be."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=500, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        show(comparison, console)
    return captured.get()


def show(comparison: Comparison, console: Console) -> None:
    """Print title, table and footnotes; rich honours NO_COLOR."""
    header, rows = _cells(comparison)
    widths = [max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)]
    if sum(widths) > console.width:
        header = header[:-len(comparison.seeds)]  # too narrow for the single trials
    show_cells(title(comparison), header, rows, footnotes(comparison), console)


def show_cells(title: str, header: list[str], rows: list[list[str]], notes: list[str],
               console: Console) -> None:
    """Print a table whose first column is text and whose others are numbers.

    Cells of a row beyond the header's are left out.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style='bold', padding=(0, 2, 0, 0))
    for number, name in enumerate(header):
        table.add_column(Text(visible(name)), overflow='fold', no_wrap=number > 0,
                         justify='left' if number == 0 else 'right')
    for cells in rows:
        table.add_row(*(Text(visible(cell)) for cell in cells[:len(header)]))
    console.print(Text(visible(title), style='bold'))
    console.print(table)
    for line in notes:
        console.print(Text(visible(line), style='dim'))


def say(draw: Callable[[Console], None]) -> None:
    """Print what `draw` shows on a console, as well as the terminal's encoding can."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=500)
    with console.capture() as captured:
        draw(console)
    encoding = sys.stdout.encoding or 'utf-8'  # it may lack the dash
    print(captured.get().encode(encoding, 'replace').decode(encoding), end='')


def to_markdown(comparison: Comparison) -> str:
    """Title, table and footnotes in Markdown (GFM); nothing in a name is live."""
    return markdown_cells(title(comparison), *_cells(comparison), footnotes(comparison))


def markdown_cells(title: str, header: list[str], rows: list[list[str]],
                   notes: list[str]) -> str:
    """Any table as `to_markdown` writes one; all text is escaped."""
    lines = [f'**{escape_markdown(title)}**', '',
             _pipes(header), '|:--|' + '--:|' * (len(header) - 1), *map(_pipes, rows), '']
    lines += [f'- {escape_markdown(line)}' for line in notes]
    return '\n'.join(lines) + '\n'


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


def write(comparison: Comparison, directory: Path | str) -> list[Path]:
    """Write `comparison.md` and `comparison.csv`, each whole or not at all.

    Raises:
        UserError: the directory cannot be written to.
    """
    texts = {'.md': to_markdown(comparison), '.csv': to_csv(comparison)}
    paths = [Path(directory) / f'{STEM}{suffix}' for suffix in texts]
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            files.write_text(path, text)
    except OSError as error:
        raise UserError(f'cannot write the tables ({error.strerror or error})', directory,
                        'name a folder that can be written to') from None
    return paths


def visible(text: str, keep: str = '') -> str:
    """Text with control, direction and undefined characters spelled out, as in `\\x1b`."""
    return ''.join(
        character if character in keep or unicodedata.category(character) not in (
            'Cc', 'Cf', 'Cs', 'Cn', 'Zl', 'Zp') else
        character.encode('unicode_escape').decode('ascii') for character in text)


def guard_formula(text: str) -> str:
    """An apostrophe before what a spreadsheet would compute; taking one off undoes it.

    Source: OWASP, CSV Injection (= + - @, tab, CR, LF and their full-width forms).
    """
    risky = text.startswith(("'", '\t', '\r', '\n')) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if risky else text


def escape_markdown(text: str) -> str:
    """Text that renders as itself: no markup, HTML, link or table cell starts in it."""
    text = visible(text).replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    text = re.sub(r'([\\`*_\[\]|~$@]|:(?=\S))', r'\\\1', text)
    return re.sub(r'(?i)(www)\.', r'\1\\.', text)


def _cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows as a person reads them."""
    header = ['backbone', 'mean ± sd', 'n', 'difference ± SE', 'not finished']
    header += [f'seed {seed}' for seed in comparison.seeds]
    rows = []
    for row in comparison.rows:
        mean = MISSING if row.mean is None else f'{row.mean:.2f} ± {_number(row.sd)}'
        difference = MISSING if row.difference is None else (
            f'{row.difference:+.2f} ± {_number(row.standard_error)}')
        if row.backbone == comparison.baseline:
            difference = 'baseline'
        n = f'{row.n}/{len(row.expected)}' if row.missing else str(row.n)
        rows.append([row.backbone, mean, n, difference, unfinished(row),
                     *(_number(row.values.get(seed)) for seed in comparison.seeds)])
    return header, rows


def _number(value: float | None) -> str:
    return MISSING if value is None else f'{value:.2f}'


def _unfinished(row: Row) -> list[tuple[int, str]]:
    counts = ((row.failed, 'failed'), (row.interrupted, 'interrupted'), (row.running, 'running'))
    return [(n, what) for n, what in counts if n]


def _pipes(cells: list[str]) -> str:
    return f'| {" | ".join(map(escape_markdown, cells))} |'


def _seeds(row: Row) -> str:
    return ', '.join(map(str, row.missing))


def _runs(count: int) -> str:
    return f'{count} run{"s" * (count != 1)}'
