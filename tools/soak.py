"""Measure the figures of reliability at full size, and print their table; hours on 2 cores.

    python tools/soak.py -o soak
    python tools/soak.py --only R1,R14 --fast

Each figure is what tests marked `figure` have counted; `make test` runs them at a smaller size.
Exits with 1 where a figure is missed: a case that went wrong, too few cases, or a failed test.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from refaug_det.errors import ArgumentParser, UserError, exits_cleanly
from refaug_det.runs import environment, files, records

ROOT = Path(__file__).parents[1]
FIGURES = {  # number: what is counted as missed, and at least how many cases there must be
    'R1': ('random SIGKILLs of stage 1 after which the final weights differ', 200),
    'R2': ('the same, of a small Faster R-CNN', 50),
    'R3': ('kills inside a write that leave an unusable state', 40),
    'R4': ('settings of workers and persistence, and of threads of a resumed run, with other '
           'final weights', 12),
    'R5': ('samples after the switch that are augmented; equal streams of two epochs', 1000),
    'R6': ('kills of a grid by which a row is lost, doubled or redone', 20),
    'R7': ('acknowledged rows lost by killed writers, and torn files', 1600),
    'R8': ('malformed inputs without exit code 2, file and remedy in three lines', 60),
    'R9': ('silent VOC cases that the check does not report, and false alarms', 12),
    'R10': ('hostile files whose payload runs or escapes', 20),
    'R11': ('wrong, partial or foreign weights that are not stopped with the reason', 10),
    'R12': ('updates or saved weights after a loss that is not finite', 20),
    'R13': ('full disks that lose a checkpoint, leave a part, or change the result', 20),
    'R14': ('SIGTERMs after which the final weights differ', 20),
    'R15': ('launches of two processes that differ, hang, or resume to other weights', 10),
    'R16': ('files of earlier versions that do not load', 5),
    'R17': ('hostile names that become markup in a report or table', 500),
    'R18': ('limits of import, help and first screen that are not kept', 3)}


class Counter:
    """Collects, as pytest's plugin, what the tests of each figure counted and how they ended."""

    def __init__(self, path: Path, wanted: list[str]) -> None:
        self.path, self.numbers = path, {}
        self.found = {number: dict(missed=0, of=0, failed=[], seconds=0.0, left=0)
                      for number in wanted}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        markers = {item.nodeid: item.get_closest_marker('figure') for item in items}
        self.numbers = {node: marker.args[0] for node, marker in markers.items()
                        if marker and marker.args[0] in self.found}
        items[:] = [item for item in items if item.nodeid in self.numbers]
        for number in self.numbers.values():
            self.found[number]['left'] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = self.found[self.numbers[report.nodeid]]
        found['seconds'] += report.duration
        if not report.passed:  # a skipped test has shown nothing either
            found['failed'].append(f'{report.nodeid}: {report.outcome}')
        found['left'] -= report.when == 'teardown'
        if report.when == 'call':
            for missed, of in (value for key, value in report.user_properties if key == 'cases'):
                found['missed'] += missed
                found['of'] += of
        files.write_json(self.path, self.found)


def markdown(found: dict, fast: bool) -> tuple[str, bool]:
    """The table, and whether all its figures are reached."""
    lines, reached = ['| | missed | cases | of | |', '|:--|--:|--:|:--|:--|'], True
    for number, one in found.items():
        what, least = FIGURES[number]
        failed = len(one['failed']) + one['left']
        good = not one['missed'] and not failed and one['of'] >= (1 if fast else least)
        reached &= good
        end = 'reached' if good else f'NOT REACHED: {failed} tests not passed'
        lines.append(f'| {number} | {one["missed"]} | {one["of"]} (of {least} asked) | {what} '
                     f'| {end} |')
    return '\n'.join(lines), reached


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('-o', '--output', type=Path, default=Path('soak'), metavar='DIR',
                        help='keep soak.json, after every test, and soak.md there')
    parser.add_argument('--only', metavar='R1,R2', help='measure these figures')
    parser.add_argument('--fast', action='store_true', help='at the size of make test')
    args = parser.parse_args(argv)
    wanted = args.only.split(',') if args.only else list(FIGURES)
    if unknown := [number for number in wanted if number not in FIGURES]:
        raise UserError(f'no such figure: {unknown[0]}', '--only', f'one of {", ".join(FIGURES)}')
    counter = Counter(args.output / 'soak.json', wanted)
    pytest.main(['--rootdir', str(ROOT), '-c', str(ROOT / 'pyproject.toml'), str(ROOT / 'tests'),
                 *([] if args.fast else ['--full'])], plugins=[counter])
    text, reached = markdown(counter.found, args.fast)
    versions = environment.versions()
    text += (f'\n\n{records.now()[:10]}, {os.cpu_count()} cores, {environment.device()["name"]}, '
             f'Python {versions["python"]}, torch {versions["torch"]}, '
             f'{"test" if args.fast else "full"} size.')
    files.write_text(args.output / 'soak.md', text + '\n')
    print(text)
    return 0 if reached else 1


if __name__ == '__main__':
    sys.exit(main())
