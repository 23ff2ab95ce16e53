"""Verdicts of a comparison: what they are over, and when there are none."""

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from refaug_det import cli
from refaug_det.comparison import significance
from refaug_det.comparison.compare import METRIC, compare
from refaug_det.comparison.statistics import (
    difference_interval,
    permutation_p,
    runs_needed,
)
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord

PROTOCOL = {'train_cfg.max_epochs': 12}
STANDARD, MIXUP = (72.0, 72.6, 71.7, 72.2), (73.3, 73.9, 73.4, 74.1)
IMAGES = 30


def put(folder, name, values, kept=True):
    """Runs with seeds 0, 1, ...; the metric is the mean over images of what `images.npy` holds."""
    for seed, value in enumerate(values):
        run = folder / f'{name}{seed}'
        RunRecord(name, 'detection', 'done', seed=seed, selection='last epoch', protocol=PROTOCOL,
                  metrics={METRIC: value},
                  backbone={'name': name, 'sha256': f'{name} weights', 'run': None}).write(run)
        if kept:
            effects = np.random.default_rng(len(name)).normal(0, 5, IMAGES)
            np.save(run / 'images.npy', value + effects - effects.mean())


def of_run(run_dir, metric):
    """A resampler for these runs."""
    path = run_dir / 'images.npy'
    if not path.is_file():
        return None
    values = np.load(path)
    names = [f'{run_dir.name[:-1] if "other" in run_dir.name else ""}{n}' for n in range(IMAGES)]
    return names, lambda weights: weights @ values / weights.sum(1)


@pytest.fixture
def resampler(monkeypatch):
    class Point(EntryPoint):
        def load(self):
            return of_run

    monkeypatch.setattr(significance, 'entry_points',
                        lambda group: (Point('tests', 'tests:of_run', group),))


def judged(folder, **options):
    return list(compare([folder], test=True, **options).verdicts)


