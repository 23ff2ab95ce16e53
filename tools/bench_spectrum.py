"""Time and peak memory of refaug_det/spectrum.py on drawn features, and numpy's SVD beside it.

    python tools/bench_spectrum.py
    python tools/bench_spectrum.py --rows 1281167 --dimension 2048 --classes 1000 --no-svd
"""
from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np

from refaug_det import spectrum
from refaug_det.errors import ArgumentParser, count, exits_cleanly

BATCH, OFFSET = 1024, 10.0  # features after a ReLU have means far from 0


def peak() -> float:
    """Most memory that this process has held so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def draw(rows: int, dimension: int, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of float32 features (B, D) around the means of their classes, and labels (B,)."""
    rng = np.random.default_rng(0)
    centres = OFFSET + rng.standard_normal((classes, dimension), dtype=np.float32)
    features = np.empty((BATCH, dimension), np.float32)
    for begin in range(0, rows, BATCH):
        part = features[:min(BATCH, rows - begin)]
        labels = rng.integers(0, classes, len(part))
        rng.standard_normal(out=part, dtype=np.float32)
        part *= np.geomspace(1, 1e-3, dimension, dtype=np.float32)
        part += centres[labels]
        yield part, labels


def streamed(rows: int, dimension: int, classes: int, watched: int) -> np.ndarray:
    """Singular values of the scatter of all features, one pass; prints what it cost."""
    moments, taken = spectrum.FeatureMoments(dimension, classes, range(watched)), 0.0
    for features, labels in draw(rows, dimension, classes):
        begun = time.perf_counter()
        moments.update(features, labels)
        taken += time.perf_counter() - begun
    begun = time.perf_counter()
    _ = [spectrum.singular_values(moments.of_class(c), overwrite=True) for c in range(watched)]
    within = spectrum.singular_values(moments.within(), overwrite=True)
    values = spectrum.singular_values(moments.total(), overwrite=True)
    print(f'one pass over {rows:,} x {dimension}: {taken:.1f} s ({rows / taken:,.0f} rows/s), '
          f'{2 + watched} spectra {time.perf_counter() - begun:.1f} s; peak {peak():.0f} MB')
    print(f'effective rank {spectrum.effective_rank(within):.1f} within classes, '
          f'{spectrum.effective_rank(values):.1f} over all', flush=True)
    return values


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in dict(rows=50_000, dimension=512, classes=100, watched=1).items():
        parser.add_argument(f'--{name}', type=count, default=value)
    parser.add_argument('--no-svd', action='store_true', help='do not hold the features at once')
    args = parser.parse_args(argv)
    spectrum.singular_values(np.eye(2))  # scipy is loaded before memory is measured
    print(f'before: peak {peak():.0f} MB', flush=True)
    values = streamed(args.rows, args.dimension, args.classes, args.watched)
    if not args.no_svd:
        whole = np.concatenate([x.copy() for x, _ in draw(args.rows, args.dimension, args.classes)])
        begun = time.perf_counter()
        exact = np.linalg.svd(whole - whole.mean(0, dtype=np.float64), compute_uv=False) ** 2
        print(f'numpy SVD of the whole matrix: {time.perf_counter() - begun:.1f} s; peak '
              f'{peak():.0f} MB; largest difference {np.abs(values - exact).max() / exact[0]:.1e} '
              'of the largest value')
    return 0


if __name__ == '__main__':
    sys.exit(main())
