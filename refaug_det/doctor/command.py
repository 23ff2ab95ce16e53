"""`refaug-det doctor`: versions, operators, GPU, data sets, space, and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from refaug_det import answers
from refaug_det.doctor.findings import FAULT, GROUP, OK, WARNING, Finding, Places, examine

if TYPE_CHECKING:
    from rich.console import Console

CHECKS = {'Python': 'packages.python', 'packages': 'packages.packages', 'forks': 'packages.owners',
          'OpenCV': 'packages.opencv', 'torch': 'engine.torch_', 'GPU': 'engine.gpu',
          'JPEG': 'engine.jpeg', 'zoo': 'stores.zoo', 'data sets': 'stores.data_sets',
          'disk': 'machine.disk', 'shared memory': 'machine.shared_memory',
          'cores': 'machine.cores', 'open files': 'machine.open_files',
          'leftovers': 'stores.left_behind'}
STYLES = {OK: 'green', WARNING: 'yellow', FAULT: 'bold red'}


def doctor(*, data_root: Path | None = None, work_dirs: Path = Path('work_dirs'),
           json: bool = False) -> int:
    """Check versions, operators, GPU, data sets and disk, and say what to do.

    Changes nothing. Exit code 1 if there is a fault: something that cannot run as it is.
    A warning is no fault.

    Example: refaug-det doctor --data-root data

    Args:
        data_root: folder of data sets, in which, and in whose folders, they are looked for.
        work_dirs: folder of run directories: its disk is looked at, and what killed runs left.
        json: print JSON instead of a table.

    Returns:
        Exit code: 0 without faults, 1 with any.
    """
    with answers.aside(json):
        findings = list(examine(checks(), Places(data_root, work_dirs)))
    counts = {status: sum(one.status == status for one in findings) for status in STYLES}
    if json:
        answers.print_json(dict(counts, findings=[one._asdict() for one in findings]))
    else:
        from refaug_det import tables
        tables.say(lambda console: show(findings, console))
        print(f'{counts[FAULT] or "no"} fault{"s" * (counts[FAULT] != 1)}, '
              f'{counts[WARNING] or "no"} warning{"s" * (counts[WARNING] != 1)}')
    return 1 if counts[FAULT] else 0


def checks() -> list:
    """Name and loader of every check: ours, and those of the group `refaug_det.checks`."""
    own = [(name, partial(_own, *at.split('.'))) for name, at in CHECKS.items()]
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return own + [(point.name, point.load) for point in points]


def _own(module: str, function: str):
    return getattr(import_module(f'refaug_det.doctor.{module}'), function)


def show(findings: Sequence[Finding], console: Console) -> None:
    """A row a finding, what to do below what was found; names in it come from others."""
    from rich.table import Table
    from rich.text import Text

    from refaug_det.escapes import visible

    table = Table(box=None, pad_edge=False, header_style='bold', padding=(0, 2, 0, 0))
    for column in ('what', 'status', 'found'):
        table.add_column(column, overflow='fold')
    for one in findings:
        text = Text(visible(one.found))
        if one.fix and one.status != OK:
            text.append(f'\nto do: {visible(one.fix)}', style='bold')
        table.add_row(Text(visible(one.name)), Text(one.status, style=STYLES[one.status]), text)
    console.print(table)
