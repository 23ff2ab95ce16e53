"""Compare backbones by what their detectors reached.

    python tools/compare.py work_dirs/det
    python tools/compare.py runs/a runs/b --baseline standard -o tables
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from refaug_det.comparison.commands import compare_runs
from refaug_det.errors import ArgumentParser, exits_cleanly


def parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('paths', nargs='+', type=Path, metavar='PATH',
        help='run directory, folder that holds some, or run.json')
    add('--baseline', metavar='NAME', help='backbone to take differences against '
        '(default: the one with "standard" in its name, else the first by name)')
    add('--metric', metavar='NAME', help='metric to compare (default: AP50 (11-point))')
    add('-o', '--output', type=Path, metavar='DIR',
        help='write comparison.md and comparison.csv there')
    add('--test', action='store_true', help='also say which differences are real')
    add('--json', action='store_true', help='print JSON instead of a table')
    return parser


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 2 where the runs cannot be compared."""
    args = parser().parse_args(argv)
    return compare_runs(args.paths, baseline=args.baseline, metric=args.metric, test=args.test,
                        output=args.output, json=args.json)


if __name__ == '__main__':
    sys.exit(main())
