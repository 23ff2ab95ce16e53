"""One table, shown in any form: terminal, Markdown, LaTeX, HTML.

Cells come from files that others wrote. Whatever is in them, a table shows it as text.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from refaug_det import escapes
from refaug_det.escapes import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from rich.console import Console

MISSING = '—'
FOLDED = 12  # letters of the first column that are kept on a line


@dataclass(frozen=True)
class Table:
    """Text in rows; the first column is words, the others are numbers.

    Attributes:
        title: what the numbers are.
        header: a word a column.
        rows: as many cells each as the header has.
        notes: what a reader must know, a sentence each.
        bold: (row, column) of the cells that stand out.
        optional: how many columns at the end a narrow terminal does without.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()
    optional: int = 0

    def show(self, console: Console) -> None:
        """Print it; rich honours NO_COLOR.

        Where the terminal is too narrow, the optional columns go, and the note says so; what is
        still too wide is printed whole, and the terminal breaks the lines: no number is cut.
        """
        from rich.table import Table as Grid
        from rich.text import Text

        header, notes = self.header, self.notes
        if self.optional and sum(self._widths()) > console.width:
            header = header[:-self.optional]
            notes = (*notes, f'Left out, as the terminal is narrow: {self.optional} columns.')
        grid = Grid(box=None, pad_edge=False, header_style='bold', padding=(0, 2, 0, 0))
        for column, name in enumerate(header):
            grid.add_column(Text(visible(name)), overflow='fold', no_wrap=column > 0,
                            justify='left' if column == 0 else 'right',
                            min_width=FOLDED if column == 0 else None)
        for row, cells in enumerate(self.rows):
            grid.add_row(*(Text(visible(cell), style='bold' if (row, column) in self.bold else '')
                           for column, cell in enumerate(cells[:len(header)])))
        console.print(Text(visible(self.title), style='bold'))
        width, (first, *others) = console.width, self._widths()[:len(header)]
        console.width = max(width, min(first, FOLDED + 2) + sum(others))
        console.print(grid)
        console.width = width
        for line in notes:
            console.print(Text(visible(line), style='dim'))

    def _widths(self) -> list[int]:
        """Of the columns in a terminal, with the gap after each."""
        from rich.cells import cell_len

        return [max(cell_len(visible(cell)) for cell in column) + 2
                for column in zip(self.header, *self.rows, strict=True)]

    def to_text(self) -> str:
        """The terminal's table as plain text, as wide as it needs to be."""
        from rich.console import Console

        console = Console(file=io.StringIO(), width=max(500, sum(self._widths())),
                          color_system=None, legacy_windows=False)
        with console.capture() as captured:
            self.show(console)
        return captured.get()

    def to_markdown(self) -> str:
        """Title, table and notes in Markdown (GFM)."""
        lines = [f'**{escapes.markdown(visible(self.title).strip())}**', '',
                 _pipes(map(escapes.markdown, self.header)),
                 '|:--|' + '--:|' * (len(self.header) - 1)]
        lines += [_pipes(row) for row in self._cells(escapes.markdown, '**{}**')]
        lines += ['', *(f'- {escapes.markdown_line(line)}' for line in self.notes)]
        return '\n'.join(lines) + '\n'

    def to_latex(self) -> str:
        """A `table` in LaTeX, with a caption; it needs the packages booktabs and textcomp."""
        lines = [r'\begin{table}', r'\centering', rf'\caption{{{escapes.latex(self.title)}}}',
                 rf'\begin{{tabular}}{{l{"r" * (len(self.header) - 1)}}}', r'\toprule',
                 ' & '.join(map(escapes.latex, self.header)) + r' \\', r'\midrule']
        lines += [' & '.join(row) + r' \\' for row in self._cells(escapes.latex, r'\textbf{{{}}}')]
        lines += [r'\bottomrule', r'\end{tabular}']
        lines += [rf'\par\footnotesize {escapes.latex(line)}' for line in self.notes]
        return '\n'.join([*lines, r'\end{table}']) + '\n'

    def to_html(self) -> str:
        """A `<table>` and its notes: a fragment, without style or script."""
        return environment().get_template('table.html').render(table=self)

    _repr_html_ = to_html

    def __str__(self) -> str:
        return self.to_text()

    def _cells(self, escape: Callable[[str], str], strong: str) -> list[list[str]]:
        return [[strong.format(escape(visible(cell).strip()))  # at a space, none would begin
                 if (row, column) in self.bold and cell else escape(cell)
                 for column, cell in enumerate(cells)] for row, cells in enumerate(self.rows)]


@lru_cache(1)
def environment() -> Environment:
    """Jinja2 with this package's templates: all is escaped, and an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(loader=PackageLoader('refaug_det'), autoescape=True,
                       undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters['visible'] = visible
    return made


def say(draw: Callable[[Console], Any]) -> None:
    """Print what `draw` shows on a console, as well as the terminal's encoding can."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 500,  # rich's NO_COLOR leaves bold
                      color_system=None if os.environ.get('NO_COLOR') else 'auto')
    with console.capture() as captured:
        draw(console)
    encoding = sys.stdout.encoding or 'utf-8'  # it may lack the dash
    print(captured.get().encode(encoding, 'replace').decode(encoding), end='')


def _pipes(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'
