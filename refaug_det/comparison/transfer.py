"""How far one ranking predicts another, and how much of a ranking is luck: arithmetic on arrays.

x is one number a backbone, its accuracy; y is measured in several runs of it, its AP. Backbones
of one group are no independent points: their means are one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refaug_det.comparison.statistics import Interval

CONFIDENCE = 0.95
LEAST = 3  # groups; a rank correlation of two is 1 or -1, whatever they are
RESAMPLED_FROM = 8  # groups; resamples of fewer are too alike to make an interval of
ORDERS = math.factorial(8)  # of y that p is over: all of them up to eight backbones, else drawn
SIMULATED, GRID = 3000, 61  # data sets for each of so many true correlations
DIGITS = 10  # of a mean: what is equal stays so, in whatever order it was summed
SAME = 1e-9  # statistics of other sums are equal, though not to the last bit


@dataclass(frozen=True)
class Correlation:
    """A rank correlation of accuracies with mean APs.

    Attributes:
        value: in [-1, 1].
        count: of the groups.
        over_backbones: 95 % interval of what it would be over all backbones of which these are
            a sample, each measured with as many runs.
        method: how that was found: `bootstrap` or `simulation`.
        over_runs: 95 % interval of what it would be for these backbones with other runs; None
            where no backbone has two.
        p: two-sided, over the orders in which the APs might have come.
        exact: whether that is all of them.
    """

    value: float
    count: int
    over_backbones: Interval
    method: str
    over_runs: Interval | None
    p: float
    exact: bool


def kendall(x: NDArray, y: NDArray) -> NDArray:
    """Kendall's tau-b over the last axis, (...,); NaN where x or y is constant.

    Source: Kendall 1945; `scipy.stats.kendalltau` gives the same, one pair of arrays at a time.
    """
    a, b = (np.sign(one[..., :, None] - one[..., None, :]) for one in (x, y))
    return _cosine(a.reshape(*a.shape[:-2], -1), b.reshape(*b.shape[:-2], -1))


def spearman(x: NDArray, y: NDArray) -> NDArray:
    """Spearman's rho over the last axis, (...,); NaN where x or y is constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(one, axis=-1) for one in (x, y))
    return _cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True))


# name -> statistic, and its value in a population of two normal numbers that correlate by r
STATISTICS: dict[str, tuple[Callable[[NDArray, NDArray], NDArray],
                            Callable[[NDArray], NDArray]]] = {
    'Kendall tau-b': (kendall, lambda r: 2 / np.pi * np.arcsin(r)),
    'Spearman rho': (spearman, lambda r: 6 / np.pi * np.arcsin(r / 2))}


def correlate(x: Sequence[float], runs: Sequence[Sequence[float]], name: str,
              resamples: int = 2000, groups: Sequence[Hashable] | None = None
              ) -> Correlation | None:
    """Correlate the ranks of x with those of the runs' means; the same draws at every call.

    Args:
        x: (K,) a number a backbone.
        runs: K times the values of a backbone's runs, one at least.
        name: of `STATISTICS`.
        resamples: of the groups, and of the runs.
        groups: (K,) which backbones count as one, by their means; by default none do.

    Returns:
        None where it is undefined: fewer than three groups, or x or the means are constant.
    """
    groups = range(len(x)) if groups is None else groups
    if len(set(groups)) < LEAST:
        return None
    shares = averaging(groups)
    given = (shares @ np.asarray(x, float)).round(DIGITS)
    means = (shares @ np.array([np.mean(values) for values in runs])).round(DIGITS)
    if np.ptp(given) == 0 or np.ptp(means) == 0:
        return None
    rng = np.random.default_rng(0)
    between, method = over_backbones(given, means, name, resamples, rng)
    p, exact = permutation_p(given, means, name)
    return Correlation(between.value, len(given), between, method,
                       over_runs(given, runs, name, resamples, rng, shares), p, exact)


def averaging(groups: Sequence[Hashable]) -> NDArray:
    """(G, K) weights that turn a number a backbone into the mean of each group, by first member."""
    members = np.array([[one == group for one in groups] for group in dict.fromkeys(groups)], float)
    return members / members.sum(1, keepdims=True)


def over_backbones(x: NDArray, means: NDArray, name: str, resamples: int,
                   rng: np.random.Generator) -> tuple[Interval, str]:
    """Interval of a correlation that is defined, and how it was found.

    The bootstrap draws backbones. Of a few it does not cover: resamples have two or three
    different points, and where all orders agree those of every resample do. There the interval
    holds all true correlations under which so high, and so low, a value is no rarity, of samples
    of two normal numbers; as ranks do not know how either is distributed, that is assumed of how
    they depend on each other alone.
    """
    statistic, population = STATISTICS[name]
    value = float(statistic(x, means))
    if len(x) >= RESAMPLED_FROM and abs(value) < 1 - SAME:
        chosen = rng.integers(0, len(x), (resamples, len(x)))
        return _middle(value, statistic(x[chosen], means[chosen])), 'bootstrap'
    first, noise = rng.normal(size=(2, SIMULATED, len(x)))
    true, usual = np.sin(np.linspace(-np.pi / 2, np.pi / 2, GRID)), []
    for number, r in enumerate(true):
        drawn = statistic(first, r * first + math.sqrt(max(0, 1 - r * r)) * noise)
        ends = np.mean(drawn >= value - SAME), np.mean(drawn <= value + SAME)
        if min(ends) >= (1 - CONFIDENCE) / 2:
            usual.append(number)
    low, high = population(true[[max(usual[0] - 1, 0), min(usual[-1] + 1, GRID - 1)]])
    return Interval(value, float(low), float(high)), 'simulation'


