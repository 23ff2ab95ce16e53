"""`refaug-det analyze errors`: what each type of error costs each backbone's detectors."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from refaug_det import answers

if TYPE_CHECKING:
    from detection.error_types import Overlaps
    from refaug_det.comparison.outcome import Comparison
    from refaug_det.comparison.trials import Seed
    from refaug_det.runs.records import RunRecord

SCHEMA = 1
AGREES = 1e-6  # percentage points; another numpy may round otherwise


@answers.document
def errors(paths: list[Path], /, *, iou: Annotated[tuple[float, ...], Parameter(
        consume_multiple=True)] = (0.5, 0.75), mode: str = '11-point',
        baseline: str | None = None, json: bool = False,
        output: Annotated[Path, Parameter(name=['--output', '-o'])] = Path('errors')) -> Any:
    """Errors by type and the AP that fixing each would add, by backbone, mean over seeds.

    Types: classification, localisation, both, duplicate, background and missed, as in TIDE
    (Bolya et al. 2020), on the matching of the metric. Reads run.json and detections.npz files
    only. Refuses runs that were not fine-tuned alike. Writes errors.json, errors.md, errors.svg
    and errors.png.

    Example: refaug-det analyze errors work_dirs --baseline r50_standard -o errors

    Args:
        paths: run directories of stage 2, or folders that hold them.
        iou: thresholds above 0.1; a section and a panel each.
        mode: of AP, 11-point (VOC 2007) or area.
        baseline: backbone to take differences against (default: as refaug-det compare).
        json: print errors.json instead of tables; progress goes to stderr.
        output: folder to write to.

    Returns:
        Exit code, 0.
    """
    from detection import error_tables, error_types
    from refaug_det import figures
    from refaug_det.comparison.compare import compare
    from refaug_det.errors import UserError
    from refaug_det.runs import files
    from refaug_det.tables import say, visible

    if not iou or not all(error_types.BACKGROUND < t <= 1 for t in iou) or (
            mode not in error_types.MODES):
        raise UserError(f'--iou {" ".join(map(str, iou))} --mode {mode}', 'analyze errors',
                        f'thresholds in ({error_types.BACKGROUND}, 1], 11-point or area')
    iou = tuple(dict.fromkeys(iou))
    found = measure(compare(paths, baseline=baseline), iou, mode, _folders(paths))
    try:
        files.write_json(output / 'errors.json', found)
        files.write_text(output / 'errors.md', '\n'.join(
            error_tables.table(found, threshold).to_markdown()
            for threshold in found['arms'][0]['at']))
        figures.save(error_tables.draw(found), output / 'errors')
    except OSError as error:
        raise UserError(f'cannot write the tables ({error.strerror or error})', output,
                        'name a folder that can be written to') from None
    if not json:
        say(lambda console: error_tables.show(found, console))
    print(f'wrote {visible(str(output / "errors"))}.{{json,md,svg,png}}')
    return found


def measure(comparison: Comparison, iou: Sequence[float], mode: str,
            where: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """The errors of every backbone with a finished run, in the order of the rows.

    Args:
        comparison: with its trials.
        iou: thresholds above `error_types.BACKGROUND`.
        mode: of AP, 11-point or area.
        where: run id -> folder with its detections; by default where the trials lie.

    Returns:
        What errors.json holds.

    Raises:
        UserError: a run without detections, or with those of another.
    """
    from detection import error_types
    from refaug_det.runs.jobs import told

    found = comparison.trials
    assert found is not None
    runs = [(row.backbone, seed, record) for row in comparison.rows
            for seed, record in found.results.get(row.backbone, {}).items()]
    values: dict[str, dict[Seed, list[dict[str, Any]]]] = {name: {} for name, *_ in runs}
    for name, seed, record in told(runs, 'errors'):
        near = _overlaps(found.places[name][seed] if where is None else where[record.id], record)
        values[name][seed] = [error_types.decompose(near, threshold, mode) for threshold in iou]
    arms = [dict(backbone=name, sha256=found.weights.get(name), seeds=list(seeds),
                 at={f'{threshold:g}': _at([of_seed[n] for of_seed in seeds.values()])
                     for n, threshold in enumerate(iou)}) for name, seeds in values.items()]
    return dict(schema=SCHEMA, mode=mode, background=error_types.BACKGROUND,
                protocol=comparison.fingerprint, selection=comparison.selection,
                baseline=comparison.baseline, arms=arms)


def _at(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One threshold of one backbone, over its seeds."""
    from detection import error_types

    return dict(
        ap=_spread([of_seed['ap'] for of_seed in seeds]),
        **{what: {kind: _spread([of_seed[what][kind] for of_seed in seeds])
                  for kind in error_types.TYPES} for what in ('gain', 'count')},
        **{what: _spread([of_seed[what] for of_seed in seeds]) for what in ('objects', 'found')})


def _folders(paths: list[Path]) -> dict[str, Path]:
    """Where each run is; of copies, the first that has its detections."""
    from detection.detections import FILE_NAME
    from refaug_det.runs import records

    where: dict[str, Path] = {}
    for path, record in records.find(list(paths)):
        kept = where.setdefault(record.id, path.parent)
        if not (kept / FILE_NAME).is_file() and (path.parent / FILE_NAME).is_file():
            where[record.id] = path.parent
    return where


def _overlaps(folder: Path, record: RunRecord) -> Overlaps:
    """Those of a run's detections, which must be the ones that its metrics are of."""
    from detection import detections, error_types
    from detection.evaluate import VOC_MODES
    from refaug_det.errors import UserError

    near = error_types.overlaps(detections.load(folder))
    for mode, name in zip(error_types.MODES, VOC_MODES, strict=True):
        value = error_types.average_precision(near, near.matching, 0.5, mode)
        recorded = record.metrics.get(name, value)
        if (value is None) != (recorded is None) or (
                value is not None and recorded is not None and abs(value - recorded) > AGREES):
            raise UserError(f'these detections have an {name} of {value}, the record says '
                            f'{recorded}', folder, 'restore the two files of the run, or evaluate '
                            'the detector again')
    return near


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds that have a value, and every seed's value."""
    known = [value for value in values if value is not None]
    return dict(mean=statistics.fmean(known) if known else None,
                sd=statistics.stdev(known) if len(known) > 1 else None, values=list(values))
