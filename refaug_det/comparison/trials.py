"""Which run records are trials of one comparison: merged, checked, refused if they differ.

A trial is one finished detection run of a backbone with a seed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs import records
from refaug_det.runs.records import RunRecord

FIELDS_SHOWN = 5

Seed = int | None
Run = tuple[Path, RunRecord]


@dataclass(frozen=True)
class Trials:
    """Runs that may stand in one table.

    Attributes:
        results: backbone name -> seed -> the record of that trial.
        places: backbone name -> seed -> the run directory of that record.
        weights: backbone name -> sha256 of its weights, None where unknown.
        unfinished: records of failed, interrupted and running runs.
        fingerprint: of the protocol that all of `results` share.
        selection: which checkpoint was measured, such as `last epoch`.
        classification_runs: stage 1 records, left out.
        copies: further copies of a run (same id).
        repeats: further runs of a trial (same backbone and seed) with equal metrics.
        set_aside: unfinished runs of another protocol or with other weights.
    """

    results: dict[str, dict[Seed, RunRecord]]
    places: dict[str, dict[Seed, Path]]
    weights: dict[str, str | None]
    unfinished: list[RunRecord]
    fingerprint: str
    selection: str
    classification_runs: int
    copies: int
    repeats: int
    set_aside: int


def collect(paths: Iterable[Path | str]) -> Trials:
    """Read all records in or below `paths`, in any order, and check them.

    Raises:
        UserError: no finished detection run; runs of different protocols; a trial with
            two results; two weights under one backbone name; a malformed record.
    """
    found = records.find(list(paths))
    stage_1 = {str(record.id) for _, record in found if record.stage == 'classification'}
    runs, copies = _without_copies([run for run in found if run[1].stage == 'detection'])
    done = [run for run in runs if run[1].status == 'done']
    unfinished = [record for _, record in runs if record.status != 'done']
    if not done:
        counts = Counter(record.status for record in unfinished)
        told = ', '.join(f'{n} {status}' for status, n in sorted(counts.items()))
        raise UserError('no finished detection run to compare',
                        f'found {told or "no detection run"}; {len(stage_1)} of classification',
                        'let a run of tools/train_det.py finish, or name its folder')
    for path, record in done:
        _check(path, record)
    _same_protocol(done)
    weights = _weights(done)
    results, places = _results(done)
    fingerprint = protocol.fingerprint(done[0][1].protocol)
    here = [record for record in unfinished if _belongs(record, fingerprint, weights)]
    return Trials(
        results, places, weights, here, fingerprint, done[0][1].selection, len(stage_1), copies,
        repeats=len(done) - sum(len(seeds) for seeds in results.values()),
        set_aside=len(unfinished) - len(here))


def name_of(record: RunRecord) -> str:
    """The backbone's name; a run that failed early has only its own."""
    backbone = record.backbone if isinstance(record.backbone, dict) else {}
    return str(backbone.get('name') or record.name)


def printable(text: str) -> str:
    """Text that may go into an error message: no control characters."""
    return text if text.isprintable() else text.encode('unicode_escape').decode('ascii')


def _without_copies(found: list[Run]) -> tuple[list[Run], int]:
    """One record per run id; a finished copy outranks one made while the run went on."""
    by_id: dict[str, list[Run]] = defaultdict(list)
    for run in found:
        by_id[str(run[1].id)].append(run)
    rank = ('running', 'interrupted', 'failed', 'done')
    kept = []
    for group in by_id.values():
        group.sort(key=lambda run: rank.index(run[1].status))
        last = group[-1]
        for path, record in group[:-1]:
            if record.status == 'done' and _content(record) != _content(last[1]):
                raise UserError('two copies of one run disagree', f'{path}, {last[0]}',
                                'one was edited: remove it')
        kept.append(last)
    return sorted(kept, key=lambda run: run[0]), len(found) - len(kept)


def _content(record: RunRecord) -> str:
    return _text([record.backbone, record.seed, record.metrics, _terms(record)])