def over_runs(x: NDArray, runs: Sequence[Sequence[float]], name: str, resamples: int,
              rng: np.random.Generator, shares: NDArray | None = None) -> Interval | None:
    """Interval of a correlation over other runs: their means are those seen, and noise.

    A run's deviation from its backbone's mean is drawn from those of all backbones, which share
    a protocol: two or three runs of one would not show how far runs lie apart. None where no
    backbone has two runs. With `averaging`'s shares x is a number a group.
    """
    apart = [math.sqrt(len(values) / (len(values) - 1)) * (np.asarray(values) - np.mean(values))
             for values in runs if len(values) > 1]
    if not apart:
        return None
    pool, means = np.concatenate(apart), [float(np.mean(values)) for values in runs]
    again = np.stack([mean + rng.choice(pool, (resamples, len(values))).mean(1)
                      for mean, values in zip(means, runs, strict=True)], 1)
    statistic, shares = STATISTICS[name][0], np.eye(len(runs)) if shares is None else shares
    return _middle(float(statistic(x, shares @ np.array(means))), statistic(x, again @ shares.T))


def permutation_p(x: NDArray, y: NDArray, name: str) -> tuple[float, bool]:
    """Two-sided p-value over the orders of y, and whether these are all orders.

    With K backbones and no ties it is at least 2 / K!.
    """
    from scipy.stats import permutation_test

    statistic, _ = STATISTICS[name]
    found = permutation_test(
        (y,), lambda drawn, axis: statistic(x, drawn), permutation_type='pairings',
        vectorized=True, n_resamples=ORDERS, batch=max(1, 10**6 // len(x)**2), random_state=0)
    return float(found.pvalue), math.factorial(len(x)) <= ORDERS


def rank_probabilities(runs: Sequence[Sequence[float]]) -> NDArray:
    """How likely each backbone has each rank in a table of one run a backbone.

    The run of each is drawn on its own; exact, by counting. Equal values come in any order.

    Args:
        runs: K times the values of a backbone's runs; more is better.

    Returns:
        (K, K): backbone, rank from the first.
    """
    found = np.zeros((len(runs), len(runs)))
    for own, mine in enumerate(runs):
        others = [np.asarray(other) for number, other in enumerate(runs) if number != own]
        for value in mine:
            for (before, level), chance in np.ndenumerate(_places(value, others)):
                found[own, before:before + level + 1] += chance / (level + 1) / len(mine)
    return found


def agreement(runs: Sequence[Sequence[float]]) -> float | None:
    """Kendall's tau to expect between two tables of one run a backbone that share no run.

    Over the backbones with two runs or more; unbiased, so that it may lie below 0 by chance.
    None with fewer than two of them.
    """
    repeated = [np.asarray(values, float) for values in runs if len(values) > 1]
    pairs = [_pair(a, b) for n, a in enumerate(repeated) for b in repeated[:n]]
    return float(np.mean(pairs)) if pairs else None


def _pair(a: NDArray, b: NDArray) -> float:
    """Mean of sign(a_s - b_t) sign(a_u - b_v) over all s != u and t != v."""
    signs = np.sign(a[:, None] - b[None])
    total = signs.sum()**2 - (signs.sum(0)**2).sum() - (signs.sum(1)**2).sum() + (signs**2).sum()
    return float(total / (len(a) * (len(a) - 1) * len(b) * (len(b) - 1)))


def _places(value: float, others: Sequence[NDArray]) -> NDArray:
    """Chance that so many others come before a value, and so many are level with it."""
    found = np.zeros((len(others) + 1, 1 + sum(value in other for other in others)))
    found[0, 0] = 1
    for other in others:
        before, level = np.mean(other > value), np.mean(other == value)
        moved = (1 - before - level) * found
        moved[1:] += before * found[:-1]
        moved[:, 1:] += level * found[:, :-1]
        found = moved
    return found


def _cosine(a: NDArray, b: NDArray) -> NDArray:
    with np.errstate(invalid='ignore', divide='ignore'):
        found = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.clip(found, -1, 1)


def _middle(value: float, resampled: NDArray) -> Interval:
    """The interval that holds the middle of the resamples; where undefined they say nothing."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled[np.isfinite(resampled)], [tail, 1 - tail])
    return Interval(value, float(low), float(high))
