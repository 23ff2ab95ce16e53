"""The plane through three solutions: closed forms, and the networks of real runs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from classification.analysis import landscape, loading, surface
from classification.analysis.surface import combine, coordinates, distances, survey
from classification.batch_norm import reestimate
from refaug_det import cli
from refaug_det.errors import UserError
from refaug_det.runs import results
from refaug_det.runs.randomness import key


def states():
    """Augmented, refined and standard: three points of R^3, and a counter."""
    points = ([1.0, 0.0, 0.0], [1.0, 3.0, 0.0], [1.0, 0.0, 4.0])
    return [dict(w=torch.tensor(point), steps=torch.tensor(n)) for n, point in enumerate(points)]


def quadratic(state):
    """Risks that are known everywhere: a bowl, and its double."""
    value = float((state['w'].double() ** 2).sum())
    return value, 2 * value


def test_a_quadratic_is_found_on_the_plane_and_on_the_lines():
    found = survey(states(), quadratic, steps=4)
    xs, ys = np.meshgrid(found['x'], found['y'])
    exact = 1 + 9 * xs ** 2 + 16 * ys ** 2
    assert np.allclose(found['plane'][0], exact, rtol=1e-6)
    assert np.allclose(found['plane'][1], 2 * exact, rtol=1e-6)
    assert not np.allclose(np.array(found['plane'][0]).T, exact, rtol=1e-6)  # x and y swapped
    t = np.array(found['t'])
    assert np.allclose(found['lines']['augmented to refined'][0], 1 + 9 * t ** 2, rtol=1e-6)
    assert np.allclose(found['lines']['augmented to standard'][0], 1 + 16 * t ** 2, rtol=1e-6)
    assert np.allclose(found['lines']['refined to standard'][0],
                       1 + 9 * (1 - t) ** 2 + 16 * t ** 2, rtol=1e-6)
    assert {0.0, 1.0} <= set(found['t'])


def test_three_points_have_their_own_risks():
    found = survey(states(), quadratic, steps=3)
    for state, (x, y) in zip(states(), surface.CORNERS.values(), strict=True):
        row, column = found['y'].index(y), found['x'].index(x)
        assert found['plane'][0][row][column] == quadratic(state)[0]
        assert found['plane'][1][row][column] == quadratic(state)[1]


def test_no_point_is_evaluated_twice():
    seen = []
    survey(states(), lambda state: (seen.append(tuple(state['w'].tolist())), (0.0,))[1], steps=2)
    assert len(seen) == len(set(seen))


def test_combinations():
    made = states()
    assert torch.equal(combine(made, (0, 1, 0))['w'], made[1]['w'])
    odd = [dict(w=torch.tensor([0.1])), dict(w=torch.tensor([math.inf])),
           dict(w=torch.tensor([math.nan]))]
    assert torch.equal(combine(odd, (1.0, 0.0, 0.0))['w'], odd[0]['w'])
    assert torch.allclose(combine(made, (0.5, 0.25, 0.25))['w'], torch.tensor([1, 0.75, 1.0]))
    assert combine(made, (0, 1, 0))['steps'] == 0
    half = [dict(w=state['w'].half()) for state in made]
    assert combine(half, (0.5, 0.25, 0.25))['w'].dtype == torch.float16


def test_distances_are_of_what_is_trained():
    far = distances(states(), ['w'])
    assert far['augmented to refined'] == pytest.approx(3)
    assert far['augmented to standard'] == pytest.approx(4)
    assert far['refined to standard'] == pytest.approx(5)
    assert far['angle at augmented'] == pytest.approx(90)


@pytest.mark.parametrize('steps', [1, 2, 3, 4, 7])
def test_coordinates_hold_zero_and_one(steps):
    xs = coordinates(steps).tolist()
    assert 0.0 in xs
    assert 1.0 in xs
    assert xs[0] <= -0.5
    assert xs[-1] >= 1.5


def test_what_is_not_finite_is_left_out():
    found = survey(states(), lambda state: (math.inf, math.nan), steps=1)
    assert found['plane'][0][0][0] is None
    assert found['lines']['augmented to refined'][1][0] is None


@pytest.fixture(scope='module')
def runs(mixup_run, standard_run):
    return [(loading.open_run(mixup_run), 'augmented'), (loading.open_run(mixup_run), 'last'),
            (loading.open_run(standard_run), 'last')]


def mean_risk(classifier, data):
    with torch.no_grad():
        logits = torch.cat([classifier.network(d['inputs']) for d in data])
    return F.cross_entropy(logits, torch.cat([d['label'] for d in data])).item()


def test_real_networks_have_their_own_risks_at_the_corners(runs):
    found = landscape.landscape(runs, images=16, steps=1)
    run, seed = runs[0][0], key('surface', runs[0][0].seed)
    batches = landscape.fetched(loading.loader_of(
        run.cfg, loading.images_of(run.cfg, 'clean'), seed, 16))
    for (other, weights), (x, y) in zip(runs, surface.CORNERS.values(), strict=True):
        classifier = loading.classifier_of(other, weights)
        data = [classifier.data_preprocessor(batch) for batch in batches]
        risks = [mean_risk(classifier, data)]
        reestimate(classifier.network, [d['inputs'] for d in data])
        risks.append(mean_risk(classifier, data))
        value = found['plane'][0][found['y'].index(y)][found['x'].index(x)]
        assert value == pytest.approx(risks[1], abs=1e-5)
        assert value != pytest.approx(risks[0], abs=1e-5)  # the run's own statistics
    assert found['distances']['augmented to refined'] < found['distances']['augmented to standard']
    assert found['options']['images'] == 16


def test_the_augmented_risk_makes_the_same_draws_at_every_point(runs):
    run, weights = runs[0]
    classifier = loading.classifier_of(run, weights)
    batches = landscape.fetched(loading.loader_of(
        run.cfg, loading.images_of(run.cfg, 'augmented'), 1, 16))
    risks = [landscape.mean_risk(classifier, batches, seed, mixed=True) for seed in (1, 1, 2)]
    assert risks[0] == risks[1] != risks[2]
    assert landscape.mean_risk(classifier, batches, 1, mixed=False) != risks[0]


def test_the_command(mixup_run, standard_run, tmp_path, capsys):
    assert cli.main(['analyze', 'surface', '--standard', str(standard_run), '--augmented',
                     f'{mixup_run}:augmented', '--refined', str(mixup_run), '--images', '16',
                     '--steps', '1', '-o', str(tmp_path)]) == 0
    assert 'clean barrier' in capsys.readouterr().out
    (entry,) = results.read(tmp_path / 'surface.json')
    assert [one['weights'] for one in entry['solutions'].values()] == ['augmented', 'last', 'last']
    for name in ('surface.svg', 'surface.png', 'surface_lines.svg', 'surface_lines.png'):
        assert (tmp_path / name).stat().st_size > 1000


def test_bad_input(runs):
    with pytest.raises(UserError, match='does not augment'):
        landscape.landscape([runs[2], runs[1], runs[2]])
    with pytest.raises(UserError):
        landscape.landscape(runs, steps=0)
