"""`refaug-det eval`: the metrics of kept detections, without running a detector again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refaug_det import answers

if TYPE_CHECKING:
    from refaug_det.tables import Table


def evaluate(paths: list[Path], /, *, json: bool = False) -> int:
    """Recompute every metric from the detections that runs kept.

    Reads detections.npz files only.

    Example: refaug-det eval work_dirs --json

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
        answers.print_json([dict(run=run, metrics=metrics) for run, metrics in results.items()])
        return 0
    from refaug_det.tables import say

    say(_table(results).show)
    return 0


def _table(results: dict[str, dict[str, float | None]]) -> Table:
    """A row a run, a column a metric over all classes."""
    from refaug_det.tables import MISSING, Table

    names = list(dict.fromkeys(name for metrics in results.values()
                               for name in metrics if '/' not in name))
    rows = tuple((run, *(MISSING if (value := metrics.get(name)) is None else f'{value:.2f}'
                         for name in names)) for run, metrics in results.items())
    return Table('All metrics, in percent', ('run', *names), rows)
