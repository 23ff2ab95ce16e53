"""Rank correlations that are scipy's, intervals that cover, and ranks counted one by one."""

import itertools

import numpy as np
import pytest
from scipy import stats

from refaug_det.comparison import transfer
from refaug_det.comparison.transfer import (
    STATISTICS,
    agreement,
    correlate,
    over_backbones,
    over_runs,
    permutation_p,
    rank_probabilities,
)

SCIPYS = {'Kendall tau-b': stats.kendalltau, 'Spearman rho': stats.spearmanr}
KENDALL = 'Kendall tau-b'


@pytest.mark.parametrize('name', STATISTICS)
@pytest.mark.parametrize('levels', [2, 3, 1000])
def test_statistics_are_scipys_with_ties_and_without(name, levels):
    rng = np.random.default_rng(levels)
    x, y = rng.integers(0, levels, (2, 40, 7)).astype(float)
    x[:, 0], y[:, 1], x[:, 2], y[:, 2] = levels, levels, -1, -1  # none is constant
    found = STATISTICS[name][0](x, y)
    for one, a, b in zip(found, x, y, strict=True):
        assert one == pytest.approx(SCIPYS[name](a, b).statistic, abs=1e-12)
    other = {'Kendall tau-b': 'Spearman rho', 'Spearman rho': 'Kendall tau-b'}[name]
    assert not np.allclose(found, STATISTICS[other][0](x, y))


@pytest.mark.parametrize('name', STATISTICS)
def test_what_is_constant_has_no_rank_correlation(name):
    assert np.isnan(STATISTICS[name][0](np.ones(4), np.arange(4.0)))
    assert correlate([1, 1, 1], [[1.0], [2.0], [3.0]], name) is None
    assert correlate([1, 2, 3], [[2.0], [1.0, 3.0], [2.0]], name) is None
    assert correlate([1, 2], [[1.0], [2.0]], name) is None  # nor have two backbones
    assert correlate([1, 2, 2], [[1.0], [2.0], [2.0]], name) is not None


@pytest.mark.parametrize('tied', [False, True])
def test_p_is_the_share_of_orders(tied):
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 3, 2, 2.0 if tied else 4, 5])
    p, exact = permutation_p(x, y, KENDALL)
    seen = stats.kendalltau(x, y).statistic
    orders = np.array([stats.kendalltau(x, order).statistic
                       for order in itertools.permutations(y)])
    assert exact
    assert p == pytest.approx(2 * np.mean(orders >= seen - 1e-12))
    if not tied:
        assert p == pytest.approx(stats.kendalltau(x, y, method='exact').pvalue)
    assert permutation_p(x, x, KENDALL)[0] == pytest.approx(2 / 120)  # the least that there is


