"""Is the difference real? Intervals, tests and the number of runs that would show it.

A trained network is one draw of the training's randomness, the test set one draw of images:
an interval that knows only one of the two is too narrow. Arithmetic on arrays, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its confidence interval, in the estimate's unit."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether a value lies outside."""
        return value < self.low or value > self.high  # of an end that is NaN, nothing is known


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's interval of a mean over runs; None with fewer than two."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # scipy.stats takes 0.8 s to import

    mean, n = float(np.mean(values)), len(values)
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def difference_interval(a: Sequence[float], b: Sequence[float],
                        confidence: float = 0.95) -> Interval | None:
    """Welch's interval of mean(a) - mean(b) over runs; None where either has fewer than two.

    Source: Welch 1947 (degrees of freedom of Welch and Satterthwaite).
    """
    if min(len(a), len(b)) < 2:
        return None
    from scipy.stats import ttest_ind

    value = float(np.mean(a) - np.mean(b))
    if np.std(a) == np.std(b) == 0:
        return Interval(value, value, value)
    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    return Interval(value, float(low), float(high))


def image_weights(images: int, resamples: int, rng: np.random.Generator) -> NDArray:
    """How often each image is drawn, in resamples of a test set: (resamples, images)."""
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples)


def two_level(a: NDArray, b: NDArray, confidence: float = 0.95) -> Interval | None:
    """Interval of a difference of means, over the runs and over the test images.

    The variance over runs is Welch's: a bootstrap of the few runs there are would have only
    (n - 1) / n of it. What the images add to it is `images_variance`.

    Args:
        a, b: (1 + R, runs) each: a metric of every run of a backbone, on the test set itself
            and on R resamples of its images. Resamples are the same for both: paired by image.

    Returns:
        The difference on the test set itself, within an interval of Student's t; the images'
        variance is taken as known. None with fewer than two runs of either, or where a tenth of
        the resamples have no metric: too few of the images have objects.
    """
    from scipy.stats import t

    if min(a.shape[1], b.shape[1]) < 2:
        return None
    a, b = _measured(a, b)
    if not len(a):
        return None
    value = float(a[0].mean() - b[0].mean())
    shares = [float(one[0].var(ddof=1)) / one.shape[1] for one in (a, b)]
    runs = sum(shares)
    variance = runs + images_variance(a, b)
    freedom = math.inf
    if runs > 0:  # Satterthwaite
        freedom = variance**2 / sum(share**2 / (one.shape[1] - 1)
                                    for share, one in zip(shares, (a, b), strict=True))
    half = float(t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    return Interval(value, value - half, value + half)


def images_variance(a: NDArray, b: NDArray) -> float:
    """Variance that the choice of test images adds to that over runs, of a difference of means.

    A bootstrap of the images also holds what each run makes of each image, which the spread of
    the runs on one test set holds as well: that part, the spread between runs of the resampled
    deviations, is taken off.

    Args:
        a, b: as in `two_level`.
    """
    a, b = _measured(a, b)
    if not len(a):
        return 0.0
    total = float(np.var(a[1:].mean(1) - b[1:].mean(1), ddof=1))
    twice = sum(float((one[1:] - one[1:].mean(1, keepdims=True)).var(0, ddof=1).sum())
                / (one.shape[1] - 1) / one.shape[1] for one in (a, b))
    return max(total - twice, 0.0)


def _measured(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """Without the resamples in which some run has no metric; nothing where those are many."""
    good = np.isfinite(a).all(1) & np.isfinite(b).all(1)
    return (a[good], b[good]) if good[0] and good.mean() > 0.9 else (a[:0], b[:0])


def permutation_p(a: Sequence[float], b: Sequence[float], paired: bool = False) -> float | None:
    """Two-sided p-value of a difference of means, over the exchanges of the runs' labels.

    Over all exchanges where there are 100,000 or fewer (to 9 runs each, or 16 pairs), which is
    exact; else over 100,000 drawn ones.

    Args:
        a, b: a metric of every run of two backbones.
        paired: `a[i]` and `b[i]` share a seed; only exchanges within pairs count.

    Returns:
        None where no exchange is possible: fewer than two runs of either. With n pairs it is
        at least 2 / 2^n, with n runs each at least 2 / C(2n, n): few runs cannot show much.

    Source: Fisher 1935; `scipy.stats.permutation_test`.
    """
    if min(len(a), len(b)) < 2:
        return None
    from scipy.stats import permutation_test

    def statistic(x: NDArray, y: NDArray, axis: int = -1) -> NDArray:
        return np.mean(x, axis) - np.mean(y, axis)

    found = permutation_test((np.asarray(a), np.asarray(b)), statistic, vectorized=True,
                             permutation_type='samples' if paired else 'independent',
                             n_resamples=100_000, random_state=0)
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for asking several times, in the given order.

    Source: Holm 1979, step-down.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = highest
    return adjusted


def runs_needed(difference: float, sd: float, power: float = 0.8, alpha: float = 0.05,
                most: int = 1000, images: float = 0.0) -> int | None:
    """Runs of each of two backbones with which an interval would show a difference.

    Args:
        difference: true difference of the means, not 0.
        sd: standard deviation over the runs of one backbone.
        power: wanted probability of showing it.
        most: None is returned where more are needed.
        images: variance that the test images add, which no run takes away.

    Source: two-sided two-sample t-test; noncentral t (Cohen 1988, chapter 2). With images, the
    degrees of freedom are Satterthwaite's, as in `two_level`.
    """
    from scipy.stats import nct, t

    if sd <= 0 and images <= 0:
        return 2
    for n in range(2, most + 1):
        runs = 2 * sd**2 / n
        shift = abs(difference) / math.sqrt(runs + images)
        freedom = (2 * n - 2) * ((runs + images) / runs)**2 if runs else math.inf
        bound = t.ppf(1 - alpha / 2, freedom)
        if nct.sf(bound, freedom, shift) + nct.cdf(-bound, freedom, shift) >= power:
            return n
    return None
