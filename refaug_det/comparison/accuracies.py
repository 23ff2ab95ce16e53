"""How well each backbone of a comparison classifies: of the very weights that were fine-tuned."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refaug_det.backbones import zoo
from refaug_det.comparison.trials import Trials
from refaug_det.errors import UserError
from refaug_det.runs import files
from refaug_det.runs.records import RunRecord

FILE, RUN, ZOO = 'the file', 'stage 1 run', 'zoo'
AUGMENTED, REFINED = '-augmented', '-refined'  # what a run with a refinement registers
SEED = 'randomness.seed'  # the key in which the configs of two runs of one recipe differ
START, START_SUM = 'refined_from.file', 'refined_from.sha256'  # and for refinements of runs
HEADERS, LACKING = ('backbone', 'name'), ('nan', 'n/a', 'na', 'none', 'null')
REMEDY = 'give CSV with lines of "backbone,accuracy", or JSON: {"backbone": accuracy}'

Runs = Mapping[str, tuple[Path, RunRecord]]


@dataclass(frozen=True)
class Accuracy:
    """A classification metric of a backbone's weights.

    Attributes:
        value: of these weights: they come from one stage 1 run, whatever its other seeds reached.
        source: where it was found, one of the three above.
        run: id of that stage 1 run; None where it is not known.
        sd: standard deviation over the runs of the same config that are here, this one
            included, at the same phase; None with fewer than two.
        runs: how many these are.
        recipe: equal for weights of runs that differ in their seed alone, and of one run.
        phase: which weights of a run: `augmented`, `end`, or the name of others.
    """

    value: float
    source: str
    run: str | None = None
    sd: float | None = None
    runs: int = 1
    recipe: str = ''
    phase: str = ''


def of_backbones(found: Trials, classification: Runs, metric: str, given: Mapping[str, float],
                 in_zoo: bool = True) -> tuple[dict[str, Accuracy], dict[str, str]]:
    """Look for each backbone's accuracy: in the user's file, in its stage 1 run, in the zoo.

    The zoo counts where its weights are those that were fine-tuned, by their sha256.

    Args:
        found: the detection runs.
        classification: id -> folder and record of the stage 1 runs that are here.
        metric: of classification, such as `top-1`.
        given: backbone -> accuracy, as the user says.
        in_zoo: whether to look in the zoo too, which another machine does not have.

    Returns:
        Backbone -> accuracy; and for the others, why there is none.

    Raises:
        UserError: a history or a card that cannot be read.
    """
    known: dict[str, Accuracy] = {}
    lacking: dict[str, str] = {}
    for name, seeds in found.results.items():
        run = (next(iter(seeds.values())).backbone or {}).get('run')
        here = classification.get(run) if run else None
        if name in given:
            known[name] = Accuracy(given[name], FILE, run)
        elif here and (value := _of_run(*here, name, metric)) is not None:
            known[name] = Accuracy(value, RUN, run)
        elif in_zoo and (value := _of_card(name, found.weights.get(name), metric)) is not None:
            known[name] = Accuracy(value, ZOO, run)
        else:
            lacking[name] = (
                f'its stage 1 run has no {metric} of these weights' if here else
                'its stage 1 run is not among the paths' if run else 'no stage 1 run is known')
    known = _with_spread(known, classification, metric)
    return {name: _with_origin(name, one, found.weights.get(name) if in_zoo else None,
                               classification) for name, one in known.items()}, lacking


def read(path: Path, backbones: Collection[str] = ()) -> dict[str, float]:
    """Backbone -> accuracy, as a file says: CSV of two columns, with or without a header, or JSON.

    Args:
        path: the file.
        backbones: of the comparison: a line that begins with one is no header.

    Raises:
        UserError: not such a file; a backbone named twice; a value that is no finite number.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
        read = _of_json(text) if path.suffix.lower() == '.json' else _of_csv(text, path, backbones)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        raise UserError(f'the accuracies cannot be read ({str(error)[:150]})', path,
                        REMEDY) from None
    found = dict(read)
    if not found or len(found) < len(read) or not all(map(math.isfinite, found.values())):
        raise UserError('no accuracy, two of one backbone, or one that is not finite', path, REMEDY)
    return found


def _of_json(text: str) -> list[tuple[str, float]]:
    pairs = json.loads(text, object_pairs_hook=tuple)  # of pairs, as a name may come twice
    if not isinstance(pairs, tuple):
        raise TypeError('no object')
    wrong = [name for name, value in pairs if isinstance(value, bool)]
    if wrong:
        raise TypeError(f'true or false for {wrong[0]!r}')
    return [(name.strip(), float(value)) for name, value in pairs]


