"""`refaug-det analyze transfer`: does the order by accuracy predict the order by AP?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from refaug_det import answers

if TYPE_CHECKING:
    from refaug_det.comparison.accuracies import Runs
    from refaug_det.comparison.outcome import Comparison
    from refaug_det.reports.sections import Material, Section

SCHEMA = 1
TOP_1 = 'top-1'


@answers.document
def transfer(paths: list[Path], /, *, metric: str | None = None,
             classification_metric: str = TOP_1, accuracy: Path | None = None,
             resamples: int = 2000, json: bool = False, output: Annotated[
                 Path, Parameter(name=['--output', '-o'])] = Path('transfer')) -> Any:
    """Does accuracy predict AP? Rank correlations, and how much of a ranking is luck.

    An accuracy is that of the weights that were fine-tuned: from --accuracy, from the stage 1 run
    if it is among the paths, or from the zoo's card. Refuses runs that were not fine-tuned alike,
    and fewer than three backbones. Writes transfer.json, transfer.md, transfer.svg, transfer.png.

    Example: refaug-det analyze transfer work_dirs -o transfer

    Args:
        paths: run directories of both stages, or folders that hold them.
        metric: of detection (default: AP50 (11-point)).
        classification_metric: of stage 1, as in its run.json.
        accuracy: CSV of lines "backbone,accuracy" or JSON {"backbone": accuracy}, such as
            published numbers; it goes before what the runs say.
        resamples: of backbones and of runs, for the intervals.
        json: print transfer.json instead of tables.
        output: folder to write to.

    Returns:
        Exit code, 0.
    """
    from refaug_det import figures
    from refaug_det.comparison import accuracies, transfer_tables
    from refaug_det.comparison.compare import compare
    from refaug_det.errors import UserError
    from refaug_det.runs import files
    from refaug_det.tables import say, visible

    if resamples < 2:
        raise UserError(f'{resamples} resamples', '--resamples', 'at least 2; 2000 are usual')
    given = {} if accuracy is None else accuracies.read(accuracy)
    comparison = compare(paths, metric=metric)
    found = measure(comparison, stage_1_runs(paths), classification_metric, given, resamples)
    _refuse_few(found)
    shown = transfer_tables.tables(found)
    try:
        files.write_json(output / 'transfer.json', found)
        files.write_text(output / 'transfer.md', '\n'.join(
            table.to_markdown() for table in shown))
        figures.save(transfer_tables.draw(found), output / 'transfer')
    except OSError as error:
        raise UserError(f'cannot write the tables ({error.strerror or error})', output,
                        'name a folder that can be written to') from None
    if not json:
        say(lambda console: transfer_tables.show(shown, console))
    print(f'wrote {visible(str(output / "transfer"))}.{{json,md,svg,png}}')
    return found


def measure(comparison: Comparison, classification: Runs, classification_metric: str = TOP_1,
            given: Mapping[str, float] | None = None, resamples: int = 2000,
            in_zoo: bool = True) -> dict[str, Any]:
    """Correlations of accuracy with AP, and the stability of the ranking by AP.

    Args:
        comparison: with its trials.
        classification: id -> folder and record of the stage 1 runs that are here.
        classification_metric: of stage 1.
        given: backbone -> accuracy, as the user says; goes before all else.
        resamples: of backbones and of runs.
        in_zoo: whether to look for accuracies in the zoo too.

    Returns:
        What transfer.json holds. A correlation is None where it is undefined, or there are
        fewer than three backbones of known accuracy.
    """
    from refaug_det.comparison import accuracies
    from refaug_det.comparison.statistics import mean_interval

    assert comparison.trials is not None
    known, lacking = accuracies.of_backbones(
        comparison.trials, classification, classification_metric, given or {}, in_zoo)
    points, backbones = [], []
    for row in comparison.rows:
        if row.mean is None:
            continue
        values = list(row.values.values())
        interval = mean_interval(values)
        backbones.append(dict(
            backbone=row.backbone, values=values, mean=row.mean, sd=row.sd,
            interval=None if interval is None else [interval.low, interval.high]))
        if one := known.get(row.backbone):
            points.append(dict(backbones[-1], accuracy=one.value, source=one.source, run=one.run,
                               accuracy_sd=one.sd, accuracy_runs=one.runs))
    shown = {one['backbone'] for one in backbones}
    return dict(
        schema=SCHEMA, metric=comparison.metric, classification_metric=classification_metric,
        selection=comparison.selection, protocol=comparison.fingerprint, points=points,
        without=[dict(backbone=name, why=why) for name, why in lacking.items() if name in shown],
        unused=sorted(set(given or {}) - shown), correlations=_correlations(points, resamples),
        ranking=_ranking(backbones))


def stage_1_runs(paths: Sequence[Path]) -> dict[str, Any]:
    """Id -> folder and record of the stage 1 runs; of copies, one that is done."""
    from refaug_det.runs import records

    found: dict[str, Any] = {}
    for file, record in records.find(list(paths)):
        if record.stage == 'classification' and (
                record.id not in found or record.status == 'done'):
            found[record.id] = file.parent, record
    return found


def section(material: Material) -> Section | None:
    """Of a report; None with fewer than three backbones whose stage 1 runs are here.

    Not from the zoo: a report is the same wherever the runs lie.
    """
    from refaug_det.comparison import transfer_tables
    from refaug_det.comparison.transfer import LEAST
    from refaug_det.figures import to_svg
    from refaug_det.reports.sections import Picture, Section

    found = measure(material.comparison, material.classification, in_zoo=False)
    if len(found['points']) < LEAST:
        return None
    points, correlations, ranks = transfer_tables.tables(found)
    picture = Picture(to_svg(transfer_tables.draw(found)), 'svg', transfer_tables.alt(found),
                      transfer_tables.CAPTION)
    return Section('Does accuracy predict AP?', tuple(transfer_tables.words(found)),
                   tables=(correlations, points, ranks), pictures=(picture,))


def _correlations(points: list[dict[str, Any]], resamples: int) -> list[dict[str, Any] | None]:
    from refaug_det.comparison import transfer as numerics

    x, runs = [one['accuracy'] for one in points], [one['values'] for one in points]
    made: list[dict[str, Any] | None] = []
    for name in numerics.STATISTICS:
        one = numerics.correlate(x, runs, name, resamples)
        made.append(None if one is None else dict(
            name=name, value=one.value, method=one.method, p=one.p, exact=one.exact,
            over_backbones=[one.over_backbones.low, one.over_backbones.high],
            over_runs=None if one.over_runs is None else [one.over_runs.low, one.over_runs.high]))
    return made


def _ranking(backbones: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all backbones that have a value, best mean first."""
    from refaug_det.comparison import transfer as numerics

    runs = [one['values'] for one in backbones]
    return dict(backbones=backbones, probabilities=numerics.rank_probabilities(runs).tolist(),
                agreement=numerics.agreement(runs))


def _refuse_few(found: dict[str, Any]) -> None:
    from refaug_det.comparison.transfer import LEAST
    from refaug_det.errors import UserError

    count = len(found['points'])
    if count < LEAST:
        lacking = [f'{one["backbone"]}: {one["why"]}' for one in found['without']]
        shown = lacking[:4] + [f'and {len(lacking) - 4} more'] * (len(lacking) > 4)
        why = 'a rank correlation of two says nothing' if count == 2 else (
            f'it takes {LEAST} to correlate ranks')
        raise UserError(
            f'{found["classification_metric"]} is known of {count} backbone{"s" * (count != 1)} '
            f'with {found["metric"]}; {why}', '; '.join(shown) or 'the paths',
            'name the stage 1 runs too, or give --accuracy FILE, or fine-tune more backbones')
