"""AP of resampled test sets: the same detections, every image counted some number of times.

Which detection hits is settled once, within its image; a resample only changes how often each
image counts, so that a thousand of them cost little more than a thousand cumulative sums. Of
equal scores within an image, all copies of the first come before those of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection import voc_ap
from detection.detections import FILE_NAME, Detections, load
from detection.voc_ap import HIT, IGNORED, POINTS

MODES = ('AP50 (11-point)', 'AP50 (area)')  # metrics that can be resampled
AT_ONCE = 2**24  # numbers in a working array: resamples are taken in parts


class ResampledAP:
    """AP of one run for any weights of its images.

    Args:
        detections: of the run.
        iou: threshold in (0, 1].

    Attributes:
        image_ids: (I,) names, the columns of the weights.
    """

    def __init__(self, detections: Detections, iou: float = 0.5) -> None:
        d = detections
        matching = voc_ap.match(d.boxes, d.scores, d.labels, d.images, d.gt_boxes, d.gt_labels,
                                d.gt_difficult, d.gt_images, len(d.classes))
        self.image_ids = d.image_ids
        self._starts, self._order = matching.starts, matching.order
        self._outcome = voc_ap.outcomes(matching, iou)[matching.order]
        self._image = d.images[matching.order]
        required = ~d.gt_difficult
        self._objects = np.zeros((len(d.classes), len(d.image_ids)))
        np.add.at(self._objects, (d.gt_labels[required], d.gt_images[required]), 1)

    def __call__(self, weights: NDArray) -> dict[str, NDArray]:
        """Mean AP over classes, in percent, of every resample.

        Args:
            weights: (R, I), how often each image counts, >= 0.

        Returns:
            `AP50 (11-point)` and `AP50 (area)`, (R,) each. A class without objects in a
            resample enters no mean there; NaN where no class has any. With weights of one
            they are those of `detection.voc_ap`.
        """
        sums = {mode: np.zeros(len(weights)) for mode in MODES}
        present = np.zeros(len(weights))
        for label, objects in enumerate(self._objects):
            required = weights @ objects
            has = required > 0
            present += has
            for rows, precision, recall in self._curves(label, weights, required):
                for mode, value in zip(MODES, _integrate(precision, recall), strict=True):
                    sums[mode][rows] += np.where(has[rows], value, 0)
        with np.errstate(invalid='ignore', divide='ignore'):
            return {mode: 100 * total / present for mode, total in sums.items()}

    def _curves(self, label: int, weights: NDArray,
                required: NDArray) -> Iterator[tuple[slice, NDArray, NDArray]]:
        """Precision and recall at the hits of a class, (part of R, hits), part by part."""
        places = slice(self._starts[label], self._starts[label + 1])
        outcome, image = self._outcome[places], self._image[places]
        counted = outcome != IGNORED
        image, hit = image[counted], np.flatnonzero(outcome[counted] == HIT)
        if not len(hit):
            return
        part = max(1, AT_ONCE // max(len(image), 1))
        for begin in range(0, len(weights), part):
            rows = slice(begin, begin + part)
            chosen = weights[rows]
            true = np.cumsum(chosen[:, image[hit]], axis=1, dtype=np.float64)
            taken = np.cumsum(chosen[:, image], axis=1, dtype=np.float64)[:, hit]
            with np.errstate(invalid='ignore', divide='ignore'):
                yield (rows, np.nan_to_num(true / taken), true / required[rows, None])


def _integrate(precision: NDArray, recall: NDArray) -> tuple[NDArray, NDArray]:
    """AP by 11 points and by area of curves (R, hits); as `voc_ap` does it."""
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    points = np.zeros(len(envelope))
    for point in POINTS:
        reached = recall >= point
        first = reached.argmax(axis=1)
        value = np.take_along_axis(envelope, first[:, None], 1)[:, 0]
        points += np.where(reached.any(axis=1), value, 0)
    steps = np.diff(recall, axis=1, prepend=0)
    return points / len(POINTS), (steps * envelope).sum(1)


def of_run(run_dir: Path, metric: str) -> tuple[list[str], Callable[[NDArray], NDArray]] | None:
    """For `refaug-det compare`: names of a run's test images, and its metric by their weights.

    Args:
        run_dir: a run directory of stage 2.
        metric: as in `run.json`.

    Returns:
        None where the run kept no detections, or the metric is not one of `MODES`.
    """
    if metric not in MODES or not (run_dir / FILE_NAME).is_file():
        return None
    found = ResampledAP(load(run_dir))
    return found.image_ids.tolist(), lambda weights: found(weights)[metric]
