"""How to make the numbers again, and what of them is not there."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from refaug_det.comparison import trials
from refaug_det.reports.sections import Listing, Missing, Section
from refaug_det.tables import MISSING, Table

if TYPE_CHECKING:
    from refaug_det.comparison.trials import Seed
    from refaug_det.reports.sections import Material
    from refaug_det.runs.records import RunRecord

_OF_ONE_PLACE = ('--work-dir', '--resume', '--overwrite')  # what only one run directory needs
_LONG = 24  # lines


def commands(material: Material) -> Section:
    """A command a backbone, as its runs recorded it, for both stages."""
    pretraining, tuning = [], []
    for _, record in material.sources.values():
        pretraining += _lines([record])
    for row in material.comparison.rows:
        tuning += _lines(list(material.trials.results.get(row.backbone, {}).values()))
    comparison = material.comparison
    again = shlex.join(['refaug-det', 'compare', 'RUNS', '--baseline', comparison.baseline,
                        '--metric', comparison.metric, '--test'])
    unknown = [name for name, run in material.origins.items() if run not in material.sources]
    words = ['As the runs recorded them; S stands for the seeds named.']
    if unknown:
        words.append(f'Not pretrained by a run that is here: {", ".join(unknown)}.')
    return Section('Commands', words=tuple(words), listings=tuple(
        Listing(title, '\n'.join(lines), len(lines) > _LONG) for title, lines in (
            ('Stage 1: pretraining', pretraining), ('Stage 2: fine-tuning', tuning),
            ('The table', [again])) if lines))


def fingerprints(material: Material) -> Section:
    """Digests of weights, data and protocol, and the versions everything ran with."""
    records = [record for seeds in material.trials.results.values() for record in seeds.values()]
    weights = [f'{digest or "no file: random, or not recorded":64}  {name}'
               for name, digest in material.trials.weights.items()]
    terms = records[0].protocol
    weights += [f'{terms[f"data.{split}.sha256"]!s:64}  {split} data'
                for split in ('train', 'test') if f'data.{split}.sha256' in terms]
    ran_on = [{**record.versions, 'device': _device(record), 'operators': record.operators}
              for record in records]
    facts = [(what, _kinds(one.get(what) for one in ran_on))
             for what in dict.fromkeys(key for one in ran_on for key in one)]
    fields = [f'{key} = {json.dumps(value, ensure_ascii=False)}' for key, value in terms.items()]
    return Section(
        'Fingerprints and versions',
        facts=(('Protocol', material.comparison.fingerprint), *facts),
        listings=(Listing('Weights of the backbones, and data (sha256)', '\n'.join(weights)),
                  Listing(f'The protocol, all {len(fields)} fields', '\n'.join(fields), True)))


def unfinished(material: Material) -> Section | None:
    """Runs that did not finish, seeds that were not run, values that were not measured."""
    found, comparison = material.trials, material.comparison
    rows = [(trials.name_of(record), MISSING if record.seed is None else str(record.seed),
             record.status, _first_line(record.error)) for record in found.unfinished]
    missing = [Missing(f'{row.backbone}: no finished run with seed '
                       f'{", ".join(map(str, row.missing))}.')
               for row in comparison.rows if row.missing]
    missing += [Missing(f'{row.backbone}: {row.unmeasured} finished without {comparison.metric}.')
                for row in comparison.rows if row.unmeasured]
    kept = ((comparison.set_aside, 'unfinished, of another protocol or with other weights: left '
             'out'), (comparison.copies, 'copies of a run that is counted once'),
            (comparison.repeats, 'repeats of a trial with equal results: counted once'),
            (comparison.classification_runs - len(material.sources),
             'of classification that no backbone of this table came from: left out'))
    notes = [f'{count} run{"s" * (count != 1)} {what}.' for count, what in kept if count > 0]
    tables = (Table('Runs that did not finish', ('backbone', 'seed', 'status', 'error'),
                    tuple(sorted(rows))),) if rows else ()
    words = () if rows or missing else ('Every run that was begun is finished and measured.',)
    return Section('Runs', words=words, tables=tables, missing=tuple(missing), notes=tuple(notes))


def noted(material: Material) -> Section | None:
    """What the runs themselves note: fallbacks, counts, versions in which they differ."""
    notes = material.comparison.notes
    if not notes:
        return None
    total = sum(len(seeds) for seeds in material.trials.results.values())
    return Section('Noted by the runs', tables=(Table(
        f'Notes in the records of {total} finished run{"s" * (total != 1)}', ('note', 'runs'),
        tuple((note, str(count)) for note, count in notes.items())),))


def _lines(records: Sequence[RunRecord]) -> list[str]:
    """A line a command; those that differ in the seed only are one."""
    seeds: dict[str, list[Seed]] = {}
    for record in records:
        seeds.setdefault(_line(record), []).append(record.seed)
    out = []
    for line, those in seeds.items():
        names = ', '.join(map(str, those))
        out += [f'# {trials.name_of(records[0])}, seed{"s" * (len(those) > 1)} {names}', line]
    return out


def _line(record: RunRecord) -> str:
    """The command, with S for the seed and without its run directory."""
    kept, before = [], ''
    words = []
    for word in map(str, record.command):
        words += word.split('=', 1) if word.startswith(('--seed=', '--work-dir=')) else [word]
    for word in words:
        if before != '--work-dir' and word not in _OF_ONE_PLACE:
            kept.append('S' if before == '--seed' else word)
        before = word
    return shlex.join(kept) or '(no command recorded)'


def _device(record: RunRecord) -> str:
    device = record.device
    parts = [str(device.get('name')), str(device.get('machine', ''))]
    parts += [f'{device[what]} {what if device[what] != 1 else one}' for what, one in (
        ('processes', 'process'), ('threads', 'thread')) if what in device]
    return ', '.join(part for part in parts if part)


def _kinds(values: Iterable[Any]) -> str:
    """One value, or each with the number of runs."""
    counts = Counter('not recorded' if value is None else str(value) for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return '; '.join(f'{kind} ({n} run{"s" * (n != 1)})' for kind, n in sorted(counts.items()))


def _first_line(text: str | None) -> str:
    return next(iter((text or '').strip().splitlines()), '')
