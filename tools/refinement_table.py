"""What refinement did to the runs of a folder, and what batch-norm statistics alone did.

    python tools/refinement_table.py work_dirs

Reads stage 1 runs with a refinement, and those of `tools/refine.py --batch-norm-only` that
started from their weights before the switch; prints the table in Markdown: mean ± standard
deviation over seeds, Student's 95 % intervals of differences paired by seed.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from refaug_det.comparison.statistics import mean_interval
from refaug_det.errors import ArgumentParser, UserError, exits_cleanly
from refaug_det.runs import directory, files, history, records

WEIGHTS, METRIC = 'weights_augmented.safetensors', 'top-1'


def collect(folders: list[Path]) -> dict[str, dict[int, list[float | None]]]:
    """Config -> seed -> metric before the switch, with new statistics only, and at the end."""
    found = [(file.parent, record) for file, record in records.find(list(folders))
             if record.stage == 'classification' and record.status == 'done']
    recalibrated = {}
    for run, _ in found:
        config = files.read_json(run / directory.RESOLVED, 'the config', dict)
        if config['optim_wrapper'].get('type') == 'RefAugNoUpdate':
            recalibrated[config['refined_from']['sha256']] = history.read(run)[-1][METRIC]
    table: dict[str, dict[int, list[float | None]]] = defaultdict(dict)
    for run, record in found:
        if (run / WEIGHTS).is_file():
            rows = history.read(run)
            before = [row for row in rows if row['phase'] == 'augmented'][-1][METRIC]
            table[Path(record.config).stem][record.seed or 0] = [
                before, recalibrated.get(files.sha256_of(run / WEIGHTS)), rows[-1][METRIC]]
    return table


def markdown(table: dict[str, dict[int, list[float | None]]]) -> str:
    """A row a config; blank where a seed lacks the number, or there is one seed only."""
    lines = [f'| {METRIC} | n | augmented | statistics only | refined | refined - augmented '
             '[95 %] | statistics - augmented [95 %] |', '|:--|' + '--:|' * 6]
    for name, seeds in sorted(table.items()):
        columns = list(zip(*seeds.values(), strict=True))
        cells = [_spread(column) for column in columns]
        cells += [_difference(columns[which], columns[0]) for which in (2, 1)]
        lines.append(f'| {name} | {len(seeds)} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _spread(values: tuple) -> str:
    if None in values or len(values) < 2:
        return ''
    return f'{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}'


def _difference(after: tuple, before: tuple) -> str:
    if None in (*after, *before):
        return ''
    found = mean_interval([a - b for a, b in zip(after, before, strict=True)])
    return '' if found is None else f'{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]'


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('paths', nargs='+', type=Path, help='run directories, or their folders')
    if not (table := collect(parser.parse_args(argv).paths)):
        raise UserError('no finished run with a refinement', 'PATH', 'name stage 1 runs')
    print(markdown(table))
    return 0


if __name__ == '__main__':
    sys.exit(main())
