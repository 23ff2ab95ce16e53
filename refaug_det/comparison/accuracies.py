"""How well each backbone of a comparison classifies: of the very weights that were fine-tuned."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refaug_det.backbones import zoo
from refaug_det.comparison.trials import Trials
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord

FILE, RUN, ZOO = 'the file', 'stage 1 run', 'zoo'
AUGMENTED, REFINED = '-augmented', '-refined'  # what a run with a refinement registers
SEED = 'randomness.seed'  # the key in which the configs of two runs of one recipe differ

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
    """

    value: float
    source: str
    run: str | None = None
    sd: float | None = None
    runs: int = 1


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
    return _with_spread(known, classification, metric), lacking


def read(path: Path) -> dict[str, float]:
    """Backbone -> accuracy, as a file says: CSV of two columns, with or without a header, or JSON.

    Raises:
        UserError: not such a file; a backbone named twice; a value that is no finite number.
    """
    what = 'give CSV with lines of "backbone,accuracy", or JSON: {"backbone": accuracy}'
    try:
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'the accuracies cannot be read ({error})', path, what) from None
    try:
        pairs = (json.loads(text, object_pairs_hook=list) if path.suffix.lower() == '.json'
                 else [row for row in csv.reader(io.StringIO(text)) if row])
        if path.suffix.lower() != '.json' and pairs and not _is_number(pairs[0][-1]):
            pairs = pairs[1:]  # the header
        read = [(str(name).strip(), float(value)) for name, value in pairs]
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f'the accuracies cannot be read ({error})', path, what) from None
    found = dict(read)
    if not found or len(found) < len(read) or not all(map(math.isfinite, found.values())):
        raise UserError('no accuracy, two of one backbone, or one that is not finite', path, what)
    return found


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
    rows = [row for row in rows_of(folder) if row.get('phase') == 'augmented']
    return _number(rows[-1].get(metric)) if rows else None


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


def _recipe(folder: Path) -> str | None:
    """Equal for runs that differ in their seed alone; None where the config is not kept."""
    from refaug_det.runs import config as configs
    from refaug_det.runs import directory, files
    stored = folder / directory.RESOLVED
    if not stored.is_file():
        return None
    try:
        found = configs.significant(json.loads(stored.read_text(encoding='utf-8')))
    except (ValueError, AttributeError) as error:
        raise UserError(f'the config is not JSON ({error})', stored,
                        'restore the file or run the job again') from None
    return files.digest({key: value for key, value in found.items() if key != SEED})


def _number(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