def _of_csv(text: str, path: Path, backbones: Collection[str]) -> list[tuple[str, float]]:
    read, reader = [], csv.reader(io.StringIO(text))
    for number, row in enumerate(row for row in reader if row):
        cells = [cell.strip() for cell in row]
        try:
            name, value = cells
            read.append((name, float(value)))
        except ValueError:
            if number or not _is_header(cells, backbones):
                raise UserError(f'no backbone and accuracy: {",".join(row)[:150]!r}',
                                f'{path}, line {reader.line_num}', REMEDY) from None
    return read


def _is_header(cells: list[str], backbones: Collection[str]) -> bool:
    """Whether a first line names the columns, and is not an accuracy that cannot be read."""
    if len(cells) != 2:
        return False
    first, second = cells
    return first.casefold() in HEADERS or (
        first not in backbones and any(map(str.isalpha, second))
        and not any(map(str.isdigit, second)) and second.casefold() not in LACKING)


def _of_run(folder: Path, record: RunRecord, name: str, metric: str) -> float | None:
    """Of the weights that a run registered under a name; None for others of that run."""
    if name not in record.registered:
        return None
    return _at_phase(folder, record, _is_augmented(name, record), metric)


def _is_augmented(name: str, record: RunRecord) -> bool:
    """Whether a name is that of the weights before the switch."""
    stem = name.removesuffix(AUGMENTED)
    return stem != name and f'{stem}{REFINED}' in record.registered


def _at_phase(folder: Path, record: RunRecord, augmented: bool, metric: str) -> float | None:
    """At the end of the run, or of its augmented phase."""
    if not augmented:
        return _number(record.metrics.get(metric))
    from refaug_det.comparison.paper import rows_of
    from refaug_det.runs import history
    rows = [row for row in rows_of(folder) if row.get('phase') == 'augmented']
    return _number(history.test_metrics(rows[-1]).get(metric)) if rows else None


def _of_card(name: str, sha256: str | None, metric: str) -> float | None:
    if sha256 is None or name not in zoo.names():
        return None
    card = zoo.card(name)
    return _number(card.metrics.get(metric)) if card.sha256 == sha256 else None


def _with_spread(known: dict[str, Accuracy], classification: Runs,
                 metric: str) -> dict[str, Accuracy]:
    """The same, with the spread over the runs of the same config."""
    alike: dict[str, list[tuple[Path, RunRecord]]] = defaultdict(list)
    for folder, record in classification.values():
        if record.status == 'done' and (recipe := _recipe(folder)):
            alike[recipe].append((folder, record))
    out = {}
    for name, one in known.items():
        here = classification.get(one.run or '')
        if here is not None and one.source == RUN:
            augmented = _is_augmented(name, here[1])
            values = [value for folder, record in alike.get(_recipe(here[0]) or '', [])
                      if (value := _at_phase(folder, record, augmented, metric)) is not None]
            if len(values) > 1:
                one = replace(one, sd=statistics.stdev(values), runs=len(values))
        out[name] = one
    return out


def _with_origin(name: str, one: Accuracy, sha256: str | None, classification: Runs) -> Accuracy:
    """The same, with its recipe and phase; those of the zoo's card where the run is not here.

    A card knows the config file alone: what has the same is taken to be of one recipe, as points
    that are too few mislead no one.
    """
    recipe, phase = None, name
    if here := classification.get(one.run or ''):
        folder, record = here
        recipe = _recipe(folder) or record.config
        phase = ('augmented' if _is_augmented(name, record) else 'end'
                 ) if name in record.registered else name
    elif sha256 and name in zoo.names() and (card := zoo.card(name)).sha256 == sha256:
        config = str(card.provenance.get('config') or '')
        recipe = next((same for folder, record in classification.values() if config
                       and record.config == config and (same := _recipe(folder))), config)
        if 'augmentation_ended' in card.provenance:  # a run's own, of no other epoch
            phase = 'augmented' if name.endswith(AUGMENTED) else 'end'
    return replace(one, recipe=files.digest(recipe or one.run or name)[:12], phase=phase)


def _recipe(folder: Path) -> str | None:
    """Equal for runs that differ in their seed alone; None where the config is not kept."""
    from refaug_det.runs import config as configs
    from refaug_det.runs import directory
    stored = folder / directory.RESOLVED
    if not stored.is_file():
        return None
    try:
        found = configs.significant(json.loads(stored.read_text(encoding='utf-8')))
    except (ValueError, AttributeError) as error:
        raise UserError(f'the config is not JSON ({error})', stored,
                        'restore the file or run the job again') from None
    # what a run leaves has the same name whatever its seed, unlike a file from elsewhere
    of_run = str(found.get(START, '')).startswith(('weights_', 'iter_'))
    seeded = (SEED, START_SUM) if of_run else (SEED,)
    return files.digest({key: value for key, value in found.items() if key not in seeded})


def _number(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None
