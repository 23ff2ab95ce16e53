"""Feature spectra: singular values of covariances, from one pass over features of any number.

Nothing here knows where features come from: both stages look at theirs with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ROWS_AT_ONCE = 512  # more features are taken in parts: the working copy stays small


class FeatureMoments:
    """Counts, means and scatter of features, class by class, as they stream by.

    Scatter is summed around means, those of a part and then the change of the running ones, in
    float64: a large common offset costs no digits, as it does in sums of squares.

    Args:
        dimension: D.
        classes: K; 1 for features without classes.
        watched: classes whose own scatter is kept; each costs D x D numbers.

    Attributes:
        counts: (K,) int64.
        means: (K, D) float64; zeros for a class not seen.

    Memory: D x D + K x D numbers of 8 bytes, and a part of `ROWS_AT_ONCE` x D.

    Source: Chan, Golub & LeVeque 1983, eq. 1.5, for matrices.
    """

    def __init__(self, dimension: int, classes: int = 1, watched: Sequence[int] = ()) -> None:
        self.counts = np.zeros(classes, np.int64)
        self.means = np.zeros((classes, dimension))
        self._within = np.zeros((dimension, dimension), order='F')
        self._watched = {label: np.zeros_like(self._within) for label in watched}

    def update(self, features: Any, labels: Any = None) -> None:
        """Take in more features.

        Args:
            features: (N, D), any number and float type; not changed.
            labels: (N,) of integers in [0, K); None where there are no classes.
        """
        features = np.asarray(features)
        labels = np.zeros(len(features), np.int64) if labels is None else np.asarray(labels)
        for begin in range(0, len(features), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            self._take(features[part], labels[part])

    def _take(self, features: np.ndarray, labels: np.ndarray) -> None:
        order = np.argsort(labels, kind='stable')
        rows, labels = features[order].astype(np.float64), labels[order]
        present, begins, counts = np.unique(labels, return_index=True, return_counts=True)
        change = np.add.reduceat(rows, begins, axis=0) / counts[:, None]
        for begin, count, mean in zip(begins, counts, change, strict=True):
            rows[begin:begin + count] -= mean  # in place: a copy of all would double the memory
        change -= self.means[present]
        before = self.counts[present]
        share = counts / (before + counts)
        self.means[present] += change * share[:, None]
        self.counts[present] += counts
        change *= np.sqrt(before * share)[:, None]  # its products are the scatter of the means
        self._within = _add_products(_add_products(self._within, rows), change)
        for label in self._watched.keys() & set(present.tolist()):
            self._watched[label] = _add_products(_add_products(
                self._watched[label], rows[labels == label]), change[present == label])

    @property
    def count(self) -> int:
        """Features in all, N."""
        return int(self.counts.sum())

    @property
    def mean(self) -> np.ndarray:
        """(D,), over all features."""
        return self.counts @ self.means / max(self.count, 1)

    def within(self) -> np.ndarray:
        """(D, D) scatter of all features around the means of their classes."""
        return _mirrored(self._within.copy(order='F'))

    def of_class(self, label: int) -> np.ndarray:
        """(D, D) scatter of a watched class around its mean."""
        return _mirrored(self._watched[label].copy(order='F'))

    def total(self) -> np.ndarray:
        """(D, D) scatter of all features around the mean of all."""
        between = self.means - self.mean
        between *= np.sqrt(self.counts)[:, None]
        return _mirrored(_add_products(self._within.copy(order='F'), between))


def singular_values(matrix: np.ndarray, overwrite: bool = False) -> np.ndarray:
    """Of a symmetric positive semidefinite matrix (D, D): (D,), from the largest down, >= 0.

    Args:
        matrix: (D, D).
        overwrite: its memory may be used: one D x D array less.
    """
    from scipy.linalg import eigvalsh

    return np.maximum(eigvalsh(matrix, overwrite_a=overwrite)[::-1], 0.0)


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of singular values that are normalised to sum to one, in [1, D].

    D equal values give D, one value alone gives 1; 0 where all are zero.

    Source: Roy & Vetterli 2007, definition 1.
    """
    total = values.sum()
    if total <= 0:
        return 0.0
    p = values[values > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def directions_holding(values: np.ndarray, share: float) -> int:
    """How many of the leading directions hold a share, in (0, 1], of the sum; 0 if it is 0."""
    sums = np.cumsum(values)
    return int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12)) + 1) if sums[-1] > 0 else 0


def summary(scatter: np.ndarray, freedom: int, parts: int = 1, classes: int = 1,
            overwrite: bool = False) -> dict[str, Any]:
    """What there is to say about one scatter matrix, JSON-able.

    Args:
        scatter: (D, D).
        freedom: what makes it a covariance: N - 1, or N - K within classes.
        parts: how many classes it is summed over; `scatter` in the result is their average.
        classes: K, around which rank the values are told.
        overwrite: see `singular_values`.

    Returns:
        `covariance` and `scatter`: singular values from the largest down (squared feature
        units); `effective_rank`; `directions_90` and `directions_99`; `around_classes`: the
        covariance's at the ranks K - 1, K and K + 1, counted from 1.
    """
    values = singular_values(scatter, overwrite)
    covariance = values / max(freedom, 1)
    around = {str(rank): float(covariance[rank - 1]) for rank in (classes - 1, classes, classes + 1)
              if 1 <= rank <= len(values)}
    return dict(covariance=covariance.tolist(), scatter=(values / parts).tolist(),
                effective_rank=effective_rank(values),
                directions_90=directions_holding(values, 0.90),
                directions_99=directions_holding(values, 0.99), around_classes=around)


def _add_products(upper: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`upper` + rows.T @ rows in place, in the upper triangle: half the work of a product."""
    from scipy.linalg.blas import dsyrk

    return dsyrk(1.0, rows.T, beta=1.0, c=upper, overwrite_c=1)


def _mirrored(upper: np.ndarray) -> np.ndarray:
    """The upper triangle copied into the lower one, in place and block by block."""
    for begin in range(0, len(upper), 256):
        block = slice(begin, begin + 256)
        upper[block, :begin] = upper[:begin, block].T
        own = np.triu(upper[block, block])
        upper[block, block] = own + np.triu(own, 1).T
    return upper
