"""`refaug-det compare`: run directories to a table on the screen and in files."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from refaug_det.comparison.compare import compare
from refaug_det.comparison.tables import say, show, visible, write

if TYPE_CHECKING:
    from rich.console import Console


def compare_runs(paths: list[Path], /, *, baseline: str | None = None, metric: str | None = None,
                 output: Annotated[Path | None, Parameter(name=['--output', '-o'])] = None,
                 json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Compare backbones by what their detectors reached.

    Reads run.json files only. Refuses runs that were not fine-tuned alike.
    Example: refaug-det compare work_dirs --baseline r50_standard -o tables

    Args:
        paths: run directories, folders that hold them, or run.json files.
        baseline: backbone to take differences against (default: the one with
            "standard" in its name, else the first by name).
        metric: which metric to compare (default: AP50 (11-point)).
        output: folder to write comparison.md and comparison.csv to.
        json: print JSON instead of a table.

    Returns:
        Exit code, 0.
    """
    comparison = compare(paths, baseline=baseline, metric=metric)
    written = write(comparison, output) if output is not None else []
    if json:
        print(json_format.dumps(comparison.to_dict(), indent=2, allow_nan=False))
        return 0

    def draw(console: Console) -> None:
        show(comparison, console)
        for path in written:
            console.print(f'wrote {visible(str(path))}', markup=False, highlight=False)

    say(draw)
    return 0
