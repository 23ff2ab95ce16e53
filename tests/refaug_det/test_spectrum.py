"""Streaming spectra against numpy's on the whole matrix, and against planted covariances."""

import numpy as np
import pytest

from refaug_det import spectrum
from refaug_det.spectrum import FeatureMoments, directions_holding, effective_rank, summary

CLASSES = 5


def features(rows=400, dimension=12, offset=0.0, seed=0):
    """Features whose scales fall over three decades, and labels of unequal shares."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.integers(0, 2 * CLASSES, rows), CLASSES - 1)
    centres = rng.normal(size=(CLASSES, dimension))
    scales = np.geomspace(1, 1e-3, dimension)
    return offset + centres[labels] + scales * rng.normal(size=(rows, dimension)), labels


def moments(x, labels=None, batch=37, watched=()):
    found = FeatureMoments(x.shape[1], 1 if labels is None else CLASSES, watched)
    for begin in range(0, len(x), batch):
        part = slice(begin, begin + batch)
        found.update(x[part], None if labels is None else labels[part])
    return found


def scatter(x):
    centred = x - x.mean(0)
    return centred.T @ centred


def within(x, labels):
    return sum(scatter(x[labels == label]) for label in range(CLASSES))


@pytest.mark.parametrize('batch', [1, 2, 37, 400])
def test_one_pass_is_the_whole_matrix(batch):
    x, labels = features()
    found = moments(x, labels, batch, watched=(0, 3))
    assert found.count == len(x)
    assert np.array_equal(found.counts, np.bincount(labels))
    assert np.allclose(found.mean, x.mean(0), rtol=1e-13, atol=1e-13)
    for mine, whole in ((found.total(), scatter(x)), (found.within(), within(x, labels)),
                        (found.of_class(0), scatter(x[labels == 0])),
                        (found.of_class(3), scatter(x[labels == 3]))):
        assert np.allclose(mine, whole, rtol=0, atol=1e-12 * whole.max())
        assert np.array_equal(mine, mine.T)
        assert not np.allclose(mine, whole * (1 + 1e-9), rtol=0, atol=1e-12 * whole.max())


def test_singular_values_are_those_of_numpys_svd():
    x, _ = features()
    exact = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    values = spectrum.singular_values(moments(x).total())
    assert np.allclose(values, exact, rtol=0, atol=1e-13 * exact[0])
    assert (np.diff(values) <= 0).all()
    shifted = np.linalg.svd(x, compute_uv=False) ** 2  # not centred
    assert not np.allclose(values, shifted, rtol=0, atol=1e-13 * exact[0])


def test_the_order_of_batches_does_not_matter():
    x, labels = features()
    order = np.random.default_rng(1).permutation(len(x))
    first, second = moments(x, labels), moments(x[order], labels[order], batch=11)
    assert np.allclose(first.total(), second.total(), atol=1e-10)
    assert np.allclose(first.within(), second.within(), atol=1e-10)
    assert not np.allclose(first.within(), moments(x, labels[order]).within(), atol=1e-10)


def sums_of_squares(x, dtype):
    """The textbook formula, which a large mean ruins."""
    x = x.astype(dtype)
    return x.T @ x - np.outer(x.sum(0), x.sum(0)) / dtype(len(x))


@pytest.mark.parametrize('offset', [1e3, 1e6])
def test_a_large_mean_costs_no_digits(offset):
    x, labels = features(2000, offset=offset)
    whole, exact = within(x, labels), scatter(x - offset)
    found = moments(x, labels)
    assert np.abs(found.within() - whole).max() < 1e-9 * whole.max()
    assert np.abs(found.total() - exact).max() < 1e-9 * exact.max()
    naive = sums_of_squares(x, np.float32)
    assert np.abs(naive - exact).max() > 0.1 * exact.max()
    if offset == 1e6:  # even in float64 the smallest directions are lost
        values = spectrum.singular_values(exact)
        lost = np.linalg.eigvalsh(sums_of_squares(x, np.float64))[0]
        assert abs(spectrum.singular_values(found.total())[-1] - values[-1]) < 1e-2 * values[-1]
        assert abs(lost - values[-1]) > values[-1] / 10


def test_within_and_between_add_up_without_cancellation():
    """Classes a thousand million times farther apart than they are wide: neural collapse."""
    rng = np.random.default_rng(0)
    labels = np.arange(500) % CLASSES
    noise = rng.normal(size=(500, 6))
    x = 1e5 * rng.normal(size=(CLASSES, 6))[labels] + 1e-4 * noise
    found, exact = moments(x, labels).within(), 1e-8 * within(noise, labels)
    assert np.allclose(found, exact, rtol=0, atol=1e-5 * exact.max())
    whole = scatter(x)
    means = np.stack([x[labels == label].mean(0) for label in range(CLASSES)])
    difference = whole - 100 * scatter(means)  # total less between
    assert not np.allclose(difference, exact, rtol=0, atol=1e-5 * exact.max())


def test_a_planted_covariance_is_found():
    rng = np.random.default_rng(0)
    planted = np.array([9.0, 4.0, 1.0, 0.25])
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    x = rng.normal(size=(200_000, 4)) * np.sqrt(planted) @ rotation + 7
    told = summary(moments(x, batch=50_000).total(), len(x) - 1, classes=2)
    assert np.allclose(told['covariance'], planted, rtol=0.02)
    assert np.allclose(np.array(told['scatter']) / (len(x) - 1), told['covariance'])
    assert told['directions_90'] == 2
    assert told['directions_99'] == 4
    assert list(told['around_classes']) == ['1', '2', '3']
    assert told['around_classes']['2'] == told['covariance'][1]


def test_more_rows_than_a_part_holds(monkeypatch):
    x, labels = features()
    whole = moments(x, labels, batch=len(x)).within()
    monkeypatch.setattr(spectrum, 'ROWS_AT_ONCE', 7)
    assert np.allclose(moments(x, labels, batch=len(x)).within(), whole, atol=1e-10)


def test_features_are_not_changed():
    x, labels = features()
    before = x.copy()
    moments(x, labels)
    assert np.array_equal(x, before)


def test_float32_features_are_summed_in_float64():
    x, labels = features(5000)
    x = x.astype(np.float32)
    whole = within(x.astype(np.float64), labels)
    assert np.abs(moments(x, labels).within() - whole).max() < 1e-12 * whole.max()


def test_rank_of_the_means_is_at_most_classes_less_one():
    x, labels = features()
    means = np.stack([x[labels == label].mean(0) for label in range(CLASSES)])
    collapsed = moments(means[labels], labels)
    assert np.abs(collapsed.within()).max() < 1e-20
    values = spectrum.singular_values(collapsed.total())
    assert values[CLASSES - 2] > 1e-3 * values[0]
    assert values[CLASSES - 1] < 1e-12 * values[0]


@pytest.mark.parametrize(('values', 'rank'), [
    ([1, 1, 1, 1], 4), ([5, 0, 0], 1), ([2, 2, 0], 2), ([0, 0], 0),
    ([3, 1], np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))])
def test_effective_rank(values, rank):
    assert effective_rank(np.array(values, float)) == pytest.approx(rank)
    assert effective_rank(10.0 * np.array(values)) == pytest.approx(rank)


@pytest.mark.parametrize(('values', 'share', 'count'), [
    (np.ones(10), 0.9, 9), (np.ones(10), 0.91, 10), (np.ones(10), 1.0, 10),
    (np.array([9.0, 0.9, 0.1]), 0.9, 1), (np.array([9.0, 0.9, 0.1]), 0.99, 2),
    (np.zeros(3), 0.9, 0)])
def test_directions_holding(values, share, count):
    assert directions_holding(values, share) == count


def test_the_average_over_classes_is_its_own_part():
    x, labels = features()
    told = summary(within(x, labels), len(x) - CLASSES, parts=CLASSES, classes=CLASSES)
    assert np.isclose(sum(told['scatter']), np.trace(within(x, labels)) / CLASSES)
    assert np.isclose(sum(told['covariance']), np.trace(within(x, labels)) / (len(x) - CLASSES))


def test_the_bench_agrees_with_numpy(tool, capsys):
    assert tool('bench_spectrum')(['--rows', '3000', '--dimension', '16', '--classes', '4']) == 0
    said = capsys.readouterr().out
    assert float(said.split('largest difference ')[1].split()[0]) < 1e-12
