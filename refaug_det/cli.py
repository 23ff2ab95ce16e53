"""The command line `refaug-det`: commands collected from an entry-point group.

Each stage, and anyone else's package, adds commands to `refaug_det.commands`;
their modules import what is heavy inside functions, so `--help` stays fast. A
dotted name, such as `analyze.risk`, is the subcommand `refaug-det analyze risk`.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import Literal

from cyclopts import App, CycloptsError, Parameter

from refaug_det import __version__
from refaug_det.errors import UserError, exits_cleanly

GROUP = 'refaug_det.commands'
# What a group of subcommands does, since no one module owns it.
GROUPS = {'analyze': 'Ask a checkpoint what an augmentation did to the model.',
          'data': 'Prepare data sets, and check them.',
          'protocol': 'Show what must be equal for two APs to be comparable.'}
EXIT_CODES = ('Exit codes: 0 done; 1 done, and the answer is no (doctor: a fault, protocol diff: '
              'they differ); 2 bad input, or bad data (data check); 130 Ctrl-C; 143 SIGTERM.')


def app() -> App:
    """The application, with the commands of all installed packages."""
    made = App(
        name='refaug-det', version=__version__, help="Does an augmentation's gain in "
        'classification transfer to detection?', help_epilogue=EXIT_CODES,
        default_parameter=Parameter(negative=()), console=_plain_console())  # no --no-json
    made.command(completion)
    groups: dict[str, App] = {'': made}
    for point in sorted({*entry_points(group=GROUP)}, key=lambda p: p.name):
        group, _, name = point.name.rpartition('.')
        if group not in groups:
            groups[group] = App(name=group, help=GROUPS.get(group, ''))
            made.command(groups[group])
        try:
            groups[group].command(point.load(), name=name)
        except Exception as error:  # someone else's package: the other commands still work
            print(f'warning: no command {point.name!r}, {point.value} cannot be loaded: '
                  f'{type(error).__name__}: {error}', file=sys.stderr)
    return made


def completion(shell: Literal['bash', 'zsh', 'fish'], /) -> int:
    """Print what completes commands and options in a shell.

    Example: refaug-det completion bash > ~/.local/share/bash-completion/completions/refaug-det

    Args:
        shell: bash, zsh or fish; zsh takes it as the file _refaug-det in a folder of its fpath,
            fish as ~/.config/fish/completions/refaug-det.fish.

    Returns:
        Exit code, 0.
    """
    print(app().generate_completion(shell=shell))
    return 0


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


def _plain_console():
    """A console without any escape codes where NO_COLOR asks for one; rich's own leaves bold."""
    if not os.environ.get('NO_COLOR'):
        return None
    from rich.console import Console
    return Console(color_system=None)


if __name__ == '__main__':
    sys.exit(main())
