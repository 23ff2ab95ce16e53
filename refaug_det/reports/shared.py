"""The sections of a comparison itself: what was compared, is it real, in which classes, sizes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from refaug_det.comparison.statistics import difference_interval
from refaug_det.errors import UserError
from refaug_det.reports import summary
from refaug_det.reports.forest import forest
from refaug_det.reports.sections import Missing, Section, Shaded
from refaug_det.tables import MISSING

if TYPE_CHECKING:
    from refaug_det.comparison.outcome import Comparison
    from refaug_det.reports.sections import Material

LEVELS = 5  # of colour, each way
SCALE = (2.0, 10.0)  # points: the strongest colour is never for less, and always for more
# what the last chapter tells is no footnote here
_TOLD_LATER: dict[str, Any] = dict(classification_runs=0, copies=0, repeats=0, set_aside=0,
                                   notes={})
# protocol key -> what a reader calls it
_TERMS = {'model.type': 'Detector', 'data.train.images': 'Training images',
          'data.train.objects': 'Training objects', 'data.test.images': 'Test images',
          'data.test.objects': 'Test objects', 'train_cfg.max_epochs': 'Epochs',
          'train_cfg.max_iters': 'Updates', 'total_batch': 'Images an update',
          'optim_wrapper.optimizer.lr': 'Learning rate'}


def compared(material: Material) -> Section:
    """The table of rows, and what the runs have in common."""
    comparison = material.comparison
    protocol = next(record.protocol for seeds in material.trials.results.values()
                    for record in seeds.values())
    facts = [(term, _text(protocol[key])) for key, term in _TERMS.items() if key in protocol]
    classes = len(_classes(comparison))
    return Section(
        '', facts=(
            *facts, *([('Classes', str(classes))] if classes else []),
            ('Measured', comparison.selection or 'not recorded'),
            ('Protocol', comparison.fingerprint)),
        tables=(dataclasses.replace(comparison, **_TOLD_LATER).table(),))


def difference(material: Material) -> Section:
    """The forest plot with its verdicts."""
    comparison = material.comparison
    drawn = forest(comparison)
    missing = [] if drawn else [Missing('There is no difference to draw: it takes a value of the '
                                        'baseline and of another backbone.')]
    if not comparison.verdicts:
        missing.append(Missing(
            'No difference can be tested: that takes two runs of the baseline and of another '
            'backbone, and four of each for a p below 0.05.',
            'refaug-det bench --seeds 5 --backbones ...'))
    return Section('Differences to the baseline', forest=drawn, missing=tuple(missing),
                   words=(summary.caveat(comparison),) if comparison.verdicts else ())


def classes(material: Material) -> Section:
    """A heat map: what every class gains or loses against the baseline."""
    return _heat(material, 'class', 'By class')


def sizes(material: Material) -> Section:
    """The same by size of objects, in COCO's AP."""
    return _heat(material, 'size', 'By size of objects')


def _heat(material: Material, by: str, title: str) -> Section:
    comparison = material.comparison
    try:
        parts = comparison.parts(by)
    except UserError:
        what = 'class' if by == 'class' else 'size of objects'
        return Section(title, missing=(Missing(
            f'The runs have no {comparison.metric if by == "class" else "AP"} by {what}. Their '
            'kept detections give all metrics.', 'refaug-det eval RUNS'),))
    others = [row.backbone for row in comparison.rows
              if row.backbone != comparison.baseline and row.mean is not None]
    cells = {part: {name: _cell(found, name) for name in (comparison.baseline, *others)}
             for part, found in parts.items()}
    most = max([0.0, *(abs(shift) for row in cells.values()
                       for _, shift, _ in row.values() if shift is not None)])
    scale = min(max(most, SCALE[0]), SCALE[1])
    rows, levels, bold = [], {}, set()
    for number, (part, row) in enumerate(cells.items()):
        rows.append((part, *(text for text, _, _ in row.values())))
        for column, (_, shift, real) in enumerate(row.values(), start=1):
            levels[number, column] = max(-LEVELS, min(LEVELS, round(LEVELS * (shift or 0) / scale)))
            if real:
                bold.add((number, column))
    metric = comparison.metric if by == 'class' else 'AP'
    return Section(title, tables=(Shaded(
        f'{metric} of {comparison.baseline}, and the differences of the others to it',
        (by, f'{comparison.baseline} (mean)', *others), tuple(rows), _notes(by, scale),
        frozenset(bold), levels=levels),))


def _notes(by: str, scale: float) -> tuple[str, ...]:
    strongest = f'the strongest colour is {scale:.1f} points or more.'
    if by == 'size':
        return (f'Sizes as COCO has them. Colours and bold as by class; {strongest}',)
    return (f'Blue is more than the baseline, orange less; {strongest} Single classes scatter '
            'more than their mean does: a colour is no evidence. Bold: the 95 % interval over runs '
            '(Welch) excludes zero, as chance alone would have it in about one cell of twenty.',)


def _cell(found: Comparison, name: str) -> tuple[str, float | None, bool]:
    """Text, difference to the baseline, and whether its interval excludes zero."""
    rows = {row.backbone: row for row in found.rows}
    row, base = rows[name], rows[found.baseline]
    if row is base or row.difference is None:
        return (MISSING if row.mean is None or row is not base else f'{row.mean:.1f}'), None, False
    interval = difference_interval(list(row.values.values()), list(base.values.values()))
    return f'{row.difference:+.1f}', row.difference, interval is not None and interval.excludes(0)


def _classes(comparison: Comparison) -> dict[str, Any]:
    try:
        return comparison.parts('class')
    except UserError:
        return {}


def _text(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)
