"""What a report says of a comparison, and what it draws: no more than the numbers do."""

from __future__ import annotations

import dataclasses

import pytest

from refaug_det.comparison.compare import METRIC, compare
from refaug_det.reports import shared, summary
from refaug_det.reports.forest import forest
from refaug_det.reports.sections import Material
from refaug_det.runs.records import RunRecord

SPREAD = (0.0, 0.5, -0.5, 0.2)


def put(folder, name, seed, value, **fields):
    RunRecord(**{**dict(
        name=name, stage='detection', status='done', seed=seed, selection='last epoch',
        id=f'{name} {seed}', protocol={'epochs': 12}, backbone=dict(
            name=name, sha256=name, run=None), metrics={
                **({} if value is None else {METRIC: value}), **fields.pop('metrics', {})}),
            **fields}).write(folder / f'{name}-{seed}')


@pytest.fixture
def compared(tmp_path):
    """`compared(standard=[...], mixup=[...])`: a tested comparison of such values by seed."""
    def of(**values):
        for name, those in values.items():
            for seed, value in enumerate(those):
                put(tmp_path, name, seed, value)
        return compare([tmp_path], test=True)
    return of


def around(value, n=4):
    return [value + shift for shift in SPREAD[:n]]


def said(comparison):
    text = ' '.join([summary.headline(comparison), *summary.sentences(comparison)])
    return text.replace('\N{NO-BREAK SPACE}', ' ')


def test_single_runs_prove_nothing(compared):
    comparison = compared(standard=[70.0], mixup=[79.0])
    assert said(comparison).startswith('Nothing is shown: single runs prove nothing. mixup against '
                                       'standard: +9.00, with 1 run against 1 run.')
    assert summary.tone(comparison) == 'nothing'
    section = shared.difference(Material(comparison))
    assert 'No difference can be tested' in section.missing[0].what
    assert section.forest.lines[0].ends == ()


def test_an_interval_that_includes_zero_shows_nothing(compared):
    text = said(compared(standard=around(70.0), mixup=around(70.2)))
    assert text.startswith('Nothing is shown: every interval includes zero. ')
    assert '+0.20, 95 % interval [-0.' in text
    assert 'over runs, n = 4 each. The interval includes zero: nothing is shown.' in text
    assert 'runs of each would show it in four of five cases' in text


def test_an_interval_alone_is_no_proof(compared):
    comparison = compared(standard=around(70.0, 3), mixup=around(75.0, 3))
    assert comparison.verdicts[0].interval.excludes(0)
    assert comparison.verdicts[0].p == pytest.approx(0.1)  # of three runs each, the least
    comparison = dataclasses.replace(comparison, best=None)
    text = said(comparison)
    assert 'Nothing is shown yet' in text
    assert 'the permutation test over runs does not (p = 0.100 after Holm)' in text
    assert summary.tone(comparison) == 'nothing'


def test_what_is_shown_is_said(compared, tmp_path):
    comparison = compared(standard=around(70.0), mixup=around(75.0))
    assert said(comparison).startswith('mixup is better than every other backbone')
    assert 'The difference is shown (p = 0.029 after Holm).' in said(comparison)
    assert summary.tone(comparison) == 'shown'
    other = dataclasses.replace(compare([tmp_path], baseline='mixup', test=True), best=None)
    assert summary.headline(other) == 'standard is worse (-5.00) than mixup.'
    assert summary.tone(other) == 'shown'
    untold = dataclasses.replace(comparison, best=None, verdicts=())
    assert 'shown (p' not in said(untold)


def test_no_value_is_no_difference(compared, tmp_path):
    put(tmp_path, 'cutmix', 0, None, metrics={'AP': 3.0})
    comparison = compared(standard=[70.0, 70.5])
    assert 'cutmix: no difference can be told; cutmix has no value.' in said(comparison)
    assert forest(comparison) is None
    alone = dataclasses.replace(comparison, rows=comparison.rows[:1])
    assert summary.headline(alone) == 'One backbone alone: there is nothing to compare.'


def test_marks_of_the_forest_stand_where_their_numbers_are(compared):
    comparison = compared(standard=around(70.0), mixup=around(75.0), cutmix=[66.0])
    drawn = forest(comparison)
    mixup, standard, cutmix = drawn.lines
    assert [line.cells[0] for line in drawn.lines] == ['mixup', 'standard', 'cutmix']
    interval = comparison.verdicts[0].interval
    scale = (mixup.mean - drawn.zero) / interval.value  # per cent of the width a point
    assert scale > 0
    for place, value in zip((*mixup.ends, cutmix.mean, *mixup.runs), (
            interval.low, interval.high, 66.0 - 70.05, *(v - 70.05 for v in around(75.0))),
            strict=True):
        assert place - drawn.zero == pytest.approx(scale * value, abs=0.02)
        assert 0 < place < 100
    ticks = dict((label, place) for place, label in drawn.ticks)
    assert ticks['0'] == drawn.zero
    assert (mixup.real, standard.real, cutmix.real) == (True, False, False)
    assert (standard.ends, cutmix.ends) == ((), ())
    assert standard.mean == drawn.zero != cutmix.mean


def test_colours_of_the_heat_map_follow_the_differences(tmp_path):
    for seed, shift in enumerate((0.0, 0.2)):
        for name, cat, dog in (('standard', 50.0, 50.0), ('mixup', 54.0, 49.0),
                               ('random', 10.0, 12.0)):
            put(tmp_path, name, seed, (cat + dog) / 2 + shift, metrics={
                f'{METRIC}/cat': cat + shift, f'{METRIC}/dog': dog - 10 * shift, 'AP (large)': cat})
    material = Material(compare([tmp_path], test=True))
    table = shared.classes(material).tables[0]
    assert table.header == ('class', 'standard (mean)', 'mixup', 'random')
    assert table.rows == (('cat', '50.1', '+4.0', '-40.0'), ('dog', '49.0', '-1.0', '-38.0'))
    assert (table.levels[0, 2], table.levels[1, 2], table.levels[0, 3]) == (2, 0, -5)
    assert (0, 2) in table.bold  # 4 points with a spread of 0.1
    assert (1, 2) not in table.bold  # 1 point with a spread of 1.4
    sizes = shared.sizes(material).tables[0]
    assert [row[0] for row in sizes.rows] == ['large']


def test_without_classes_the_report_says_how_to_get_them(compared):
    material = Material(compared(standard=[70.0], mixup=[71.0]))
    for section in (shared.classes(material), shared.sizes(material)):
        assert section.tables == ()
        assert section.missing[0].command == 'refaug-det eval RUNS'
