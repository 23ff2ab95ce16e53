"""`refaug-det compare`: run directories to a table on the screen and in files."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from refaug_det.comparison.compare import compare
from refaug_det.comparison.tables import show, visible, write


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
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=500)
    with console.capture() as captured:
        show(comparison, console)
        for path in written:
            console.print(f'wrote {visible(str(path))}', markup=False, highlight=False)
    encoding = sys.stdout.encoding or 'utf-8'  # it may lack the dash
    print(captured.get().encode(encoding, 'replace').decode(encoding), end='')
    return 0
