"""The command line `refaug-det`: commands collected from an entry-point group.

Each stage, and anyone else's package, adds commands to `refaug_det.commands`;
their modules import what is heavy inside functions, so `--help` stays fast.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from cyclopts import App, CycloptsError

from refaug_det import __version__
from refaug_det.errors import UserError, exits_cleanly

GROUP = 'refaug_det.commands'


def app() -> App:
    """The application, with the commands of all installed packages."""
    made = App(name='refaug-det', version=__version__, help='Does an augmentation\'s gain in '
               'classification transfer to detection? Exit codes: 0 done, 2 bad input, '
               '130 interrupted.')
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        made.command(point.load(), name=point.name)
    return made


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after `refaug-det`; by default those of this process.
    """
    try:
        command, bound, _ = app().parse_args(
            sys.argv[1:] if argv is None else argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UserError(str(error), 'command line', 'see refaug-det --help') from None
    return command(*bound.args, **bound.kwargs) or 0


if __name__ == '__main__':
    sys.exit(main())
