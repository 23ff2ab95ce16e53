"""AP against an independent reading of the VOC development kit's algorithm."""

from __future__ import annotations

import numpy as np
import pytest

import detection.train  # noqa: F401  (registration)
from detection.metrics import RefAugVOCMetric


def devkit_ap(images, label, mode):
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
        best, best_iou = None, 0.5
        candidates = []
        for i in np.flatnonzero(labels == label):
            w = min(box[2], boxes[i][2]) - max(box[0], boxes[i][0]) + 1
            h = min(box[3], boxes[i][3]) - max(box[1], boxes[i][1]) + 1
            inter = max(w, 0) * max(h, 0)
            areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, boxes[i])]
            candidates.append((inter / (sum(areas) - inter), i))
        if candidates:
            iou, i = max(candidates)
            if iou >= best_iou:
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


def score(images, classes):
    metric = RefAugVOCMetric()
    metric.dataset_meta = dict(classes=[f'c{i}' for i in range(classes)])
    results = []
    for boxes, labels, difficult, det, scores, det_labels in images:
        rows = [np.hstack([det, scores[:, None]])[det_labels == c].astype(np.float32)
                for c in range(classes)]
        results.append((dict(bboxes=boxes[~difficult].astype(np.float32),
                             labels=labels[~difficult],
                             bboxes_ignore=boxes[difficult].astype(np.float32),
                             labels_ignore=labels[difficult]), rows))
    return metric.compute_metrics(results)


@pytest.mark.parametrize('seed', range(30))
def test_both_modes_agree_with_the_development_kit(seed):
    images = random_images(np.random.default_rng(seed))
    metrics = score(images, 3)
    for mode, name in (('11points', 'AP50 (11-point)'), ('area', 'AP50 (area)')):
        expected = {c: devkit_ap(images, c, mode) for c in range(3)}
        for c, value in expected.items():
            assert (f'{name}/c{c}' in metrics) == (value is not None)
            if value is not None:
                assert metrics[f'{name}/c{c}'] == pytest.approx(100 * value, abs=1e-3)
        present = [100 * v for v in expected.values() if v is not None]
        assert metrics[name] == pytest.approx(np.mean(present) if present else 0, abs=1e-3)


def test_the_two_modes_differ_and_difficult_objects_matter():
    images = random_images(np.random.default_rng(1), count=20)
    metrics = score(images, 3)
    assert abs(metrics['AP50 (11-point)'] - metrics['AP50 (area)']) > 0.1
    easy = [(b, lab, np.zeros_like(d), *rest) for b, lab, d, *rest in images]
    assert score(easy, 3) != metrics


def test_perfect_and_empty_detections():
    box = np.array([[1.0, 1, 20, 20]])
    perfect = [(box, np.array([0]), np.array([False]), box, np.array([0.9]), np.array([0]))]
    assert score(perfect, 1)['AP50 (11-point)'] == pytest.approx(100)
    nothing = [(*perfect[0][:3], np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))]
    assert score(nothing, 1)['AP50 (area)'] == 0