def test_over_runs_and_images(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', MIXUP)
    one, = judged(tmp_path)
    assert (one.backbone, one.over) == ('mixup', 'runs, images')
    assert one.interval.value == pytest.approx(np.mean(MIXUP) - np.mean(STANDARD))
    runs_alone = difference_interval(MIXUP, STANDARD)
    assert one.interval.low < runs_alone.low < runs_alone.high < one.interval.high
    assert one.p == one.adjusted == permutation_p(MIXUP, STANDARD) == 2 / 70
    sd = np.sqrt((np.var(STANDARD, ddof=1) + np.var(MIXUP, ddof=1)) / 2)
    assert runs_needed(one.interval.value, sd) == 3
    assert one.needed == 'more images'
    assert not one.shown
    assert judged(tmp_path) == [one]  # the same draws at every call


def test_over_runs_alone_where_detections_are_missing_or_of_other_images(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', MIXUP, kept=False)
    put(tmp_path, 'other', MIXUP)
    expected = difference_interval(MIXUP, STANDARD)
    for one in judged(tmp_path):
        assert one.over == 'runs'
        assert one.interval == expected


def test_many_rows_are_asked_of_more(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD)
    for number in range(3):
        put(tmp_path, f'mixup{"x" * number}', MIXUP)
    found = judged(tmp_path)
    assert [one.p for one in found] == [2 / 70] * 3
    assert [one.adjusted for one in found] == [pytest.approx(6 / 70)] * 3


@pytest.mark.parametrize('runs', [5, 6])
def test_runs_are_paired_by_seed_where_pairs_can_show_anything(tmp_path, resampler, runs):
    standard, mixup = np.random.default_rng(1).normal((72, 73), 0.5, (6, 2)).T[:, :runs].tolist()
    put(tmp_path, 'standard', standard)
    put(tmp_path, 'mixup', mixup)
    one, = judged(tmp_path)
    paired, alone = (permutation_p(mixup, standard, paired=each) for each in (True, False))
    assert one.p == (paired if runs >= significance.PAIRS else alone) != alone + paired - one.p
    assert 2 / 2**significance.PAIRS < significance.ALPHA <= 2 / 2**(significance.PAIRS - 1)


def test_other_seeds_are_not_paired(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD * 2)
    put(tmp_path, 'mixup', (MIXUP * 2)[:7])
    one, = judged(tmp_path)
    assert one.p == pytest.approx(permutation_p((MIXUP * 2)[:7], STANDARD * 2))


FIVE = (0.0, 0.6, -0.3, 0.2, 0.1)


@pytest.mark.parametrize(('second', 'runs', 'best'), [
    (72.0, 5, 'mixup'), (73.5, 5, None),
    (72.0, 3, None)])  # with three runs each no p is below 0.1
def test_the_best_is_named_where_it_is_shown_against_all_others(
        tmp_path, resampler, second, runs, best):
    for name, mean in (('standard', 72.0), ('mixup', 74.0), ('cutmix', second)):
        put(tmp_path, name, [mean + one for one in FIVE[:runs]], kept=False)
    put(tmp_path, 'random', [7.0])  # one run: in no test
    found = compare([tmp_path], test=True)
    assert found.best == best
    assert ('**mixup**' in found.to_markdown()) is ('Bold:' in found.to_markdown()) is bool(best)
    assert compare([tmp_path]).best is None
    assert '**mixup**' not in compare([tmp_path]).to_markdown()


def test_all_pairs_are_asked_at_once(tmp_path, resampler):
    """A difference that one pair alone would show is not shown among many."""
    put(tmp_path, 'standard', [72 + one for one in FIVE], kept=False)
    put(tmp_path, 'mixup', [72.8 + one for one in FIVE], kept=False)
    alone = compare([tmp_path], test=True)
    assert (alone.best, alone.verdicts[0].shown) == ('mixup', True)
    for number in range(6):
        put(tmp_path, f'other{number}', [72 - number + one for one in FIVE], kept=False)
    many = compare([tmp_path], test=True)
    assert many.best is None
    assert many.verdicts[0].interval == alone.verdicts[0].interval
    assert many.verdicts[0].interval.excludes(0)
    assert not many.verdicts[0].shown


def test_detections_that_are_not_those_of_the_record_are_refused(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', MIXUP)
    np.save(tmp_path / 'mixup1' / 'images.npy', np.load(tmp_path / 'standard1' / 'images.npy'))
    with pytest.raises(UserError, match=r'of 72\.6000, the record says 73\.9000') as error:
        judged(tmp_path)
    assert 'mixup1' in str(error.value)


def test_few_images_with_objects_leave_the_interval_to_the_runs(tmp_path, resampler, monkeypatch):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', MIXUP)
    over_all = judged(tmp_path)[0].interval

    def hardly_any(run_dir, metric):
        """Without the first image there is no object, and no metric."""
        names, values = of_run(run_dir, metric)
        return names, lambda weights: np.where(weights[:, 0] > 0, values(weights), np.nan)

    class Point(EntryPoint):
        def load(self):
            return hardly_any

    monkeypatch.setattr(significance, 'entry_points',
                        lambda group: (Point('tests', 'tests:hardly_any', group),))
    one, = judged(tmp_path)
    assert one.over == 'runs'
    assert one.interval == difference_interval(MIXUP, STANDARD) != over_all
    assert 'Over runs:' in str(compare([tmp_path], test=True))


def test_where_the_images_are_too_few_no_number_of_runs_would_do(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', [value + 0.1 for value in STANDARD])
    one, = judged(tmp_path)
    assert (one.runs_needed, one.needed) == (None, 'more images')
    for run in tmp_path.glob('*/images.npy'):
        run.unlink()
    one, = judged(tmp_path)
    assert one.needed == str(one.runs_needed)
    assert one.runs_needed > 100


def test_single_runs_get_no_verdict(tmp_path, resampler):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', MIXUP[:1])
    assert judged(tmp_path) == []
    with pytest.raises(UserError, match='99 resamples'):
        judged(tmp_path, resamples=99)


def test_the_command(tmp_path, resampler, capsys):
    put(tmp_path, 'standard', STANDARD)
    put(tmp_path, 'mixup', MIXUP)
    assert cli.main(['compare', str(tmp_path), '--test']) == 0
    out = capsys.readouterr().out
    assert '\n\nIs the difference real?\n' in out
    assert 'runs, images' in out
    assert cli.main(['compare', str(tmp_path), '--test', '--json']) == 0
    verdict, = json.loads(capsys.readouterr().out)['verdicts']
    assert (verdict['backbone'], verdict['p_holm']) == ('mixup', pytest.approx(2 / 70))
    assert cli.main(['compare', str(tmp_path), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['verdicts'] == []
    for seed in range(1, 4):
        (tmp_path / f'mixup{seed}' / 'run.json').unlink()
    assert cli.main(['compare', str(tmp_path), '--test']) == 0
    assert 'No difference to standard can be tested' in capsys.readouterr().out
