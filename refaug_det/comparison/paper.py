"""The paper's tables, published beside measured: which runs stand for which cell.

`paper.json` lists the cells: a config, what is read from its runs, and the published
number. A run stands for a cell when its resolved config is the recipe's.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refaug_det.comparison import recipes
from refaug_det.comparison.recipes import Recipe
from refaug_det.comparison.selection import Spread, select, spread
from refaug_det.errors import UserError
from refaug_det.runs import records
from refaug_det.runs.records import RunRecord

CELLS = Path(__file__).with_name('paper.json')
RISK_OPTIONS = dict(images=None, bn='eval', clean='center')
WEIGHTS = (' --weights augmented', '')  # of `refaug-det analyze risk`; by default the last


@dataclass(frozen=True)
class Cell:
    """One number of the paper.

    Attributes:
        row, column: where it stands.
        config: recipe of the run that yields it, from the root of the repository.
        metric: of that run; accuracies and AP in percent, risks x 1e-3 nats.
        rule: see `refaug_det.comparison.selection.select`; `risk`: see `risk_of`.
        published: as printed; None where the paper gives a curve only.
        phase: of the run's epochs; None for all of a run without refinement.
        options: what is put into the config, as with `--cfg-options`.
        backbone: stage 2: name of the backbone that is fine-tuned.
        pretraining: stage 2: config that yields that backbone.
    """

    row: str
    column: str
    config: str
    metric: str
    rule: str
    published: str | None
    phase: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    backbone: str | None = None
    pretraining: str | None = None

    @property
    def recipe(self) -> Recipe:
        """What must be run for it; cells of one run have equal recipes."""
        return Recipe(self.config, tuple(sorted(self.options.items())), self.backbone,
                      self.pretraining)


@dataclass(frozen=True)
class Exhibit:
    """A table or figure of the paper.

    Attributes:
        name: such as `table1`.
        title: what its numbers are.
        seeds: of the runs that fill it.
        note: what is known of the published numbers.
        cells: in the paper's order.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Measured:
    """An exhibit and the runs found for it.

    Attributes:
        exhibit: as published.
        values: cell -> seed -> value, in the cells' order.
        runs: recipe -> seed -> run directory.
        left_out: run directory -> why it, or a number of it, is in no cell.
    """

    exhibit: Exhibit
    values: tuple[Mapping[int | None, float], ...]
    runs: Mapping[Recipe, Mapping[int | None, Path]]
    left_out: tuple[tuple[Path, str], ...] = ()

    def spread(self, number: int) -> Spread:
        """Of the runs of a cell."""
        return spread(list(self.values[number].values()))

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able: a cell has `published`, `mean`, `sd`, `n`, `difference`, ..."""
        cells = []
        for number, cell in enumerate(self.exhibit.cells):
            found = self.spread(number)
            cells.append(dict(
                row=cell.row, column=cell.column, config=cell.config, options=dict(cell.options),
                backbone=cell.backbone, phase=cell.phase, metric=cell.metric, rule=cell.rule,
                published=None if cell.published is None else float(cell.published),
                mean=found.mean, sd=found.sd, low=found.low, high=found.high, n=found.n,
                difference=difference(cell, found),
                values={str(seed): value for seed, value in self.values[number].items()}))
        return dict(exhibit=self.exhibit.name, title=self.exhibit.title, note=self.exhibit.note,
                    cells=cells, left_out=[dict(run=str(path), why=why)
                                           for path, why in self.left_out],
                    commands=commands(self))


def exhibits(path: Path | str = CELLS) -> dict[str, Exhibit]:
    """Name -> exhibit, all of the paper's."""
    listed = json.loads(Path(path).read_text(encoding='utf-8'))['exhibits']
    return {name: Exhibit(name, one['title'], tuple(one['seeds']), one['note'],
                          tuple(Cell(**cell) for cell in one['cells']))
            for name, one in listed.items()}


def exhibit(name: str) -> Exhibit:
    """One of them.

    Raises:
        UserError: there is none of that name.
    """
    known = exhibits()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise UserError(f'the paper has no {name!r}', 'refaug-det paper',
                        f'did you mean {near[0]!r}?' if near else f'one of: {", ".join(known)}')
    return known[name]


def difference(cell: Cell, found: Spread) -> float | None:
    """Measured less published; None where either is missing."""
    if found.mean is None or cell.published is None:
        return None
    return found.mean - float(cell.published)


