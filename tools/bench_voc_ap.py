"""Time of VOC AP: detection/voc_ap.py and mmdet's eval_map in turns, on drawn detections.

    python tools/bench_voc_ap.py --rounds 3
"""
from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from refaug_det.errors import ArgumentParser, count, exits_cleanly

IOUS = tuple(np.arange(50, 100, 5) / 100)


def draw(images: int, each: int, classes: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Arguments of `voc_ap.match`: about 3 objects an image, half the detections near one."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 6, images)
    gt_images = np.repeat(np.arange(images), count)
    corner = rng.integers(0, 300, (len(gt_images), 2))
    gt_boxes = np.hstack([corner, corner + rng.integers(20, 200, corner.shape)]).astype('f4')
    gt_labels = rng.integers(0, classes, len(gt_images))
    at = np.repeat(np.arange(images), each)
    near = (np.cumsum(count) - count)[at] + rng.integers(0, count[at])
    boxes = gt_boxes[near] + rng.normal(0, 12, (len(at), 4)).astype('f4')
    away = rng.random(len(at)) < 0.5
    labels = np.where(away, rng.integers(0, classes, len(at)), gt_labels[near])
    hard = rng.random(len(gt_images)) < 0.2
    return boxes, rng.random(len(at)).astype('f4'), labels, at, gt_boxes, gt_labels, hard, gt_images


def for_mmdet(arrays: tuple[np.ndarray, ...], images: int, classes: int) -> tuple[list, list]:
    """The same as eval_map wants it: a list an image of a list a class; annotations."""
    boxes, scores, labels, at, gt_boxes, gt_labels, hard, gt_at = arrays
    rows, found, objects = np.column_stack([boxes, scores]), [], []
    ends = [np.searchsorted(where, np.arange(images + 1)) for where in (at, gt_at)]
    for n in range(images):
        mine, its = (slice(end[n], end[n + 1]) for end in ends)
        found.append([rows[mine][labels[mine] == c] for c in range(classes)])
        b, c, h = gt_boxes[its], gt_labels[its], hard[its]
        objects.append(dict(bboxes=b[~h], labels=c[~h], bboxes_ignore=b[h], labels_ignore=c[h]))
    return found, objects


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description=__doc__)
    for name, value in dict(images=4952, each=100, classes=20, rounds=3).items():
        parser.add_argument(f'--{name}', type=count, default=value)
    args = parser.parse_args(argv)
    from detection import mmcv_operators, voc_ap
    mmcv_operators.import_mmdet()
    from mmdet.evaluation import eval_map

    arrays = draw(args.images, args.each, args.classes)
    found, objects = for_mmdet(arrays, args.images, args.classes)
    sides = {
        'eval_map': lambda: [eval_map(found, objects, iou_thr=0.5, logger='silent', dataset=list(
            map(str, range(args.classes))), eval_mode='11points', use_legacy_coordinate=True)[0]],
        **{f'ours, {len(ious)} IoU': lambda ious=ious: np.nanmean(voc_ap.average_precision(
            voc_ap.match(*arrays, args.classes), ious)[0], axis=1) for ious in (IOUS[:1], IOUS)}}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for name, side in list(sides.items()) * args.rounds:
        begun = time.perf_counter()
        value = side()[0]
        times[name].append(time.perf_counter() - begun)
        print(f'{name:12} {times[name][-1]:8.3f} s   AP50 (11-point) {value:.7f}', flush=True)
    theirs, one, ten = map(statistics.median, times.values())
    print(f'medians of {args.rounds}: eval_map {theirs / one:.1f} x ours; '
          f'ten IoUs {ten / one:.2f} x one')
    return 0


if __name__ == '__main__':
    sys.exit(main())
