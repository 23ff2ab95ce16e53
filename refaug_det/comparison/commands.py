"""`refaug-det compare`: run directories to a table on the screen and in files."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from refaug_det.comparison import trials
from refaug_det.comparison.compare import of_trials
from refaug_det.comparison.tables import say, show, show_cells, visible, write

if TYPE_CHECKING:
    from rich.console import Console


def compare_runs(paths: list[Path], /, *, baseline: str | None = None, metric: str | None = None,
                 test: Annotated[bool, Parameter(negative=())] = False, resamples: int = 1000,
                 output: Annotated[Path | None, Parameter(name=['--output', '-o'])] = None,
                 json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Compare backbones by what their detectors reached.

    Reads run.json files, and with --test the kept detections. Refuses runs that were not
    fine-tuned alike. Example: refaug-det compare work_dirs --baseline r50_standard --test

    Args:
        paths: run directories, folders that hold them, or run.json files.
        baseline: backbone to take differences against (default: the one with
            "standard" in its name, else the first by name).
        metric: which metric to compare (default: AP50 (11-point)).
        test: also say which differences are real: 95 % intervals over runs and test images,
            permutation tests, how many runs would show them.
        resamples: of the test images, for --test.
        output: folder to write comparison.md and comparison.csv to.
        json: print JSON instead of a table.

    Returns:
        Exit code, 0.
    """
    from refaug_det.comparison import significance

    found = trials.collect(paths)
    comparison = of_trials(found, baseline=baseline, metric=metric)
    judged = significance.verdicts(comparison, found, resamples) if test else []
    written = write(comparison, output) if output is not None else []
    if json:
        verdicts = dict(verdicts=significance.to_dicts(judged)) if test else {}
        print(json_format.dumps({**comparison.to_dict(), **verdicts}, indent=2, allow_nan=False))
        return 0

    def draw(console: Console) -> None:
        show(comparison, console)
        if judged:
            console.print()
            show_cells('Is the difference real?', significance.HEADER, significance.cells(judged),
                       significance.notes(comparison), console)
        elif test:
            console.print('Nothing to test: it takes two seeds of the baseline and of another.')
        for path in written:
            console.print(f'wrote {visible(str(path))}', markup=False, highlight=False)

    say(draw)
    return 0