def measure(exhibit: Exhibit, paths: Sequence[Path | str]) -> Measured:
    """Fill an exhibit from the finished runs in or below `paths`.

    Raises:
        UserError: a path without records, a malformed record, or no recipes here.
    """
    wanted = list(dict.fromkeys(cell.recipe for cell in exhibit.cells))
    runs: dict[Recipe, dict[int | None, tuple[Path, RunRecord]]] = {one: {} for one in wanted}
    left_out: list[tuple[Path, str]] = []
    for file, record in records.find(list(paths)) if paths else ():
        recipe, why = recipes.of_run(file.parent, record, wanted)
        if recipe is not None and record.seed in runs[recipe]:
            why = (f'seed {record.seed} is counted already, as '
                   f'{runs[recipe][record.seed][0].name}')
        elif recipe is not None:
            runs[recipe][record.seed] = (file.parent, record)
        if why:
            left_out.append((file.parent, why))
    values: list[dict[int | None, float]] = []
    for cell in exhibit.cells:
        values.append({})
        for seed, (run_dir, record) in sorted(runs[cell.recipe].items(), key=_by_seed):
            value, why = value_of(run_dir, record, cell)
            if value is not None:
                values[-1][seed] = value
            elif why:
                left_out.append((run_dir, f'{cell.row}, {cell.column}: {why}'))
    found = {recipe: {seed: run_dir for seed, (run_dir, _) in by_seed.items()}
             for recipe, by_seed in runs.items()}
    return Measured(exhibit, tuple(values), found, tuple(left_out))


def value_of(run_dir: Path, record: RunRecord, cell: Cell) -> tuple[float | None, str]:
    """What a run of a cell's recipe gives for the cell; else None and why."""
    if cell.rule == 'risk':
        return risk_of(run_dir, record, cell)
    if record.stage == 'detection':
        value = record.metrics.get(cell.metric)
        if isinstance(value, (int, float)):
            return value, ''
        return None, f'no {cell.metric} in its record'
    metric = cell.metric.removesuffix(' error')
    found = select(rows_of(run_dir), cell.phase, metric, cell.rule)
    if found.value is None or metric == cell.metric:
        return found.value, found.lacking
    return 100 - found.value, ''


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    """The epochs of a run.

    Raises:
        UserError: they are not JSON.
    """
    from refaug_det.runs import history  # not at the top: it loads mmengine
    try:
        rows = history.read(run_dir)
        if all(isinstance(row, dict) and isinstance(row.get('epoch'), int) and all(
                value is None or isinstance(value, (int, float)) for key, value in row.items()
                if key != 'phase') for row in rows):
            return rows
        wrong = 'its rows are no epochs'
    except ValueError as error:
        wrong = str(error)
    raise UserError(f'the history cannot be read ({wrong})', run_dir / history.FILE_NAME,
                    'restore the file or run the job again')


def risk_of(run_dir: Path, record: RunRecord, cell: Cell) -> tuple[float | None, str]:
    """A risk of Table 2, x 1e-3 nats, of the weights at the end of the cell's phase.

    Read from `risk.json`, which `refaug-det analyze risk` leaves in a run directory. The
    augmented risk is that of the images the phase trains on: 4.7e-3 after Mixup's
    refinement lies below the entropy of mixed targets.

    Raises:
        UserError: the file is no analysis of this version.
    """
    from refaug_det.runs import results
    weights = 'augmented' if cell.phase == 'augmented' else 'last'
    found = [entry for entry in results.read(run_dir / 'risk.json')
             if entry.get('run') == record.id and entry.get('weights') == weights]
    if not found:
        return None, ''
    entry, options = found[0], found[0].get('options') or {}
    if entry.get('status') != 'done' or any(options.get(key) != value
                                            for key, value in RISK_OPTIONS.items()):
        return None, f'its risk.json ({weights}) is not of the finished run and all images, with ' \
                     'analyze risk\'s own options'
    risk = entry.get('clean_train' if cell.metric == 'clean risk' else str(entry.get('trained_on')))
    if not isinstance(risk, dict) or not isinstance(risk.get('value'), (int, float)):
        return None, f'no {cell.metric} of the {weights} weights in its risk.json'
    return 1000 * risk['value'], ''


def commands(measured: Measured) -> list[str]:
    """What to run for the numbers that are missing, in the order to run it in."""
    lines: list[str] = []
    for recipe in measured.runs:
        runs = measured.runs[recipe]
        missing = [seed for seed in measured.exhibit.seeds if seed not in runs]
        if missing:
            lines += recipes.commands(recipe, missing)
        if any(cell.rule == 'risk' and not measured.values[number]
               for number, cell in enumerate(measured.exhibit.cells) if cell.recipe == recipe):
            lines += [f'refaug-det analyze risk {runs.get(seed) or recipe.work_dir(seed)}{weights}'
                      for seed in measured.exhibit.seeds for weights in WEIGHTS]
    return list(dict.fromkeys(lines))


def _by_seed(item: tuple[int | None, Any]) -> tuple[bool, int]:
    return item[0] is None, item[0] or 0

