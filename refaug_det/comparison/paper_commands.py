"""`refaug-det paper`: a table of the paper, published beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from refaug_det import answers

if TYPE_CHECKING:
    from rich.console import Console

    from refaug_det.comparison.paper import Measured
    from refaug_det.tables import Table

HEADER = ('cell', 'published', 'measured ± sd', 'n', 'difference')


def show_exhibit(exhibit: str, paths: list[Path] | None = None, /, *,
                 output: Annotated[Path | None, Parameter(name=['--output', '-o'])] = None,
                 json: bool = False) -> int:
    """Show a table of the paper: published, measured, and the commands that fill the blanks.

    A run counts where it is finished and its config is the recipe's of that cell.

    Example: refaug-det paper table1 work_dirs

    Args:
        exhibit: table1 to table6, or figure4.
        paths: run directories, folders that hold them, or run.json files.
        output: folder to write EXHIBIT.md to.
        json: print JSON instead of a table.

    Returns:
        Exit code, 0.
    """
    from refaug_det.comparison import paper
    from refaug_det.errors import UserError
    from refaug_det.runs import files
    from refaug_det.tables import say

    measured = paper.measure(paper.exhibit(exhibit), paths or [])
    if output is not None:
        try:
            files.write_text(output / f'{exhibit}.md', to_markdown(measured))
        except OSError as error:
            raise UserError(f'cannot write the table ({error.strerror or error})', output,
                            'name a folder that can be written to') from None
    if json:
        answers.print_json(measured.to_dict())
    else:
        say(lambda console: show(measured, console))
    return 0


def show(measured: Measured, console: Console) -> None:
    """Print the table, its notes, and the commands as they can be pasted."""
    from refaug_det.comparison import paper

    table(measured).show(console)
    missing = paper.commands(measured)
    if missing:
        console.print('\nTo fill what is missing:', style='bold')
    for line in missing:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def to_markdown(measured: Measured) -> str:
    """The same in Markdown (GFM), the commands as a block of code."""
    from refaug_det.comparison import paper

    text = table(measured).to_markdown()
    missing = [f'    {line}' for line in paper.commands(measured)]
    return '\n'.join([text, 'To fill what is missing:\n', *missing, '']) if missing else text


def table(measured: Measured) -> Table:
    """A row a cell of the paper; blank where nothing was run."""
    from refaug_det.comparison import paper
    from refaug_det.tables import Table

    out = []
    for number, cell in enumerate(measured.exhibit.cells):
        found, digits = measured.spread(number), 1 if cell.rule == 'risk' else 2
        off = paper.difference(cell, found)
        mean = '' if found.mean is None else f'{found.mean:.{digits}f}'
        sd = '' if found.sd is None else f' ± {found.sd:.{digits}f}'
        if measured.exhibit.name == 'figure4' and found.n > 1:  # the paper draws the range
            sd += f' [{found.low:.{digits}f}, {found.high:.{digits}f}]'
        out.append((f'{cell.row}, {cell.column}', cell.published or '', mean + sd,
                    str(found.n or ''), '' if off is None else f'{off:+.{digits}f}'))
    return Table(measured.exhibit.title, HEADER, tuple(out), tuple(notes(measured)))


def notes(measured: Measured) -> list[str]:
    """What a reader must know, one sentence each."""
    rules = ', '.join(dict.fromkeys(cell.rule for cell in measured.exhibit.cells))
    seeds = ', '.join(map(str, measured.exhibit.seeds))
    lines = [measured.exhibit.note, f'Measured: {rules}; mean ± standard deviation over n runs of '
             f'distinct seeds. Wanted: seed {seeds}.']
    return lines + [f'Left out: {path}: {why}.' for path, why in measured.left_out]
