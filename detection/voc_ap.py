"""AP as the PASCAL VOC development kit computes it, at any IoU thresholds, from one matching.

The rules, each as in `VOCevaldet.m` (difference: none that is known on finite boxes):

- A box holds its corner pixels: it is x2 - x1 + 1 wide.
- Detections of a class are taken by falling score; equal scores stay in the order of the
  images, and within an image in the order given.
- A detection goes to the object of its class and image with the highest IoU, even if that one
  is already found; of equal IoUs the first object wins.
- With that IoU at or above the threshold: on a difficult object the detection counts neither
  way; on another the first detection is a hit and every later one is false. Below it: false.
- Objects required are those not difficult. A class without any has no AP (NaN here).

Which object a detection goes to does not depend on the threshold, so `match` is done once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HIT, FALSE, IGNORED = 1, 0, -1
# As numpy has them: 0.3, 0.6 and 0.7 lie a rounding above. py-faster-rcnn, detectron2 and mmdet
# do the same, and a recall of exactly 0.6 does not reach the point in any of them.
POINTS = np.arange(0, 1.1, 0.1)


@dataclass(frozen=True, eq=False)
class Matching:
    """Where each detection goes; N detections, G objects, C classes.

    Attributes:
        object: (N,) int64 index of its object, -1 where none of its class overlaps it.
        iou: (N,) float64 IoU with that object in [0, 1]; 0 where there is none.
        order: (N,) int64 detections by class, then in the order in which they are taken.
        starts: (C + 1,) int64 where each class begins in `order`.
        difficult: (G,) bool.
        required: (C,) int64 objects that are not difficult.
    """

    object: NDArray
    iou: NDArray
    order: NDArray
    starts: NDArray
    difficult: NDArray
    required: NDArray


def match(boxes: NDArray, scores: NDArray, labels: NDArray, images: NDArray, gt_boxes: NDArray,
          gt_labels: NDArray, gt_difficult: NDArray, gt_images: NDArray,
          classes: int) -> Matching:
    """Send every detection to its object.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, far corners included.
        scores: (N,) any range; NaN comes last.
        labels: (N,) integers in [0, classes).
        images: (N,) integers >= 0.
        gt_boxes, gt_labels, gt_images: (G, 4), (G,), (G,) alike.
        gt_difficult: (G,) bool.
        classes: C.

    Raises:
        ValueError: a label out of range, or arrays of unequal length.

    Source: VOC development kit 2007 and 2012, VOCevaldet.m.
    """
    for number, parts in ((len(boxes), (scores, labels, images)),
                          (len(gt_boxes), (gt_labels, gt_difficult, gt_images))):
        if any(len(part) != number for part in parts):
            raise ValueError(f'arrays of unequal length: {number}, {[len(p) for p in parts]}')
    for part in (labels, gt_labels):
        if len(part) and not 0 <= part.min() <= part.max() < classes:
            raise ValueError(f'labels in [{part.min()}, {part.max()}] with {classes} classes')
    labels = labels.astype(np.min_scalar_type(classes))  # 16 bits and less sort by radix
    order = np.argsort(images, kind='stable')
    order = order[np.argsort(-scores[order], kind='stable')]
    order = order[np.argsort(labels[order], kind='stable')]
    starts = np.append(0, np.cumsum(np.bincount(labels, minlength=classes)))
    found, iou = _best(boxes, images.astype(np.int64) * classes + labels,
                       gt_boxes, gt_images.astype(np.int64) * classes + gt_labels)
    difficult = np.asarray(gt_difficult, bool)
    required = np.bincount(gt_labels[~difficult], minlength=classes)
    return Matching(found, iou, order, starts, difficult, required)


def outcomes(matching: Matching, threshold: float) -> NDArray:
    """What became of each detection.

    Args:
        threshold: IoU in (0, 1].

    Returns:
        (N,) int8: HIT, FALSE or IGNORED.
    """
    hits, ignored = _places(matching, *_candidates(matching, threshold), threshold)
    out = np.full(len(matching.order), FALSE, np.int8)
    out[matching.order[hits]] = HIT
    out[matching.order[ignored]] = IGNORED
    return out


def average_precision(matching: Matching,
                      thresholds: Sequence[float]) -> tuple[NDArray, NDArray]:
    """AP of each class at each IoU threshold.

    Args:
        thresholds: T IoUs in (0, 1].

    Returns:
        AP by 11 points (VOC 2007) and by area (VOC 2010 on), both (T, C) float64 in [0, 1];
        NaN for a class that requires no object.
    """
    candidates = _candidates(matching, min(thresholds))
    curves = [_integrate(matching, *_places(matching, *candidates, threshold))
              for threshold in thresholds]
    return np.stack([points for points, _ in curves]), np.stack([area for _, area in curves])


def _best(boxes: NDArray, keys: NDArray, gt_boxes: NDArray,
          gt_keys: NDArray) -> tuple[NDArray, NDArray]:
    """For each box the first of the objects with its key that overlap it most, and the IoU."""
    best, best_iou = np.full(len(boxes), -1), np.zeros(len(boxes))
    by_key = np.argsort(gt_keys, kind='stable')
    groups, first, size = np.unique(gt_keys[by_key], return_index=True, return_counts=True)
    if not len(groups) or not len(boxes):
        return best, best_iou
    group = np.minimum(np.searchsorted(groups, keys), len(groups) - 1)
    some = np.flatnonzero(groups[group] == keys)
    if not len(some):
        return best, best_iou
    # one pair for each box and object of its group, those of a box side by side
    count = size[group[some]]
    begin = np.cumsum(count) - count
    owner = np.repeat(np.arange(len(some)), count)
    of_pair = by_key[np.arange(len(owner)) + (first[group[some]] - begin)[owner]]
    ious = _iou(boxes[some[owner]], gt_boxes[of_pair])
    highest = np.maximum.reduceat(ious, begin)
    tops = np.flatnonzero((ious == highest[owner]) & (ious > 0))[::-1]
    best[some[owner[tops]]] = of_pair[tops]  # backwards: of equals, the first is written last
    best_iou[some] = highest
    return best, best_iou


def _iou(a: NDArray, b: NDArray) -> NDArray:
    """(P,) IoUs of P pairs of boxes that hold their corner pixels; 0 for what is undefined."""
    ax1, ay1, ax2, ay2 = a.T.astype(np.float64)
    bx1, by1, bx2, by2 = b.T.astype(np.float64)
    width = np.maximum(np.minimum(ax2, bx2) - np.maximum(ax1, bx1) + 1, 0)
    height = np.maximum(np.minimum(ay2, by2) - np.maximum(ay1, by1) + 1, 0)
    shared = width * height
    with np.errstate(all='ignore'):
        union = (ax2 - ax1 + 1) * (ay2 - ay1 + 1) + (bx2 - bx1 + 1) * (by2 - by1 + 1) - shared
        return np.nan_to_num(shared / union, copy=False, nan=0, posinf=0, neginf=0)


def _candidates(matching: Matching, threshold: float) -> tuple[NDArray, NDArray, NDArray]:
    """Place in `order`, object and IoU of the detections that reach a threshold, by place."""
    if threshold <= 0:
        raise ValueError(f'an IoU threshold of {threshold}')
    place = np.flatnonzero(matching.iou[matching.order] >= threshold)
    chosen = matching.order[place]
    return place, matching.object[chosen], matching.iou[chosen]


def _places(matching: Matching, place: NDArray, found: NDArray, iou: NDArray,
            threshold: float) -> tuple[NDArray, NDArray]:
    """Places in `order`, rising, of the hits and of the ignored."""
    above = iou >= threshold
    place, found = place[above], found[above]
    difficult = matching.difficult[found]
    # backwards: of several detections of an object, the first is written last
    first = np.full(len(matching.difficult), -1)
    first[found[::-1]] = place[::-1]
    hits = first[~matching.difficult & (first >= 0)]
    hits.sort()
    return hits, place[difficult]


def _integrate(matching: Matching, hits: NDArray,
               ignored: NDArray) -> tuple[NDArray, NDArray]:
    """AP of each class, by 11 points and by area.

    Only hits matter: between two of them recall stands still and precision falls.
    """
    starts, required = matching.starts, matching.required
    bounds = np.searchsorted(hits, starts)
    label = np.repeat(np.arange(len(required)), np.diff(bounds))
    true = np.arange(len(hits)) - bounds[label] + 1
    passed = np.searchsorted(ignored, hits) - np.searchsorted(ignored, starts)[label]
    precision = true / (hits - starts[label] + 1 - passed)
    recall = true / required[label]
    points, area = np.full(len(required), np.nan), np.full(len(required), np.nan)
    for c in np.flatnonzero(required):
        span = slice(bounds[c], bounds[c + 1])
        reached = np.searchsorted(recall[span], POINTS)
        envelope = np.maximum.accumulate(precision[span][::-1])[::-1]
        points[c] = np.append(envelope, 0)[reached].sum() / len(POINTS)
        area[c] = envelope.sum() / required[c]
    return points, area
