"""Run records -> rows of a table. A pure function of what runs leave, nothing else.

A row is a backbone, a trial is a seed. What cannot be compared is refused (`trials`);
what is missing, failed or left out is counted and shown.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from refaug_det.comparison import trials
from refaug_det.comparison.outcome import Comparison, Row
from refaug_det.comparison.trials import Seed, Trials
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord

METRIC = 'AP50 (11-point)'
BASELINE = 'standard'
NAMES_SHOWN = 8


def compare(paths: Iterable[Path | str], baseline: str | None = None, metric: str | None = None,
            test: bool = False, resamples: int = 1000) -> Comparison:
    """Compare the finished detection runs in or below `paths`.

    Args:
        paths: run directories, folders that hold them, or `run.json` files.
        baseline: backbone to take differences against. Default: the one whose name
            contains "standard", if it is the only one, else the first by name.
        metric: default the one the protocol reports first: `AP50 (11-point)` on VOC, `AP` on
            COCO.
        test: also judge which differences are real; reads the kept detections.
        resamples: of the test images, for the test.

    Raises:
        UserError: see `refaug_det.comparison.trials.collect`; an unknown metric or
            baseline; kept detections that cannot be read.
    """
    from refaug_det.comparison import significance

    found = of_trials(trials.collect(paths), baseline, metric)
    if not test:
        return found
    verdicts, best = significance.judge(found, resamples)
    return dataclasses.replace(found, verdicts=verdicts, best=best)


def of_trials(found: Trials, baseline: str | None = None,
              metric: str | None = None) -> Comparison:
    """As `compare` without a test, of runs that are read and checked."""
    finished = [record for seeds in found.results.values() for record in seeds.values()]
    metric = _metric(metric, finished)
    rows = _rows(found, metric)
    name = _baseline(baseline, sorted(rows))
    compared = [_against(rows[name], row) for row in rows.values()]
    compared.sort(key=lambda row: (row.mean is None, -(row.mean or 0), row.backbone))
    return Comparison(
        metric=metric, selection=found.selection, fingerprint=found.fingerprint, baseline=name,
        seeds=rows[name].expected, rows=tuple(compared),
        classification_runs=found.classification_runs, copies=found.copies,
        repeats=found.repeats, set_aside=found.set_aside, notes=_notes(finished), trials=found)


def _rows(found: Trials, metric: str) -> dict[str, Row]:
    """Backbone -> row, not yet compared with the baseline."""
    tried: set[Seed] = {seed for seeds in found.results.values() for seed in seeds}
    tried |= {record.seed for record in found.unfinished if isinstance(record.seed, int)}
    expected = tuple(sorted(tried, key=lambda seed: (seed is None, seed or 0)))
    ends = Counter((trials.name_of(record), record.status) for record in found.unfinished)
    rows = {}
    for name in {*found.results, *(name for name, _ in ends)}:
        results = found.results.get(name, {})
        values = {seed: value for seed in expected if seed in results
                  and (value := _value(results[seed], metric)) is not None}
        rows[name] = Row(
            name, found.weights.get(name), values, expected,
            mean=statistics.fmean(values.values()) if values else None,
            sd=statistics.stdev(values.values()) if len(values) > 1 else None,
            difference=None, standard_error=None, failed=ends[name, 'failed'],
            interrupted=ends[name, 'interrupted'], running=ends[name, 'running'],
            unmeasured=len(results) - len(values))
    return rows


def _against(baseline: Row, row: Row) -> Row:
    """The row with its difference to the baseline."""
    if row is baseline or row.mean is None or baseline.mean is None:
        return row
    error = None
    if row.sd is not None and baseline.sd is not None:
        error = math.sqrt(row.sd**2 / row.n + baseline.sd**2 / baseline.n)
    return dataclasses.replace(row, difference=row.mean - baseline.mean, standard_error=error)


def _notes(finished: list[RunRecord]) -> dict[str, int]:
    notes = Counter(note for record in finished for note in set(record.notes))
    ran_on = [{**record.versions, 'device': record.device.get('name'),
               'operators': record.operators} for record in finished]
    for what in {key for one in ran_on for key in one}:
        kinds = Counter(str(one.get(what)) for one in ran_on)
        if len(kinds) > 1:
            notes.update({f'{what}: {kind}': n for kind, n in kinds.items()})
    return dict(sorted(notes.items()))


def _metric(metric: str | None, finished: list[RunRecord]) -> str:
    names = sorted({name for record in finished for name in record.metrics
                    if _value(record, name) is not None},
                   key=lambda name: ('/' in name, name))  # those of single classes last
    firsts = {next(iter(record.metrics), METRIC) for record in finished}
    usual = firsts.pop() if len(firsts) == 1 else METRIC
    wanted = usual if metric is None else metric
    if wanted not in names:
        raise UserError(f'no run has the metric {wanted!r}', '--metric',
                        f'choose one of: {_listed(names)}' if names else
                        'evaluate the detectors: no run has any metric')
    return wanted


def _value(record: RunRecord, metric: str) -> float | None:
    value = record.metrics.get(metric)
    return None if value is None else float(value)


def _baseline(baseline: str | None, names: list[str]) -> str:
    """The row to compare with; `names` are sorted."""
    if baseline is None:
        standard = [name for name in names if BASELINE in name.casefold()]
        return standard[0] if len(standard) == 1 else names[0]
    if baseline not in names:
        near = difflib.get_close_matches(baseline, names, 1, 0)
        raise UserError(f'no backbone is called {baseline!r}', '--baseline',
                        f'did you mean {near[0]!r}? There are: {_listed(names)}')
    return baseline


def _listed(names: list[str]) -> str:
    more = f' and {len(names) - NAMES_SHOWN} more' if len(names) > NAMES_SHOWN else ''
    return ', '.join(map(trials.printable, names[:NAMES_SHOWN])) + more
