"""An independent reading of the VOC development kit's algorithm, and cases to read it on.

An image is (object boxes, labels, difficult, detected boxes, scores, labels). Tests get this
file as the fixture `devkit`.
"""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import InstanceData

MODES = ('11points', 'area')


def devkit_ap(images, label, mode, threshold=0.5):
    """AP of one class; images = [(gt boxes, gt labels, difficult, det boxes, scores, labels)]."""
    found, positives = [], 0
    taken = [set() for _ in images]
    for number, (_, labels, difficult, det, scores, det_labels) in enumerate(images):
        positives += int(np.sum((labels == label) & ~difficult))
        found += [(s, number, b) for b, s, c in zip(det, scores, det_labels, strict=True)
                  if c == label]
    hits = []
    for _, number, box in sorted(found, key=lambda f: -f[0]):
        boxes, labels, difficult = images[number][:3]
        best = None
        candidates = []
        for i in np.flatnonzero(labels == label):
            w = min(box[2], boxes[i][2]) - max(box[0], boxes[i][0]) + 1
            h = min(box[3], boxes[i][3]) - max(box[1], boxes[i][1]) + 1
            inter = max(w, 0) * max(h, 0)
            areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, boxes[i])]
            candidates.append((inter / (sum(areas) - inter), i))
        if candidates:
            iou, i = max(candidates, key=lambda pair: pair[0])  # the first of equals
            if iou >= threshold:
                best = i
        if best is None:
            hits.append(0)
        elif difficult[best]:
            continue
        else:
            hits.append(int(best not in taken[number]))
            taken[number].add(best)
    if not positives:
        return None
    tp = np.cumsum(hits) if hits else np.zeros(0)
    recall = tp / positives
    precision = tp / np.arange(1, len(hits) + 1)
    if mode == '11points':
        return np.mean([max([p for p, r in zip(precision, recall, strict=True) if r >= t],
                            default=0) for t in np.arange(0, 1.1, 0.1)])
    area, last = 0.0, 0.0
    for k, r in enumerate(recall):
        area += (r - last) * max(precision[k:])
        last = r
    return area


def random_images(rng, count=8, classes=3):
    images = []
    for _ in range(count):
        n, m = rng.integers(0, 4), rng.integers(0, 8)
        corner = rng.integers(0, 40, (n, 2))
        boxes = np.hstack([corner, corner + rng.integers(8, 30, (n, 2))]).astype(float)
        labels = rng.integers(0, classes, n)
        difficult = rng.random(n) < 0.3
        det = np.zeros((m, 4))
        det_labels = rng.integers(0, classes, m)
        for i in range(m):
            if n and rng.random() < 0.8:
                j = rng.integers(n)
                det[i] = boxes[j] + rng.integers(-4, 5, 4)
                det_labels[i] = labels[j]
            else:
                det[i] = [5, 5, 30, 30]
        det[:, 2:] = np.maximum(det[:, 2:], det[:, :2] + 1)
        images.append((boxes, labels, difficult, det, rng.permutation(m) + rng.random(m) / 2,
                       det_labels))
    return images


def arrays(images):
    """Arguments of `voc_ap.match`, less the number of classes."""
    def flat(part, empty):
        return np.concatenate([empty, *(image[part] for image in images)])

    at = [np.repeat(np.arange(len(images)), [len(image[part]) for image in images])
          for part in (4, 1)]
    whole, boxes = np.zeros(0, int), np.zeros((0, 4))
    return (flat(3, boxes), flat(4, np.zeros(0)), flat(5, whole), at[0],
            flat(0, boxes), flat(1, whole), flat(2, np.zeros(0, bool)), at[1])


def samples(images):
    """What the detector hands to the metric: the difficult objects last."""
    for n, (boxes, labels, difficult, det, scores, det_labels) in enumerate(images):
        parts = [InstanceData(bboxes=torch.tensor(boxes[which], dtype=torch.float32),
                              labels=torch.tensor(labels[which]))
                 for which in (~difficult, difficult)]
        yield dict(img_id=f'{n:06d}', ori_shape=(60, 80), gt_instances=parts[0],
                   ignored_instances=parts[1], gt_ignore_flags=difficult,
                   pred_instances=InstanceData(
                       bboxes=torch.tensor(det, dtype=torch.float32), labels=torch.tensor(
                           det_labels), scores=torch.tensor(scores, dtype=torch.float32)))