def test_p_of_many_backbones_is_over_drawn_orders(monkeypatch):
    monkeypatch.setattr(transfer, 'ORDERS', 2000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    p, exact = permutation_p(x, y, KENDALL)
    assert not exact
    assert p == pytest.approx(stats.kendalltau(x, y).pvalue, abs=0.01)


def sample(rng, r, backbones):
    x, noise = rng.normal(size=(2, backbones))
    return np.exp(x), r * x + np.sqrt(1 - r * r) * noise  # ranks do not see the exponential


def coverage(backbones, r, name=KENDALL, times=100):
    """How often the interval over backbones holds the true value, and how often it holds 0."""
    rng, true = np.random.default_rng(0), float(STATISTICS[name][1](np.array(r)))
    held = np.zeros(2)
    for _ in range(times):
        found, _ = over_backbones(*sample(rng, r, backbones), name, 400, rng)
        held += [not found.excludes(true), not found.excludes(0)]
    return held / times


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(transfer, 'SIMULATED', 300)
    monkeypatch.setattr(transfer, 'GRID', 21)


@pytest.mark.parametrize('name', STATISTICS)
@pytest.mark.parametrize(('backbones', 'r'), [(4, 0.9), (6, 0.0), (12, 0.0), (12, 0.9)])
def test_the_interval_over_backbones_covers(name, backbones, r, coarse):
    true, zero = coverage(backbones, r, name)
    assert true >= 0.9  # 95 % less two binomial standard errors
    if backbones == 12 and r:
        assert zero < 0.2  # it is no interval that holds everything


@pytest.mark.parametrize('backbones', [4, 6])
def test_a_bootstrap_of_few_backbones_does_not(backbones, monkeypatch):
    monkeypatch.setattr(transfer, 'RESAMPLED_FROM', 3)
    monkeypatch.setattr(transfer, 'SAME', -1)  # nor of a perfect order
    assert coverage(backbones, 0.9)[0] < 0.89


def test_a_perfect_order_is_not_certain():
    x = np.arange(12.0)
    found = correlate(x, [[value] for value in x], KENDALL)
    assert (found.value, found.method, found.exact) == (1, 'simulation', False)
    assert 0.5 < found.over_backbones.low < 0.95
    assert found.over_backbones.high == 1
    assert found.p < 0.001


def test_shuffled_labels_correlate_with_nothing():
    """The negative control: whatever the accuracies, in random order they predict no AP."""
    rng = np.random.default_rng(1)
    x, runs = np.arange(12.0), np.arange(12.0)[:, None] + rng.normal(size=(12, 3))
    assert over_backbones(x, runs.mean(1), KENDALL, 400, rng)[0].excludes(0)
    shuffled = [over_backbones(x, runs[rng.permutation(12)].mean(1), KENDALL, 400, rng)[0]
                for _ in range(100)]
    assert np.mean([one.value for one in shuffled]) == pytest.approx(0, abs=0.1)
    assert np.mean([one.excludes(0) for one in shuffled]) <= 0.12


@pytest.mark.parametrize(('runs', 'noise', 'least'), [(5, 0.3, 0.93), (5, 1.0, 0.9), (2, 0.3, 0.9)])
def test_the_interval_over_runs_covers_what_many_runs_would_give(runs, noise, least):
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        x, means = sample(rng, 0.7, 6)
        found = over_runs(x, means[:, None] + noise * rng.normal(size=(6, runs)), KENDALL, 300, rng)
        held += not found.excludes(float(STATISTICS[KENDALL][0](x, means)))
    assert held / 200 >= least


def test_the_interval_over_runs_is_as_wide_as_runs_differ():
    rng, x = np.random.default_rng(0), np.arange(5.0)
    near = over_runs(x, [[v, v + 0.1] for v in x], KENDALL, 500, rng)
    far = over_runs(x, [[v - 2, v + 2] for v in x], KENDALL, 500, rng)
    assert (near.low, near.value, near.high) == (1, 1, 1)
    assert far.low < 0.2
    assert over_runs(x, [[v] for v in x], KENDALL, 500, rng) is None
    one = over_runs(x, [[0.0], [1.0], [2.0], [3.0], [3.0, 5.0]], KENDALL, 500, rng)
    assert one.low < 0.9  # a single run differs from another as the others' do


def counted(runs):
    """Ranks of all tables of one run a backbone, ties in all orders."""
    found = np.zeros((len(runs), len(runs)))
    tables = list(itertools.product(*runs))
    for table in tables:
        for own, value in enumerate(table):
            before = sum(other > value for other in table)
            level = sum(other == value for other in table)
            found[own, before:before + level] += 1 / level / len(tables)
    return found


@pytest.mark.parametrize('levels', [3, 1000])
def test_rank_probabilities_are_those_of_all_tables(levels):
    rng = np.random.default_rng(levels)
    runs = [rng.integers(0, levels, count).tolist() for count in (3, 2, 4, 1, 3)]
    found = rank_probabilities(runs)
    np.testing.assert_allclose(found, counted(runs), atol=1e-12)
    np.testing.assert_allclose(found.sum(0), 1)
    np.testing.assert_allclose(found.sum(1), 1)
    assert not np.allclose(found, rank_probabilities(runs[::-1]))


def test_who_is_always_first_is_first():
    assert rank_probabilities([[5, 6], [1, 2], [3, 4]]).tolist() == [
        [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert rank_probabilities([[1.0]]).tolist() == [[1]]


def test_agreement_is_over_all_pairs_of_tables_that_share_no_run():
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(3, 2)) + np.arange(3)[:, None]
    pairs = [stats.kendalltau(runs[range(3), one], runs[range(3), 1 - np.array(one)]).statistic
             for one in itertools.product([0, 1], repeat=3)]
    assert agreement(runs) == pytest.approx(np.mean(pairs))
    assert agreement([*runs, [7.0]]) == pytest.approx(np.mean(pairs))
    assert agreement([[1, 2], [3, 4]]) == 1
    assert agreement([[1, 2], [3.0]]) is None


def test_agreement_is_none_by_chance():
    rng = np.random.default_rng(0)
    noise = [agreement(rng.normal(size=(4, 3))) for _ in range(300)]
    assert np.mean(noise) == pytest.approx(0, abs=0.05)
    real = [agreement(rng.normal(size=(4, 3)) + 5 * np.arange(4)[:, None]) for _ in range(20)]
    assert np.mean(real) > 0.9
