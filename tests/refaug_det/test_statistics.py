"""Intervals that cover, tests that do not cry wolf, and numbers of runs from the tables."""

import itertools

import numpy as np
import pytest
from scipy import stats

from refaug_det.comparison.statistics import (
    Interval,
    difference_interval,
    holm,
    image_weights,
    images_variance,
    mean_interval,
    permutation_p,
    runs_needed,
    two_level,
)

# one VOC config run four times
VOC = (80.86, 79.74, 79.85, 80.09)


def test_mean_interval_is_students():
    found = mean_interval(VOC)
    low, high = stats.t.interval(0.95, 3, np.mean(VOC), stats.sem(VOC))
    assert found == Interval(pytest.approx(np.mean(VOC)), pytest.approx(low), pytest.approx(high))
    assert mean_interval(VOC, 0.5).high < found.high
    assert mean_interval(VOC[:1]) is None


def test_difference_interval_is_welchs():
    other = (78.0, 77.1, 79.5)
    found = difference_interval(VOC, other)
    va, vb = np.var(VOC, ddof=1) / 4, np.var(other, ddof=1) / 3
    freedom = (va + vb)**2 / (va**2 / 3 + vb**2 / 2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(va + vb)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert difference_interval(VOC, other[:1]) is None
    assert difference_interval((1, 1), (2, 2)) == Interval(-1, -1, -1)


def coverage(interval, runs=3, images=40, spread_runs=1.0, spread_images=8.0, spread_both=0.0,
             times=400):
    """How often an interval holds the true difference, 0, of two backbones.

    A run's value is the mean over images of (image effect + backbone-on-image effect + what the
    run makes of the image) + run.
    """
    rng, held = np.random.default_rng(0), 0
    for _ in range(times):
        weights = np.concatenate([np.ones((1, images)), image_weights(images, 200, rng)])
        difficulty = 50 + 20 * rng.normal(size=images)
        arms = []
        for _ in range(2):
            effect = difficulty + spread_images * rng.normal(size=images)
            each = effect[:, None] + spread_both * rng.normal(size=(images, runs))
            arms.append(weights @ each / images + spread_runs * rng.normal(size=runs))
        found = interval(*arms)
        held += found.low <= 0 <= found.high
    return held / times


def test_the_two_level_interval_covers_and_each_level_alone_does_not():
    both = coverage(two_level)
    runs_alone = coverage(lambda a, b: difference_interval(a[0], b[0]))

    def images_alone(a, b):
        low, high = np.percentile(a[1:].mean(1) - b[1:].mean(1), [2.5, 97.5])
        return Interval(0, low, high)

    assert 0.925 <= both <= 0.985  # 95 % within two binomial standard errors, and a little more
    assert runs_alone < 0.9
    assert coverage(images_alone) < 0.9


@pytest.mark.parametrize('spreads', [(1.0, 0.5), (0.2, 8.0)])
def test_the_two_level_interval_covers_where_one_level_dominates(spreads):
    assert 0.92 <= coverage(two_level, 4, spread_runs=spreads[0], spread_images=spreads[1]) <= 0.99


@pytest.mark.parametrize(('runs', 'spread_images'), [(3, 2.0), (5, 2.0), (5, 8.0)])
def test_what_runs_make_of_images_counts_once(runs, spread_images):
    held = dict(runs=runs, spread_runs=0.2, spread_images=spread_images, spread_both=16.0)
    once = coverage(two_level, **held)
    assert 0.92 <= once <= 0.975

    def twice(a, b):  # the variance of the bootstrap beside Welch's
        value = a[0].mean() - b[0].mean()
        variance = np.var(a[1:].mean(1) - b[1:].mean(1), ddof=1) + sum(
            one[0].var(ddof=1) / one.shape[1] for one in (a, b))
        return Interval(value, value - 1.96 * variance**0.5, value + 1.96 * variance**0.5)

    assert coverage(twice, **held) > max(once, 0.965)


def test_resamples_without_a_metric():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1001, 3))
    whole = two_level(a, b)
    a[5, 1] = np.nan  # one is left out
    one = two_level(a, b)
    assert (one.low, one.high) == pytest.approx((whole.low, whole.high), abs=0.01)
    a[5:200, 1] = np.nan
    assert two_level(a, b) is None
    assert images_variance(a, b) == 0
    assert not Interval(1, float('nan'), float('nan')).excludes(0)


