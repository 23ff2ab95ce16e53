"""`refaug-det eval`: the metrics of kept detections, without running a detector again."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(paths: list[Path], /, *,
             json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Recompute every metric from the detections that runs kept.

    Reads detections.npz files only. Example: refaug-det eval work_dirs --json

    Args:
        paths: run directories of stage 2, folders that hold them, or detections.npz files.
        json: print JSON, with the metrics of every class, instead of a table.

    Returns:
        Exit code, 0.
    """
    from detection import detections
    from detection.evaluate import metrics_of

    results = {str(path if path.name != detections.FILE_NAME else path.parent):
               metrics_of(detections.load(path)) for path in detections.find(paths)}
    if json:
        rows = [dict(run=run, metrics=metrics) for run, metrics in results.items()]
        print(json_format.dumps(rows, indent=2, allow_nan=False))
        return 0
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=500)
    with console.capture() as captured:
        console.print(_table(results))
    encoding = sys.stdout.encoding or 'utf-8'  # it may lack the dash
    print(captured.get().encode(encoding, 'replace').decode(encoding), end='')
    return 0


def _table(results: dict[str, dict[str, float | None]]) -> Table:
    """A row a run, a column a metric over all classes; in percent."""
    from rich.table import Table
    from rich.text import Text

    from refaug_det.comparison.tables import MISSING, visible

    names = list(dict.fromkeys(name for metrics in results.values()
                               for name in metrics if '/' not in name))
    table = Table(box=None, pad_edge=False, header_style='bold', padding=(0, 2, 0, 0))
    table.add_column('run, in percent', overflow='fold')
    for name in names:
        table.add_column(name, justify='right')
    for run, metrics in results.items():
        values = (metrics.get(name) for name in names)
        table.add_row(Text(visible(run)), *(MISSING if value is None else f'{value:.2f}'
                                            for value in values))
    return table
