"""Why a detector's AP is not 100: six types of error, and what fixing each alone would gain.

The types and the fixes are those of TIDE. Matching and AP are `detection.voc_ap`'s, so that the
AP before any fix is the metric itself, to the last digit (TIDE's own tool matches as COCO does).

Below, an object is one that is required: difficult ones take part in the matching, and in nothing
else. t is the IoU threshold, b = `BACKGROUND`. A detection that the metric counts as false is of
the first of these types that applies; the order is that of TIDE's code:

- localisation: b <= IoU < t with an object of its class;
- classification: IoU >= t with an object of another class;
- duplicate: IoU >= t with an object of its class, which another detection has found;
- background: IoU <= b with every object;
- both: what is left, a wrong class and a poor box.

An object is missed if no detection finds it and no classification or localisation error aims at
it, which is at the object that overlaps it most among those that its type names.

To fix classification (localisation) is to give such a detection the class (the box) of the object
that it aims at. If that is found already, or another fixed one aims at it with a higher score, the
detection is removed. Errors of the other types are removed; missed objects are no longer required.

Source: Bolya, Foley, Hays & Hoffman 2020, TIDE, sections 2.2 and 2.3. Differences from its code:
where a classification and a localisation error aim at one object, it lets only the one of higher
score gain it, even if only the other type is fixed (here, as in the paper, a type is fixed alone);
and an IoU of exactly t is poor to it and enough here, as it is to the metric.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection import voc_ap
from detection.detections import Detections
from detection.voc_ap import Matching

TYPES = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND_ERROR, MISSED = range(len(TYPES))
NO_ERROR = -1
BACKGROUND = 0.1
MODES = ('11-point', 'area')


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What N detections overlap, whatever the threshold.

    Attributes:
        detections: the file's arrays.
        matching: as the metric has it.
        by_score: (N,) int64 detections as they are taken, all classes together.
        own, other: (N,) int64 the object of its class, and of another, with the highest IoU; -1
            for none.
        own_iou, other_iou: (N,) float64 those IoUs; 0 where there is none.
    """

    detections: Detections
    matching: Matching
    by_score: NDArray
    own: NDArray
    own_iou: NDArray
    other: NDArray
    other_iou: NDArray


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors at one threshold.

    Attributes:
        threshold: IoU in (`BACKGROUND`, 1].
        outcome: (N,) int8 of `voc_ap.outcomes`.
        kind: (N,) int8 index into `TYPES`; `NO_ERROR` for what is not false.
        target: (N,) int64 the object that a classification or localisation error aims at, or -1.
        found: (G,) bool objects that a detection finds.
        missed: (G,) bool.
    """

    threshold: float
    outcome: NDArray
    kind: NDArray
    target: NDArray
    found: NDArray
    missed: NDArray


def overlaps(detections: Detections) -> Overlaps:
    """Everything that does not depend on the threshold."""
    d = detections
    required = ~d.gt_difficult
    own, own_iou = np.full(len(d.scores), -1), np.zeros(len(d.scores))
    other, other_iou = own.copy(), own_iou.copy()
    for label in range(len(d.classes)):
        mine, same = np.flatnonzero(d.labels == label), d.gt_labels == label
        own[mine], own_iou[mine] = _nearest(d, mine, np.flatnonzero(required & same))
        other[mine], other_iou[mine] = _nearest(d, mine, np.flatnonzero(required & ~same))
    matching = voc_ap.match(d.boxes, d.scores, d.labels, d.images, d.gt_boxes, d.gt_labels,
                            d.gt_difficult, d.gt_images, len(d.classes))
    return Overlaps(d, matching, np.lexsort((d.images, -d.scores)), own, own_iou, other, other_iou)


def classify(near: Overlaps, threshold: float) -> Errors:
    """The type of every error.

    Args:
        threshold: IoU in (`BACKGROUND`, 1].

    Raises:
        ValueError: a threshold out of range.
    """
    if not BACKGROUND < threshold <= 1:
        raise ValueError(f'an IoU threshold of {threshold}, not in ({BACKGROUND}, 1]')
    outcome = voc_ap.outcomes(near.matching, threshold)
    kind = np.select(
        [outcome != voc_ap.FALSE, (near.own_iou >= BACKGROUND) & (near.own_iou < threshold),
         near.other_iou >= threshold, near.own_iou >= threshold, near.other_iou <= BACKGROUND],
        [NO_ERROR, LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND_ERROR], BOTH).astype(np.int8)
    target = np.select([kind == LOCALISATION, kind == CLASSIFICATION], [near.own, near.other], -1)
    found, aimed_at = np.zeros((2, len(near.detections.gt_labels)), bool)
    found[near.matching.object[outcome == voc_ap.HIT]] = True
    aimed_at[target[target >= 0]] = True
    missed = ~near.matching.difficult & ~found & ~aimed_at
    return Errors(threshold, outcome, kind, target, found, missed)


def fix(near: Overlaps, errors: Errors, kinds: Collection[int]) -> Matching:
    """The matching as it would be without the errors of some kinds.

    Args:
        kinds: indices into `TYPES`.

    Returns:
        A matching at the threshold of `errors`, of the detections that remain.
    """
    d = near.detections
    wrong = np.isin(errors.kind, list(kinds))
    aims = near.by_score[(wrong & (errors.target >= 0))[near.by_score]]
    aims = aims[~errors.found[errors.target[aims]]]
    fixed = aims[np.unique(errors.target[aims], return_index=True)[1]]  # an object's first
    labels, found, iou = d.labels.copy(), near.matching.object.copy(), near.matching.iou.copy()
    found[fixed], iou[fixed] = errors.target[fixed], 1
    labels[fixed] = d.gt_labels[errors.target[fixed]]
    keep = ~wrong
    keep[fixed] = True
    order = near.by_score[keep[near.by_score]]
    order = order[np.argsort(labels[order], kind='stable')]
    classes = len(d.classes)
    forgiven = d.gt_labels[errors.missed] if MISSED in kinds else d.gt_labels[:0]
    return Matching(
        found[keep], iou[keep], (np.cumsum(keep) - 1)[order],
        np.append(0, np.cumsum(np.bincount(labels[keep], minlength=classes))),
        near.matching.difficult,
        near.matching.required - np.bincount(forgiven, minlength=classes))


def average_precision(near: Overlaps, matching: Matching, threshold: float,
                      mode: str) -> float | None:
    """Mean AP in percent over the classes that have objects, whatever was fixed.

    A class whose objects are all forgiven has an AP of 100 if nothing false is left in it, else
    of 0, as with one object more that is found last.

    Args:
        near: what there is to find.
        matching: that of `near`, or what `fix` made of it.
        mode: one of `MODES`.

    Returns:
        None where there is no object to find.
    """
    aps = voc_ap.average_precision(matching, [threshold])[MODES.index(mode)][0]
    emptied = (matching.required == 0) & (near.matching.required > 0)
    if emptied.any():
        false = voc_ap.outcomes(matching, threshold)[matching.order] == voc_ap.FALSE
        label = np.repeat(np.arange(len(aps)), np.diff(matching.starts))
        aps[emptied] = np.bincount(label, false, len(aps))[emptied] == 0
    present = [100 * float(ap) for ap in aps if not np.isnan(ap)]
    return float(np.mean(present)) if present else None


def decompose(near: Overlaps, threshold: float, mode: str = '11-point') -> dict[str, Any]:
    """Number of errors of each type, and the AP that fixing each alone would add.

    Args:
        threshold: IoU in (`BACKGROUND`, 1].
        mode: of AP, one of `MODES`.

    Returns:
        `ap` in percent (None where there is no object to find), `objects` required, `found`;
        `count` and `gain` (percentage points, >= 0; None without `ap`) by name of type.
    """
    errors = classify(near, threshold)
    before = average_precision(near, near.matching, threshold, mode)
    gain: dict[str, float | None] = {}
    for kind, name in enumerate(TYPES):
        after = average_precision(near, fix(near, errors, (kind,)), threshold, mode)
        gain[name] = None if before is None or after is None else after - before
    count = {name: int((errors.kind == kind).sum()) for kind, name in enumerate(TYPES)}
    return dict(ap=before, objects=int(near.matching.required.sum()),
                found=int(errors.found.sum()), gain=gain,
                count=count | {'missed': int(errors.missed.sum())})


def _nearest(d: Detections, mine: NDArray, objects: NDArray) -> tuple[NDArray, NDArray]:
    """For each of some detections the object of its image with the highest IoU, and the IoU."""
    one, all_of_them = np.zeros(len(mine), int), np.zeros(len(objects), int)
    matching = voc_ap.match(
        d.boxes[mine], d.scores[mine], one, d.images[mine], d.gt_boxes[objects], all_of_them,
        all_of_them.astype(bool), d.gt_images[objects], 1)
    index = np.append(objects, -1)[matching.object]
    return index, matching.iou
