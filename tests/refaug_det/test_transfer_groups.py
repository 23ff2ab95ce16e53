"""Backbones that share a recipe are no independent points of `refaug-det analyze transfer`."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest
import torch

from refaug_det import cli
from refaug_det.backbones import zoo as zoo_of
from refaug_det.comparison import accuracies, transfer, transfer_command, transfer_tables
from refaug_det.comparison.compare import METRIC, compare
from refaug_det.runs import files
from refaug_det.runs.records import RunRecord

TOP_1 = 'top-1'


def points(rng, recipes, seeds, phases=1, slope=0.0, apart=False):
    """Backbones whose recipe has an accuracy and an AP; a seed and a phase change them little."""
    found = []
    for number in range(recipes):
        x, noise = rng.normal(size=2)
        y = slope * x + (1 - slope) * noise
        for phase in range(phases):
            for seed in range(seeds):
                values = (y + 0.1 * rng.normal() + 0.1 * rng.normal(size=3)).tolist()
                found.append(dict(
                    backbone=f'{number}{phase}{seed}', accuracy=x + 0.1 * rng.normal(),
                    values=values, mean=statistics.fmean(values), interval=None, accuracy_sd=None,
                    recipe=f'{number}{phase}{seed}' if apart else str(number), phase=str(phase)))
    return found


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(transfer, 'SIMULATED', 300)
    monkeypatch.setattr(transfer, 'GRID', 21)
    monkeypatch.setattr(transfer, 'ORDERS', 1000)


def claims(times, *args, **options):
    rng = np.random.default_rng(0)
    return np.mean([transfer_command.correlated(points(rng, *args, **options), 100)['shown']
                    for _ in range(times)])


@pytest.mark.parametrize(('recipes', 'seeds', 'phases'), [(3, 3, 1), (4, 1, 2), (6, 2, 1)])
def test_what_recipes_do_not_show_their_seeds_do_not_show(recipes, seeds, phases, coarse):
    assert claims(60, recipes, seeds, phases) <= 0.1  # 5 % and two binomial standard errors


@pytest.mark.parametrize('design', [(3, 3), (4, 1, 2)])
def test_the_negative_control_as_independent_points_they_would(design, coarse):
    assert claims(60, *design, apart=True) > 0.12


def test_what_recipes_show_is_still_shown(coarse):
    assert claims(10, 7, 2, 2, slope=0.9) > 0.8


def test_groups_are_means_of_seeds():
    rng = np.random.default_rng(1)
    seeds = points(rng, 5, 3)
    found = transfer_command.correlated(seeds)
    x, y = ([statistics.fmean(one[key] for one in seeds if one['recipe'] == str(number))
             for number in range(5)] for key in ('accuracy', 'mean'))
    assert [one['accuracy'] for one in found['groups']] == pytest.approx(x)
    assert [one['mean'] for one in found['groups']] == pytest.approx(y)
    assert found['groups'][0]['accuracy_sd'] == pytest.approx(
        statistics.stdev(one['accuracy'] for one in seeds[:3]))
    alone = transfer.correlate(x, [[value] for value in y], 'Kendall tau-b')
    kendall = found['correlations'][0]
    assert (kendall['value'], kendall['p'], kendall['count']) == (alone.value, alone.p, 5)
    assert kendall['over_backbones'] == [alone.over_backbones.low, alone.over_backbones.high]
    assert found['over_recipes'] is None
    apart = transfer.correlate([one['accuracy'] for one in seeds],
                               [one['values'] for one in seeds], 'Kendall tau-b')
    assert (apart.count, apart.p == alone.p) == (15, False)


def test_the_same_accuracy_in_every_seed_is_no_order():
    runs = [[50.0 + number] for number in range(6)]
    assert transfer.correlate([70.1] * 6, runs, 'Kendall tau-b', groups='aaabcc') is None
    assert transfer.correlate([70.1] * 5 + [70.2], runs, 'Kendall tau-b', groups='aaabcc')


def detect(folder, name, value, run=None, sha256=None):
    for seed in range(2):
        RunRecord(name, 'detection', 'done', seed=seed, selection='last epoch',
                  metrics={METRIC: value + seed / 10}, protocol=dict(epochs=12),
                  backbone=dict(name=name, sha256=sha256 or name, run=run)).write(
                      folder / f'det-{name}-{seed}')


def classify(folder, name, top_1, seed, registered, start=None):
    run = folder / f'cls-{name}-{seed}'
    record = RunRecord(name, 'classification', 'done', seed=seed, registered=registered,
                       metrics={TOP_1: top_1}, config=f'{name}.py')
    record.write(run)
    files.write_json(run / 'config.json', dict(randomness=dict(seed=seed), what=name, **(
        dict(refined_from=start) if start else {})))
    files.write_json(run / 'history.json', [
        dict(epoch=1, phase='augmented', loss=1.5, lr=0.1, **{TOP_1: top_1 - 1}),
        dict(epoch=2, phase='refinement', loss=1.0, lr=0.1, **{TOP_1: top_1})])
    return record.id


@pytest.fixture
def runs(tmp_path):
    """Three recipes of three seeds, one of them before and after its switch."""
    folder = tmp_path / 'runs'
    for seed in range(3):
        for number, name in enumerate(['standard', 'cutmix']):
            own = f'{name}-s{seed}'
            detect(folder, own, 70.0 + number + seed / 5,
                   classify(folder, name, 76.0 + number + seed / 3, seed, [own]))
        pair = [f'mixup-s{seed}-augmented', f'mixup-s{seed}-refined']
        run = classify(folder, 'mixup', 79.0 + seed / 7, seed, pair)
        detect(folder, pair[0], 67.0, run)
        detect(folder, pair[1], 73.0, run)
    return folder


def measured(folder, **options):
    return transfer_command.measure(
        compare([folder]), transfer_command.stage_1_runs([folder]), **options)


def test_seeds_of_a_recipe_are_one_point_and_it_is_told(runs, tmp_path, capsys):
    assert cli.main(['analyze', 'transfer', str(runs), '-o', str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    found = json.loads((tmp_path / 'out' / 'transfer.json').read_text())
    assert sorted(len(one['backbones']) for one in found['groups']) == [3, 3, 3, 3]
    assert (len(found['points']), found['recipes'], found['shown']) == (12, 3, False)
    assert found['correlations'][0]['count'] == 4
    assert 'over 4 points (12 backbones; those that differ in the seed of stage 1 alone' in out
    assert 'with a point a recipe, 3 of them' in out
    assert 'standard-s2, standard-s1, standard-s0 (means 76.33 and 70.25)' in out


def test_seeds_of_two_recipes_are_refused(runs, tmp_path, capsys):
    for place in runs.glob('cls-mixup-*'):
        (place / 'run.json').unlink()
    assert cli.main(['analyze', 'transfer', str(runs), '-o', str(tmp_path / 'out')]) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 3
    assert f'of 6 backbones with {METRIC}; without seeds of the same recipe these are 2' in err
    assert not (tmp_path / 'out').exists()


def test_columns_of_the_training_are_no_metric(runs):
    assert measured(runs, classification_metric=TOP_1)['points']
    for column in ('loss', 'lr', 'epoch'):
        assert not measured(runs, classification_metric=column)['points']


def recipes_of(folder):
    known, _ = accuracies.of_backbones(
        compare([folder]).trials, transfer_command.stage_1_runs([folder]), TOP_1, {})
    return {name: (one.recipe, one.phase) for name, one in known.items()}


def test_refinements_of_seeds_are_of_one_recipe_and_of_other_weights_are_not(tmp_path):
    folder = tmp_path / 'runs'
    starts = ['weights_augmented.safetensors'] * 2 + ['theirs.pth'] * 2
    for seed, file in enumerate(starts):
        run = classify(folder, 'bn', 70.0, seed, [f'bn-{seed}'], dict(file=file, sha256=f'{seed}'))
        detect(folder, f'bn-{seed}', 70.0, run)
    assert len(set(recipes_of(folder).values())) == 3


def test_seeds_whose_runs_are_not_here_are_known_by_their_cards(runs, tmp_path, zoo):
    spec = zoo_of.BackboneSpec('resnet18', 64, (1,) * 4, (4, 8, 16, 32), (0.0,) * 3, (1.0,) * 3)
    for seed, config in enumerate(['far.py', 'far.py', 'other.py', 'cutmix.py']):
        card = zoo_of.register(f'far-{seed}', {'a': torch.full((2,), seed)}, spec, provenance=dict(
            config=config, run=f'far {seed}', augmentation_ended=False), metrics={TOP_1: 70.0})
        detect(runs, f'far-{seed}', 60.0, f'far {seed}', card.sha256)
    found = recipes_of(runs)
    assert found['far-0'] == found['far-1'] != found['far-2']
    assert found['far-3'] == found['cutmix-s0'] == found['cutmix-s1']
    assert found['mixup-s0-augmented'][0] == found['mixup-s1-refined'][0]
    assert found['mixup-s0-augmented'][1] != found['mixup-s1-refined'][1]


def test_the_figure_has_a_point_a_group(runs):
    left = transfer_tables.draw(measured(runs)).axes[0]
    assert sorted(text.get_text().count(',') for text in left.texts) == [2, 2, 2, 2]