def _check(path: Path, record: RunRecord) -> None:
    """What a finished detection record must hold to take part."""
    backbone = record.backbone if isinstance(record.backbone, dict) else {}
    metrics = record.metrics.values() if isinstance(record.metrics, dict) else ['']
    notes = record.notes if isinstance(record.notes, list) else [None]
    usable = {
        'backbone.name': isinstance(backbone.get('name'), str) and bool(backbone['name']),
        'backbone.sha256': isinstance(backbone.get('sha256'), (str, type(None))),
        'seed': record.seed is None or type(record.seed) is int,
        'selection': isinstance(record.selection, str),
        'metrics': all(value is None or (type(value) in (int, float) and abs(value) < 1e100)
                       for value in metrics),
        'protocol': isinstance(record.protocol, dict) and bool(record.protocol),
        'versions': isinstance(record.versions, dict),
        'device': isinstance(record.device, dict),
        'notes': all(isinstance(note, str) for note in notes),
    }
    wrong = [name for name, right in usable.items() if not right]
    if wrong:
        raise UserError(f'a finished detection record without usable {wrong[0]}', path,
                        'restore the file, or run the job again')


def _same_protocol(done: list[Run]) -> None:
    """Refuse runs that differ in the protocol or in which checkpoint was measured."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in done:
        groups[protocol.fingerprint(_terms(run[1]))].append(run)
    if len(groups) == 1:
        return
    (_, common), (_, other), *_ = sorted(
        groups.items(), key=lambda item: (-len(item[1]), item[0]))
    fields = protocol.differences(_terms(other[0][1]), _terms(common[0][1]))
    shown = [f'{printable(key)}: {_short(a)} / {_short(b)}' for key, a, b in fields[:FIELDS_SHOWN]]
    if len(fields) > FIELDS_SHOWN:
        shown.append(f'... and {len(fields) - FIELDS_SHOWN} more')
    raise UserError(
        f'these runs follow {len(groups)} protocols, so their APs cannot be compared; '
        f'they differ in {"; ".join(shown)}', f'{other[0][0]} / {common[0][0]}',
        'compare runs of one protocol, or repeat the others under it')


def _terms(record: RunRecord) -> dict[str, Any]:
    return {**record.protocol, 'selection': record.selection}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return printable(text if len(text) <= 40 else text[:37] + '...')


def _weights(done: list[Run]) -> dict[str, str | None]:
    """Backbone name -> digest of its weights; an unknown digest equals no known one."""
    weights: dict[str, tuple[str | None, Path]] = {}
    for path, record in done:
        name, digest = name_of(record), (record.backbone or {}).get('sha256')
        known, where = weights.setdefault(name, (digest, path))
        if known != digest:
            raise UserError(
                f'two different weights under the name {name!r}: sha256 {str(known)[:12]} and '
                f'{str(digest)[:12]}', f'{where}, {path}', 'give each backbone its own name')
    return {name: digest for name, (digest, _) in weights.items()}


def _results(done: list[Run]) -> tuple[dict[str, dict[Seed, RunRecord]],
                                       dict[str, dict[Seed, Path]]]:
    """Backbone name -> seed -> record, and its run directory."""
    results: dict[str, dict[Seed, RunRecord]] = defaultdict(dict)
    places: dict[str, dict[Seed, Path]] = defaultdict(dict)
    for path, record in done:
        name = name_of(record)
        first = results[name].setdefault(record.seed, record)
        place = places[name].setdefault(record.seed, path.parent)
        if _text(first.metrics) != _text(record.metrics):
            raise UserError(f'two results for one trial: {name!r}, seed {record.seed}',
                            f'{place}, {path.parent}', 'leave one out, or give each its own seed')
    return dict(results), dict(places)


def _belongs(record: RunRecord, fingerprint: str, weights: dict[str, str | None]) -> bool:
    """Whether an unfinished run is of this table, as far as its record knows."""
    digest = record.backbone.get('sha256') if isinstance(record.backbone, dict) else None
    terms = record.protocol if isinstance(record.protocol, dict) else {}
    return ((not terms or protocol.fingerprint(terms) == fingerprint)
            and digest in (None, weights.get(name_of(record), digest)))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
