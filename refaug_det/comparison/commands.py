"""`refaug-det compare`: run directories to a table on the screen and in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console


def compare_runs(paths: list[Path], /, *, baseline: str | None = None, metric: str | None = None,
                 test: Annotated[bool, Parameter(negative=())] = False, resamples: int = 1000,
                 by: Literal['class', 'size'] | None = None,
                 output: Annotated[Path | None, Parameter(name=['--output', '-o'])] = None,
                 json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Compare backbones by what their detectors reached.

    Reads run.json files, and with --test the kept detections. Refuses runs that were not
    fine-tuned alike. Example: refaug-det compare work_dirs --baseline r50_standard --test

    Args:
        paths: run directories, folders that hold them, or run.json files.
        baseline: backbone to take differences against (default: the one with
            "standard" in its name, else the first by name).
        metric: which metric to compare (default: AP50 (11-point) on VOC, AP on COCO).
        test: also say which differences are real: 95 % intervals over runs and, for AP50, test
            images, permutation tests, how many runs would show them; the best is bold only then.
        resamples: of the test images, for --test.
        by: also a table by class, or by size of objects.
        output: folder to write comparison.md, .tex, .html, .csv and the figure (.svg, .png) to.
        json: print JSON instead of tables.

    Returns:
        Exit code, 0.
    """
    from refaug_det import figures
    from refaug_det.answers import print_json
    from refaug_det.comparison import tables
    from refaug_det.comparison.compare import compare
    from refaug_det.tables import say, visible

    found = compare(paths, baseline, metric, test, resamples)
    parts = found.parts(by) if by else {}
    shown = found.tables() + ([tables.breakdown_table(found, by, parts)] if by else [])
    written: list[Path] = []
    if output is not None:
        written = tables.write(found, shown, output)
        written += figures.save(found.plot(), output / tables.STEM)
    if json:
        value = found.to_dict()
        if by:
            value[f'by_{by}'] = {part: one.to_dict()['rows'] for part, one in parts.items()}
        print_json(value)
        return 0

    def draw(console: Console) -> None:
        for number, table in enumerate(shown):
            console.print('\n' * (number > 0), end='')
            table.show(console)
        if test and not found.verdicts:
            console.print(f'No difference to {visible(found.baseline)} can be tested: it takes two '
                          'runs of it, and of another.', markup=False, highlight=False)
        for path in written:
            console.print(f'wrote {visible(str(path))}', markup=False, highlight=False)

    say(draw)
    return 0
