"""What a check finds, and how checks are run so that whatever is broken is a line, not a crash.

Each stage, and anyone else's package, adds checks in the group `refaug_det.checks`: functions
that take `Places` and give findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from refaug_det.errors import UserError

GROUP = 'refaug_det.checks'
OK, WARNING, FAULT = 'ok', 'warning', 'fault'


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: what was looked at, a word or three.
        status: `ok`; `warning`: all runs, though not as it should; `fault`: something cannot run.
        found: what is there, in plain words.
        fix: what to do about it.
    """

    name: str
    status: str
    found: str
    fix: str = ''


class Places(NamedTuple):
    """Where to look.

    Attributes:
        data_root: folder that holds data sets; None if none was named.
        work_dirs: folder that holds run directories; it need not exist.
    """

    data_root: Path | None = None
    work_dirs: Path = Path('work_dirs')


Check = Callable[[Places], Iterable[Finding]]


def examine(checks: Iterable[tuple[str, Callable[[], Check]]], places: Places) -> Iterator[Finding]:
    """The findings of all checks; one that fails is itself a fault.

    Args:
        checks: name, and what loads the check: an import can fail too.
        places: see `Places`.
    """
    for name, load in checks:
        try:
            yield from load()(places)
        except UserError as error:
            where = f': {error.where}' if error.where else ''
            yield Finding(name, FAULT, f'{error.what}{where}', error.fix)
        except (Exception, SystemExit) as error:
            if isinstance(error, OSError) and error.filename is not None:
                yield Finding(name, FAULT, f'cannot read {error.filename}: {error.strerror}',
                              'change its rights, or name another folder')
                continue
            again = 'install refaug-det again' if isinstance(error, ImportError) else 'report it'
            yield Finding(name, FAULT, f'this check failed: {type(error).__name__}: '
                          f'{first_line(error)}', f'mend the faults above it first; else {again}')


def first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return next(iter(str(error).strip().splitlines()), '')
