"""What stage 2 adds to a report: what each type of error costs, and examples of detections."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from refaug_det.errors import UserError
from refaug_det.reports.sections import Missing, Picture, Section

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detection.show import Look
    from refaug_det.reports.sections import Material

IOUS = (0.5, 0.75)
SCORE, IOU = 0.3, 0.5  # of the examples
DPI = 200
LEGEND = ('White: an object. Green: a detection that finds one. Orange, dashed: a false detection, '
          'with its type of error. Blue, dash and dot: an object that is not found. Grey, dotted: '
          'a difficult object or a detection of one, which counts neither way. Detections of a '
          f'score of {SCORE} or more, matched at an IoU of {IOU}, as the metric does it.')


def errors(material: Material) -> Section:
    """The error decomposition: a figure, and a table a threshold."""
    from detection import error_tables
    from detection.error_commands import measure
    from refaug_det.figures import to_svg

    mode = 'area' if 'area' in material.comparison.metric else '11-point'
    found = measure(material.comparison, IOUS, mode)
    words = error_tables.words(found, f'{IOUS[0]:g}')
    tables = [error_tables.table(found, f'{threshold:g}') for threshold in IOUS]
    legend = tuple(note.replace(f't = {IOUS[0]:g}', 't the IoU of a table')
                   for note in tables[0].notes if note not in words)
    figure = Picture(
        to_svg(error_tables.draw(found)), 'svg', caption='Points of AP that fixing every error of '
        'one type alone would gain. Whiskers: one standard deviation over seeds, each way.',
        alt='Bars of the AP that fixing one type of error would gain, by backbone. '
        + ' '.join(words))
    return Section('Types of errors', words=tuple(words), pictures=(figure,), notes=legend,
                   tables=tuple(dataclasses.replace(table, notes=()) for table in tables))


def examples(material: Material) -> Section | None:
    """The images on which the baseline and the best of the others disagree most."""
    import numpy as np

    from detection import show

    if not material.images:
        return None
    title = 'Examples of detections'
    looks, folder = _looks(material)
    data_root = material.data_root or _data_root(folder)
    d = looks[0].detections
    differ = show.disagreement(looks)
    pictures: list[Picture] = []
    for index in np.argsort(-differ, kind='stable')[:material.images].tolist():
        try:
            if data_root is None:
                raise UserError('the run does not say where its images lie', folder)
            image = show.load_image(data_root, d, index)
        except UserError as error:
            return Section(title, missing=(Missing(
                f'No pictures: {error.what} ({error.where}).',
                'refaug-det report RUNS --data-root DIR'),))
        pictures += _strip(image, looks, index)
    chosen = ('on which it makes most errors' if len(looks) == 1 else 'on which the two disagree '
              'most: objects that one of them finds and the other does not, and the difference of '
              'their numbers of false detections')
    return Section(title, words=(
        f'{" and ".join(look.name for look in looks)}: the {len(pictures) // (1 + len(looks))} of '
        f'{len(d.image_ids)} test images {chosen}. They show what differs, not what is typical.',),
        pictures=tuple(pictures), notes=(LEGEND,))


def _looks(material: Material) -> tuple[list[Look], Path]:
    """At the baseline and the first other row, of one seed where they share one; and a folder."""
    from detection import detections, show

    comparison, places = material.comparison, material.trials.places
    rows = [row for row in comparison.rows if row.backbone in places]
    rows.sort(key=lambda row: row.backbone != comparison.baseline)  # the others: best first
    shared = [seed for seed in places[rows[0].backbone]
              if all(seed in places[row.backbone] for row in rows[:2])]
    looks, folders = [], []
    for row in rows[:2]:
        seed = shared[0] if shared else next(iter(places[row.backbone]))
        folders.append(places[row.backbone][seed])
        name = row.backbone if seed is None else f'{row.backbone}, seed {seed}'
        looks.append(show.look(name, detections.load(folders[-1]), SCORE, IOU))
    show.same_images(looks)
    return looks, folders[0]


def _strip(image: NDArray, looks: list[Look], index: int) -> Iterator[Picture]:
    """Ground truth, then a picture a run."""
    from detection import show

    d = looks[0].detections
    name = str(d.image_ids[index])
    counts = Counter(str(d.classes[label]) for label in d.gt_labels[d.gt_images == index])
    objects = ', '.join(f'{count} × {what}' for what, count in sorted(counts.items()))
    for one in (None, *looks):
        said = objects or 'no object' if one is None else show.tell(one, index)
        who = 'Ground truth' if one is None else one.name
        data = io.BytesIO()
        show.draw_alone(image, d, one, index).savefig(
            data, format='jpg', dpi=DPI, pil_kwargs=dict(quality=80))
        yield Picture(data.getvalue(), 'jpeg', alt=f'Image {name}. {who}: {said}.',
                      caption=f'{who}: {said}', group=name)


def _data_root(folder: Path) -> Path | None:
    """Where a run found its test images."""
    from refaug_det.runs.directory import RESOLVED

    try:
        cfg = json.loads((folder / RESOLVED).read_text(encoding='utf-8'))
        return Path(cfg['test_dataloader']['dataset']['data_root'])
    except (OSError, ValueError, KeyError, TypeError):
        return None
