"""`refaug-det analyze transfer`: does the order by accuracy predict the order by AP?"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from refaug_det import answers

if TYPE_CHECKING:
    from refaug_det.comparison.accuracies import Runs
    from refaug_det.comparison.outcome import Comparison
    from refaug_det.reports.sections import Material, Section

SCHEMA = 2
TOP_1, ALPHA = 'top-1', 0.05
FEWEST = 100  # resamples; fewer do not reach the ends of a 95 % interval


@answers.document
def transfer(paths: list[Path], /, *, metric: str | None = None,
             classification_metric: str = TOP_1, accuracy: Path | None = None,
             resamples: int = 2000, json: bool = False, output: Annotated[
                 Path, Parameter(name=['--output', '-o'])] = Path('transfer')) -> Any:
    """Does accuracy predict AP? Rank correlations, and how much of a ranking is luck.

    An accuracy is that of the weights that were fine-tuned: from --accuracy, from the stage 1 run
    if it is among the paths, or from the zoo's card. Backbones that differ in the seed of stage 1
    alone are one point, their mean. Refuses runs that were not fine-tuned alike, and fewer than
    three points. Writes transfer.json, transfer.md, transfer.svg, transfer.png.

    Example: refaug-det analyze transfer work_dirs -o transfer

    Args:
        paths: run directories of both stages, or folders that hold them.
        metric: of detection (default: as refaug-det compare).
        classification_metric: of stage 1, as in its run.json.
        accuracy: CSV of lines "backbone,accuracy" or JSON {"backbone": accuracy}, such as
            published numbers; it goes before what the runs say.
        resamples: of points and of runs, for the intervals; at least 100.
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

    if resamples < FEWEST:
        raise UserError(f'{resamples} resamples', '--resamples',
                        f'at least {FEWEST}; 2000 are usual')
    comparison = compare(paths, metric=metric)
    given = {} if accuracy is None else accuracies.read(
        accuracy, [row.backbone for row in comparison.rows])
    found = measure(comparison, stage_1_runs(paths), classification_metric, given, resamples)
    _refuse_few(found)
    shown = transfer_tables.with_words(found)
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
        fewer than three groups of known accuracy; `over_recipes` also where no two groups are
        of one recipe.
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
                               accuracy_sd=one.sd, accuracy_runs=one.runs, recipe=one.recipe,
                               phase=one.phase))
    shown = {one['backbone'] for one in backbones}
    return dict(
        schema=SCHEMA, metric=comparison.metric, classification_metric=classification_metric,
        selection=comparison.selection, protocol=comparison.fingerprint, points=points,
        without=[dict(backbone=name, why=why) for name, why in lacking.items() if name in shown],
        unused=sorted(set(given or {}) - shown), **correlated(points, resamples),
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
    """Of a report; None with fewer than three groups whose stage 1 runs are here.

    Not from the zoo: a report is the same wherever the runs lie.
    """
    from refaug_det.comparison import transfer_tables
    from refaug_det.comparison.transfer import LEAST
    from refaug_det.figures import to_svg
    from refaug_det.reports.sections import Picture, Section

    found = measure(material.comparison, material.classification, in_zoo=False)
    if len(found['groups']) < LEAST:
        return None
    points, correlations, ranks = transfer_tables.tables(found)
    picture = Picture(to_svg(transfer_tables.draw(found)), 'svg', transfer_tables.alt(found),
                      transfer_tables.CAPTION)
    return Section('Does accuracy predict AP?', tuple(transfer_tables.words(found)),
                   tables=(correlations, points, ranks), pictures=(picture,))


def correlated(points: list[dict[str, Any]], resamples: int = 2000) -> dict[str, Any]:
    """The groups of points that are one, and what their ranks show.

    Seeds of a recipe are no independent backbones. Nor are weights of one run before and after
    its switch; as they are what is to be compared, they stay two groups, and `over_recipes` is
    what remains with one point a recipe. What both show is `shown`.

    Args:
        points: of `measure`.
        resamples: of groups and of runs.
    """
    from refaug_det.comparison import transfer as numerics

    x, runs = [one['accuracy'] for one in points], [one['values'] for one in points]
    keys = [(one['recipe'], one['phase']) for one in points]
    recipes = [one['recipe'] for one in points]

    def found(name: str, groups: list[Any]) -> dict[str, Any] | None:
        one = numerics.correlate(x, runs, name, resamples, groups)
        return None if one is None else dict(
            name=name, count=one.count, value=one.value, method=one.method, p=one.p,
            exact=one.exact, over_backbones=[one.over_backbones.low, one.over_backbones.high],
            over_runs=None if one.over_runs is None else [one.over_runs.low, one.over_runs.high])

    correlations = [found(name, keys) for name in numerics.STATISTICS]
    fewer = len(set(recipes)) < len(set(keys))
    by_recipe = found(next(iter(numerics.STATISTICS)), recipes) if fewer else None
    return dict(groups=[_group([one for one, own in zip(points, keys, strict=True) if own == key])
                        for key in dict.fromkeys(keys)],
                recipes=len(set(recipes)), correlations=correlations, over_recipes=by_recipe,
                shown=_is_shown(correlations[0], *([by_recipe] if fewer else [])))


def _is_shown(*correlations: dict[str, Any] | None) -> bool:
    """Whether each says that the ranks go together, and the same way."""
    ways = {one is not None and one['p'] < ALPHA and (
        (one['over_backbones'][0] > 0) - (one['over_backbones'][1] < 0)) for one in correlations}
    return len(ways) == 1 and ways <= {1, -1}


def _group(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds of stage 1, and their spread; of a single seed, what is known of it."""
    from refaug_det.comparison.statistics import mean_interval

    first, x, y = points[0], *([one[key] for one in points] for key in ('accuracy', 'mean'))
    between = mean_interval(y)
    return dict(
        backbones=[one['backbone'] for one in points], recipe=first['recipe'],
        phase=first['phase'], accuracy=statistics.fmean(x), mean=statistics.fmean(y),
        accuracy_sd=statistics.stdev(x) if between else first['accuracy_sd'],
        interval=[between.low, between.high] if between else first['interval'],
        values=y if between else first['values'], accuracies=x)


def _ranking(backbones: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all backbones that have a value, best mean first."""
    from refaug_det.comparison import transfer as numerics

    runs = [one['values'] for one in backbones]
    return dict(backbones=backbones, probabilities=numerics.rank_probabilities(runs).tolist(),
                agreement=numerics.agreement(runs))


def _refuse_few(found: dict[str, Any]) -> None:
    from refaug_det.comparison.transfer import LEAST
    from refaug_det.errors import UserError

    count, groups = len(found['points']), len(found['groups'])
    if groups < LEAST:
        lacking = [f'{one["backbone"]}: {one["why"]}' for one in found['without']]
        shown = lacking[:4] + [f'and {len(lacking) - 4} more'] * (len(lacking) > 4)
        why = 'a rank correlation of two says nothing' if groups == 2 else (
            f'it takes {LEAST} to correlate ranks')
        if groups < count:
            why = f'without seeds of the same recipe these are {groups}: {why}'
        raise UserError(
            f'{found["classification_metric"]} is known of {count} backbone{"s" * (count != 1)} '
            f'with {found["metric"]}; {why}', '; '.join(shown) or 'the paths',
            'name the stage 1 runs too, or give --accuracy FILE, or fine-tune more backbones')
