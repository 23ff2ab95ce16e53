"""Time and memory: a test set like VOC 2007's resampled, and a table of many runs, all drawn.

    python tools/bench_statistics.py
"""
from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from refaug_det.errors import ArgumentParser, UserError, exits_cleanly


def draw(images: int, each: int, classes: int) -> dict[str, np.ndarray]:
    """Arrays of `Detections`: 3 objects an image, every detection near one, half of its class."""
    rng = np.random.default_rng(0)
    gt_images, at = np.repeat(np.arange(images), 3), np.repeat(np.arange(images), each)
    corner = rng.integers(0, 300, (len(gt_images), 2))
    gt_boxes = np.hstack([corner, corner + rng.integers(20, 200, corner.shape)]).astype('f4')
    gt_labels, near = rng.integers(0, classes, len(gt_images)), 3 * at + rng.integers(0, 3, len(at))
    own = rng.random(len(at)) < 0.5
    return dict(
        classes=np.arange(classes).astype(str), image_ids=np.arange(images).astype(str),
        image_sizes=np.full((images, 2), 500), images=at, gt_images=gt_images, gt_labels=gt_labels,
        labels=np.where(own, gt_labels[near], rng.integers(0, classes, len(at))), gt_boxes=gt_boxes,
        boxes=gt_boxes[near] + rng.normal(0, 12, (len(at), 4)).astype('f4'),
        scores=rng.random(len(at)).astype('f4'), gt_difficult=rng.random(len(gt_images)) < 0.2)


def write_records(folder: Path, count: int) -> None:
    """Records of ten seeds a backbone, with metrics by class and a protocol of 60 terms."""
    from refaug_det.runs.records import RunRecord
    rng, kinds = np.random.default_rng(0), ('AP50 (11-point)', 'AP50 (area)', 'AP')
    names = [*kinds, *(f'{kind}/class {n}' for kind in kinds for n in range(20))]
    for number in range(count):
        name = f'backbone {number // 10}'
        RunRecord(name, 'detection', 'done', seed=number % 10, selection='last epoch',
                  metrics=dict(zip(names, rng.uniform(60, 80, len(names)), strict=True)),
                  protocol={f'part.key_{n}': n for n in range(60)},
                  backbone=dict(name=name, sha256=name, run=None)).write(folder / str(number))


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in dict(images=4952, each=100, classes=20, resamples=1000, runs=200).items():
        parser.add_argument(f'--{name}', type=int, default=value)
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if value < 1:
            raise UserError(f'--{name} {value}', 'command line', 'at least 1')
    from detection.detections import Detections
    from detection.resampling import ResampledAP
    from refaug_det.comparison.compare import compare
    from refaug_det.comparison.statistics import image_weights

    detections = Detections(**draw(args.images, args.each, args.classes))
    begun, busy = time.perf_counter(), time.process_time()
    weights = image_weights(args.images, args.resamples, np.random.default_rng(0))
    values = ResampledAP(detections)(weights)['AP50 (11-point)']
    print(f'{args.resamples:,} resamples of {args.images:,} x {args.each} detections, '
          f'{args.classes} classes: {time.perf_counter() - begun:.2f} s (processor '
          f'{time.process_time() - busy:.2f} s), peak '
          f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB; '
          f'AP50 (11-point) {values.mean():.2f}, sd {values.std():.2f}', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), args.runs)
        begun, busy = time.perf_counter(), time.process_time()
        lines = str(compare([folder])).count('\n')
        print(f'table of {args.runs} runs: {time.perf_counter() - begun:.2f} s (processor '
              f'{time.process_time() - busy:.2f} s), {lines} lines')
    return 0


if __name__ == '__main__':
    sys.exit(main())
