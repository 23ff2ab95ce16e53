"""The probe in closed form: what is linear in the features is read off them, and nothing else."""

import numpy as np
import pytest

from detection import probe


def test_places_of_one_box():
    index, place, targets = probe.places([[10, 0, 30, 20]], rows=2, columns=4, height=20, width=40)
    # centres of cells are at x 5, 15, 25, 35 and y 5, 15
    assert index.tolist() == [1, 2, 5, 6]
    np.testing.assert_allclose(place[0], [-0.25, -0.5, 0.0625, 0.125, 0.25])
    np.testing.assert_allclose(targets[0], [5 / 40, 5 / 40, np.log(0.5), np.log(0.5)])
    np.testing.assert_allclose(targets[3], [-5 / 40, -5 / 40, np.log(0.5), np.log(0.5)])


def test_where_boxes_overlap_the_smallest_counts():
    big, small = [0, 0, 40, 20], [10, 0, 20, 10]
    for boxes in ([big, small], [small, big]):
        index, _, targets = probe.places(boxes, 2, 4, 20, 40)
        assert index.tolist() == list(range(8))
        assert np.exp(targets[:, 2]).round(3).tolist() == [1, 0.25, 1, 1, 1, 1, 1, 1]


def test_no_boxes_no_places():
    index, place, targets = probe.places(np.zeros((0, 4)), 2, 4, 20, 40)
    assert len(index) == 0
    assert (place.shape, targets.shape) == ((0, 5), (0, 4))
    assert len(probe.places([[0.1, 0.1, 0.2, 0.2]], 2, 4, 20, 40)[0]) == 0  # between the places


def samples(count, noise=0.0, seed=0, truth=None):
    """Features with very unlike scales and a large offset, and targets linear in them."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 6)) * [1, 100, 0.01, 1, 5, 1] + 50
    truth = np.random.default_rng(9).normal(size=(6, 4)) if truth is None else truth
    return features, features @ truth + 3 + noise * rng.normal(size=(count, 4))


def with_place(features, seed=5):
    place = np.random.default_rng(seed).uniform(-1, 1, (len(features), 5))
    return np.concatenate([features, place], 1)


def gathered(features, targets):
    moments = probe.gather(features.shape[1] - 5)
    for begin in range(0, len(features), 50):
        part = slice(begin, begin + 50)
        moments.update(np.concatenate([features[part], targets[part]], 1),
                       np.full(len(features[part]), (begin // 50) % 5 == 0, int))
    return moments


def fitted(features, targets):
    return probe.fit(gathered(with_place(features), targets))


def squares(found, features, targets, mean, images=10):
    errors = ((found(with_place(features, 6)) - targets)**2).reshape(images, -1, 4).sum(1)
    return errors, ((targets - mean)**2).reshape(images, -1, 4).sum(1)


def test_what_is_linear_is_read_whole():
    found = fitted(*samples(500))
    features, targets = samples(200, seed=1)
    r2 = probe.explained(*squares(found, features, targets, targets.mean(0)))
    assert r2['position']['value'] == pytest.approx(1, abs=1e-6)
    assert r2['size']['value'] == pytest.approx(1, abs=1e-6)
    assert found.ridge == min(probe.RIDGES)


def test_it_is_least_squares():
    features, targets = samples(300, noise=30.0)
    found = fitted(features, targets)
    design = np.concatenate([with_place(features), np.ones((300, 1))], 1)
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    scale = design[:, :-1].std(0)[:, None]
    np.testing.assert_allclose(found.weights * scale, expected[:-1] * scale, rtol=0.1, atol=1.0)
    assert not np.allclose(found.weights, 0)


def test_noise_is_not_read():
    rng = np.random.default_rng(0)
    found = fitted(rng.normal(size=(400, 50)), rng.normal(size=(400, 4)))
    features, targets = rng.normal(size=(200, 50)), rng.normal(size=(200, 4))
    r2 = probe.explained(*squares(found, features, targets, 0.0))
    assert abs(r2['position']['value']) < 0.05
    assert found.ridge > min(probe.RIDGES)  # it pays to shrink what means nothing


def test_position_and_size_are_told_apart():
    truth = np.random.default_rng(9).normal(size=(6, 4)) * [1, 1, 0, 0]
    found = fitted(*samples(500, noise=0.1, truth=truth))
    features, targets = samples(200, noise=0.1, seed=1, truth=truth)
    r2 = probe.explained(*squares(found, features, targets, targets.mean(0)))
    assert r2['position']['value'] > 0.99
    assert r2['size']['value'] < 0.1
    for quantity in r2.values():
        assert quantity['low'] <= quantity['value'] <= quantity['high']


def test_intervals_shrink_with_more_images():
    rng = np.random.default_rng(2)
    few, many = (rng.uniform(0.2, 0.6, size=(n, 4)) for n in (10, 1000))
    width = [(r2 := probe.explained(errors, np.ones_like(errors)))['size']['high']
             - r2['size']['low'] for errors in (few, many)]
    assert width[1] < width[0] / 4


def test_what_the_place_tells_does_not_count():
    """Features that hold the place, and nothing else, add nothing; those with more, do."""
    rng = np.random.default_rng(4)
    place = with_place(np.zeros((600, 0)))
    targets = place @ rng.normal(size=(5, 4)) + 0.1 * rng.normal(size=(600, 4))
    seen = place @ rng.normal(size=(5, 3))
    more = np.concatenate([seen, targets[:, :1]], 1)
    values = []
    for features in (seen, more):
        rows = np.concatenate([features, place], 1)
        moments = gathered(rows[:400], targets[:400])
        whole, of_place = probe.fit(moments), probe.fit_place(moments)
        pairs = [((found - targets[400:])**2).reshape(10, -1, 4).sum(1)
                 for found in (whole(rows[400:]), of_place(place[400:]))]
        values.append(probe.explained(*pairs)['position']['value'])
    assert abs(values[0]) < 0.05
    assert values[1] > 0.45  # dx is known whole, dy no better than from the place
