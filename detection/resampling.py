"""AP of resampled test sets: the same detections, every image counted some number of times.

Which detection hits is settled once, within its image; a resample only changes how often each
image counts. Precision is asked for at the hits alone, so that detections between two hits are
one sparse sum, and a thousand resamples cost a few products of matrices. Of equal scores within
an image, all copies of the first come before those of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from detection import voc_ap
from detection.detections import FILE_NAME, Detections, load
from detection.voc_ap import HIT, IGNORED, POINTS

MODES = ('AP50 (11-point)', 'AP50 (area)')  # metrics that can be resampled
AT_ONCE = 2**22  # numbers in a working array: resamples are taken in parts


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
        counts = np.ascontiguousarray(weights.T, dtype=np.float64)
        sums = {mode: np.zeros(len(weights)) for mode in MODES}
        present = np.zeros(len(weights))
        for label, objects in enumerate(self._objects):
            required = weights @ objects
            has = required > 0
            present += has
            for rows, precision, recall in self._curves(label, counts, required):
                for mode, value in zip(MODES, _integrate(precision, recall), strict=True):
                    sums[mode][rows] += np.where(has[rows], value, 0)
        with np.errstate(invalid='ignore', divide='ignore'):
            return {mode: 100 * total / present for mode, total in sums.items()}

    def _curves(self, label: int, counts: NDArray,
                required: NDArray) -> Iterator[tuple[slice, NDArray, NDArray]]:
        """Precision and recall at the hits of a class, (hits, part of R), part by part.

        Args:
            counts: (I, R), the weights.
            required: (R,) objects.
        """
        places = slice(self._starts[label], self._starts[label + 1])
        outcome, image = self._outcome[places], self._image[places]
        counted = outcome != IGNORED
        image, hit = image[counted], np.flatnonzero(outcome[counted] == HIT)
        if not len(hit):
            return
        until = hit[-1] + 1  # row h of `since`: the detections after hit h - 1, up to hit h
        since = csr_array((np.ones(until), image[:until], np.concatenate([[0], hit + 1])),
                          shape=(len(hit), len(counts)))
        part = max(1, AT_ONCE // len(hit))
        for begin in range(0, counts.shape[1], part):
            rows = slice(begin, begin + part)
            true = np.cumsum(counts[image[hit], rows], axis=0)
            taken = np.cumsum(since @ counts[:, rows], axis=0)
            with np.errstate(invalid='ignore', divide='ignore'):
                yield rows, np.nan_to_num(true / taken), true / required[rows]


def _integrate(precision: NDArray, recall: NDArray) -> tuple[NDArray, NDArray]:
    """AP by 11 points and by area of curves (hits, R); as `voc_ap` does it."""
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    points = np.zeros(envelope.shape[1])
    for point in POINTS:
        reached = recall >= point
        first = reached.argmax(axis=0)
        value = np.take_along_axis(envelope, first[None], 0)[0]
        points += np.where(reached.any(axis=0), value, 0)
    steps = np.diff(recall, axis=0, prepend=0)
    return points / len(POINTS), (steps * envelope).sum(0)


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
