"""What detectors found, drawn on the images; those first on which two of them disagree most."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detection import error_types, voc_ap
from detection.detections import Detections
from detection.error_types import TYPES, Errors
from refaug_det import images
from refaug_det.errors import UserError
from refaug_det.figures import BLUE, GREEN, GREY, VERMILLION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGER_SIDE = 4.4  # of a panel, in inches
ALONE = 2.8  # width of one that stands alone, so that all labels are of one size
FONT = 6.5  # of labels, in points
# what is drawn -> line and label; told apart by the dashes as well as by the colour
STYLES: dict[str, dict[str, Any]] = {
    'object': dict(color='#FFFFFF', linestyle='-', linewidth=1.1),
    'found': dict(color=GREEN, linestyle='-', linewidth=2.0),
    'false': dict(color=VERMILLION, linestyle=(0, (4, 2)), linewidth=2.0),
    'not found': dict(color=BLUE, linestyle=(0, (6, 2, 1, 2)), linewidth=2.0),
    'difficult': dict(color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.6)}


@dataclass(frozen=True, eq=False)
class Look:
    """One run as far as its detections of at least some score go.

    Attributes:
        name: of the run, any text.
        detections: all of them.
        errors: at the IoU threshold; a lower score changes nothing for a higher one.
        shown: (N,) bool score high enough.
        found: (G,) bool objects that a shown detection finds.
        false: (I,) int64 shown false detections of each image.
        lost: (I,) int64 objects of each image that are not found, difficult ones apart.
    """

    name: str
    detections: Detections
    errors: Errors
    shown: NDArray
    found: NDArray
    false: NDArray
    lost: NDArray


def look(name: str, detections: Detections, score: float, iou: float) -> Look:
    """At the detections of a score of at least `score`, matched as the metric does at `iou`."""
    d = detections
    near = error_types.overlaps(d)
    errors = error_types.classify(near, iou)
    shown = d.scores >= score
    found = np.zeros(len(d.gt_labels), bool)
    found[near.matching.object[shown & (errors.outcome == voc_ap.HIT)]] = True
    count = len(d.image_ids)
    return Look(name, d, errors, shown, found,
                np.bincount(d.images[shown & (errors.outcome == voc_ap.FALSE)], minlength=count),
                np.bincount(d.gt_images[~found & ~d.gt_difficult], minlength=count))


def same_images(looks: Sequence[Look]) -> None:
    """Refuse runs that were not measured on the same images and objects.

    Raises:
        UserError: they were not.
    """
    first = looks[0]
    for other in looks[1:]:
        for part in ('classes', 'image_ids', 'image_sizes', 'gt_boxes', 'gt_labels',
                     'gt_difficult', 'gt_images'):
            if not np.array_equal(getattr(first.detections, part),
                                  getattr(other.detections, part)):
                raise UserError(f'these runs were measured on different data ({part} differ)',
                                f'{first.name}, {other.name}', 'show runs of one test set')


def disagreement(looks: Sequence[Look]) -> NDArray:
    """How much the first two differ on each image; of one run alone, its errors.

    Returns:
        (I,) int64: objects that one finds and the other does not, and the difference of the
        numbers of false detections; of one run: objects not found, and false detections.
    """
    first = looks[0]
    if len(looks) == 1:
        return first.lost + first.false
    second, d = looks[1], first.detections
    differ = np.bincount(d.gt_images[first.found != second.found], minlength=len(d.image_ids))
    return differ + abs(first.false - second.false)


def load_image(data_root: Path, d: Detections, index: int) -> NDArray:
    """RGB, uint8 (H, W, 3).

    Args:
        data_root: in VOC's layout, that of one of its years, or COCO's.
        index: of the image in the detections.

    Raises:
        UserError: the image is not there, or in two folders, or of another size than measured.
    """
    name = PurePosixPath(d.image_ids[index])
    if name.is_absolute() or '..' in name.parts or '\\' in str(name):
        raise UserError(f'an image id that leads out of the folder: {name}', data_root,
                        'evaluate the detector again')
    folders = [data_root, *sorted(data_root.glob('*'))]
    # COCO's ids are paths; VOC's are names in JPEGImages, of this folder or of its years
    places = [data_root / name, *(folder / 'JPEGImages' / f'{name}.jpg' for folder in folders)]
    found = [place for place in places if place.is_file()]
    if len(found) != 1:
        raise UserError(f'there are {len(found)} such images: {name}' if found else
                        f'no such image: {name}', data_root, 'pass the --data-root of these runs, '
                        'or the one of its folders that was tested')
    image = images.decode(found[0])
    width, height = (int(side) for side in d.image_sizes[index])
    if image.shape[:2] != (height, width):
        raise UserError(f'the image is {image.shape[1]} x {image.shape[0]}, the one measured was '
                        f'{width} x {height}', found[0], 'pass the --data-root of these runs')
    return image


def draw(image: NDArray, looks: Sequence[Look], index: int) -> Figure:
    """Ground truth, then a panel a run.

    Args:
        image: RGB, uint8 (H, W, 3).
        index: of the image in the detections.
    """
    from refaug_det.escapes import visible
    from refaug_det.figures import panels

    height, width = image.shape[:2]
    scale = LONGER_SIDE / max(height, width)
    d = looks[0].detections
    with panels(1 + len(looks), (max(scale * width, 2.4), scale * height + 0.6)) as (figure, axes):
        for ax, one in zip(axes, [None, *looks], strict=True):
            _fill(_Panel(ax, image, scale), d, one, index)
            title = 'ground truth' if one is None else f'{visible(one.name)}\n{tell(one, index)}'
            lines = [part for line in title.split('\n')
                     for part in textwrap.wrap(line, max(int(13 * scale * width), 30))]
            ax.set_title('\n'.join(lines), fontsize=8, parse_math=False)
    return figure


def draw_alone(image: NDArray, d: Detections, one: Look | None, index: int) -> Figure:
    """One panel of `draw` without title or margin; ground truth if `one` is None."""
    from refaug_det.figures import panels

    scale = min(ALONE / image.shape[1], 2 * ALONE / image.shape[0])
    with panels(1, (scale * image.shape[1], scale * image.shape[0])) as (figure, (ax,)):
        figure.set_layout_engine('none')
        ax.set_position((0, 0, 1, 1))
        _fill(_Panel(ax, image, scale), d, one, index)
    return figure


def tell(one: Look, index: int) -> str:
    """What a run did on an image, such as `1 of 2 found, 3 false`."""
    d = one.detections
    wanted = int((~d.gt_difficult[d.gt_images == index]).sum())
    return f'{wanted - one.lost[index]} of {wanted} found, {one.false[index]} false'


def _fill(panel: _Panel, d: Detections, one: Look | None, index: int) -> None:
    """The objects, and what a run did with them."""
    objects = np.flatnonzero(d.gt_images == index)
    for j in objects:
        kind = 'difficult' if d.gt_difficult[j] else 'object'
        panel.box(kind, d.gt_boxes[j], '' if one else str(d.classes[d.gt_labels[j]]))
    if one is not None:
        _run(panel, one, index, objects)


def _run(panel: _Panel, one: Look, index: int, objects: NDArray) -> None:
    """What a run did on an image: not found, ignored, false and found, the best on top."""
    d = one.detections
    for j in objects:
        if not one.found[j] and not d.gt_difficult[j]:
            panel.box('not found', d.gt_boxes[j], f'{d.classes[d.gt_labels[j]]} not found')
    mine = np.flatnonzero(one.shown & (d.images == index))
    for k in mine[np.argsort(d.scores[mine], kind='stable')]:
        outcome, kind = one.errors.outcome[k], one.errors.kind[k]
        label = f'{d.classes[d.labels[k]]} {d.scores[k]:.2f}'
        if outcome == voc_ap.FALSE:
            panel.box('false', d.boxes[k], f'{label} {TYPES[kind]}')
        else:
            panel.box('found' if outcome == voc_ap.HIT else 'difficult', d.boxes[k], label)


class _Panel:
    """An image with boxes, whose labels give way to each other.

    Args:
        scale: inches of the figure for a pixel of the image.
    """

    def __init__(self, ax: Any, image: NDArray, scale: float) -> None:
        self.ax, self.point = ax, 1 / (72 * scale)  # pixels of the image for a point of text
        self.height, self.width = image.shape[:2]
        self.taken: list[tuple[float, float, float]] = []
        ax.imshow(image)
        ax.set_axis_off()
        ax.set_xlim(-0.5, self.width - 0.5)
        ax.set_ylim(self.height - 0.5, -0.5)

    def box(self, kind: str, box: NDArray, label: str) -> None:
        """Draw a box; the label of a false one stands below it, of another above."""
        from matplotlib.patches import Rectangle
        from matplotlib.patheffects import Normal, Stroke

        from refaug_det.escapes import visible

        style = STYLES[kind]
        x1, y1, x2, y2 = (float(side) for side in box)
        edge = [Stroke(linewidth=style['linewidth'] + 1.2, foreground='#000000', alpha=0.6),
                Normal()]
        self.ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, path_effects=edge,
                                    **style))
        if label := visible(label):
            row = (FONT + 3) * self.point
            x, y = self._room(x1, y2 + row / 4 if kind == 'false' else y1 - row,
                              0.62 * FONT * len(label) * self.point, row)
            self.ax.text(x, y, label, fontsize=FONT, va='top', parse_math=False, clip_on=True,
                         color='#000000' if kind == 'object' else '#FFFFFF', bbox=dict(
                             facecolor=style['color'], edgecolor='none', pad=0.8, alpha=0.9))

    def _room(self, x: float, y: float, width: float, row: float) -> tuple[float, float]:
        """Where a label fits into the picture: at x, y or rows from there, on no other label."""
        x = max(min(x, self.width - width), 0)
        rows = [y + row * step for n in range(8) for step in {n, -n}]
        inside = [max(min(at, self.height - row), 0) for at in rows]
        free = [at for at in inside if not any(
            abs(at - other) < 0.95 * row and x < end and x + width > begin
            for begin, end, other in self.taken)]
        y = (free or inside)[0]
        self.taken.append((x, x + width, y))
        return x, y