def test_two_level_needs_runs_and_forgives_equal_ones():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(101, 2)), rng.normal(size=(101, 1))
    assert two_level(a, b) is None
    same = np.repeat(rng.normal(size=(101, 1)), 3, axis=1)  # the runs do not differ
    found = two_level(same, np.zeros((101, 3)))
    sd = same[1:, 0].std(ddof=1)
    assert found.high - found.value == pytest.approx(1.96 * sd, rel=1e-3)


def test_permutation_p_is_the_share_of_exchanges():
    a, b = (3.0, 4.0, 6.0), (1.0, 2.0, 3.5)
    observed = np.mean(a) - np.mean(b)
    pool = np.array(a + b)
    means = [pool[list(chosen)].mean() - np.delete(pool, chosen).mean()
             for chosen in itertools.combinations(range(6), 3)]
    share = np.mean(np.abs(means) >= observed - 1e-12)
    assert permutation_p(a, b) == pytest.approx(share)
    flips = [np.mean(np.array(signs) * np.subtract(a, b))
             for signs in itertools.product((1, -1), repeat=3)]
    paired = np.mean(np.abs(flips) >= observed - 1e-12)
    assert permutation_p(a, b, paired=True) == pytest.approx(paired) == 0.25
    assert permutation_p(a, a) == pytest.approx(1)
    assert permutation_p(a, b[:1]) is None


def test_permutation_p_is_uniform_without_a_difference():
    rng = np.random.default_rng(0)
    found = [permutation_p(rng.normal(size=4), rng.normal(size=4)) for _ in range(300)]
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.09
    shifted = [permutation_p(rng.normal(size=4) + 4, rng.normal(size=4)) for _ in range(50)]
    assert np.mean(np.array(shifted) <= 0.05) > 0.9


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_holm_holds_the_error_over_all_rows():
    rng = np.random.default_rng(0)
    any_single, any_holm = [], []
    for _ in range(500):
        p = rng.uniform(size=10)
        any_single.append(min(p) < 0.05)
        any_holm.append(min(holm(p)) < 0.05)
    assert np.mean(any_holm) < 0.08
    assert np.mean(any_single) > 0.3


@pytest.mark.parametrize(('effect', 'runs'), [(0.5, 64), (0.8, 26), (1.0, 17), (2.0, 6)])
def test_runs_needed_are_those_of_the_tables(effect, runs):
    assert runs_needed(effect, 1.0) == runs  # Cohen 1988, table 2.4.1
    assert runs_needed(-2 * effect, 2.0) == runs


def test_runs_needed_have_the_power_they_promise():
    n, rng = runs_needed(1.3, 0.5), np.random.default_rng(0)  # the paper's gain, VOC's noise
    p = [stats.ttest_ind(rng.normal(1.3, 0.5, n), rng.normal(0, 0.5, n)).pvalue
         for _ in range(1000)]
    fewer = [stats.ttest_ind(rng.normal(1.3, 0.5, 2), rng.normal(0, 0.5, 2)).pvalue
             for _ in range(1000)]
    assert np.mean(np.array(p) < 0.05) > 0.77
    assert np.mean(np.array(fewer) < 0.05) < 0.5
    assert runs_needed(0.01, 1.0) is None
    assert runs_needed(1.0, 0.5, images=0.06) > runs_needed(1.0, 0.5)
    assert runs_needed(1.0, 0.5, images=0.25) is None  # 1.96 + 0.84 of their deviation is 1.4
    assert runs_needed(1.5, 0.5, images=0.25) is not None
    assert runs_needed(1.0, 0.0) == 2
