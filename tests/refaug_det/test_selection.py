"""Selection over epochs and spread over runs, on rows made by hand."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refaug_det.comparison.selection import Spread, select, spread
from refaug_det.errors import UserError

MEDIAN = 'median of last 3 epochs'


def rows(*values: float | None, phase: str | None = None, first: int = 1) -> list[dict]:
    return [dict(epoch=first + number, phase=phase, loss=1.0) | (
        {} if value is None else {'top-1': value}) for number, value in enumerate(values)]


RUN = [*rows(10, 90, 50, 70, 60, phase='augmented'),
       *rows(80, 30, 40, 20, phase='refinement', first=6)]


@pytest.mark.parametrize(('phase', 'rule', 'value'), [
    ('augmented', MEDIAN, 60), ('augmented', 'median of last 4 epochs', 65),
    ('augmented', 'best epoch', 90), ('augmented', 'last epoch', 60),
    ('refinement', MEDIAN, 30), ('refinement', 'best epoch', 80),
    ('refinement', 'last epoch', 20)])
def test_a_rule_takes_its_epochs_of_its_phase(phase, rule, value):
    assert select(RUN, phase, 'top-1', rule).value == value
    assert select(RUN[::-1], phase, 'top-1', rule).value == value  # whatever the order
    without = select(RUN[:5], phase, 'top-1', rule).value
    assert without == (value if phase == 'augmented' else None)


def test_a_run_without_the_hook_has_the_phase_none():
    assert select(rows(1, 2, 3), None, 'top-1', MEDIAN).value == 2
    found = select(rows(1, 2, 3), 'augmented', 'top-1', MEDIAN)
    assert (found.value, found.lacking) == (None, 'top-1 in 0 of the 3 epochs it takes')


@pytest.mark.parametrize(('values', 'rule', 'lacking'), [
    ((1, 2), MEDIAN, 'top-1 in 2 of the 3 epochs it takes'),
    ((1, 2, None, 3), MEDIAN, 'top-1 in 2 of the 3 epochs it takes'),
    ((1, 2, None), 'last epoch', 'top-1 in 0 of the 1 epochs it takes'),
    ((None, 1, 2), 'best epoch', 'top-1 in 2 of the 3 epochs it takes'),
    ((), 'best epoch', 'no epoch of this phase')])
def test_a_run_tested_in_too_few_epochs_gives_nothing_and_says_why(values, rule, lacking):
    found = select(rows(*values), None, 'top-1', rule)
    assert (found.value, found.lacking) == (None, lacking)
    filled = rows(*(0 if value is None else value for value in values), 0, 0, 0)
    assert select(filled, None, 'top-1', rule).value is not None


@given(st.lists(st.floats(0, 100), min_size=10, max_size=40))
def test_the_median_is_of_exactly_the_last_ten(values):
    found = select(rows(*values), None, 'top-1', 'median of last 10 epochs')
    assert found.value == statistics.median(values[-10:])
    moved = [101.0, *values]  # an epoch before them changes nothing
    assert select(rows(*moved), None, 'top-1', 'median of last 10 epochs') == found


@pytest.mark.parametrize('rule', ['median of last 0 epochs', 'median', 'first epoch', 'last', ''])
def test_another_rule_is_refused(rule):
    with pytest.raises(UserError, match='no such rule'):
        select(RUN, 'augmented', 'top-1', rule)


def test_the_spread_of_runs():
    assert spread([70.0, 72.0, 74.0]) == Spread(72.0, 2.0, 3, 70.0, 74.0)
    assert spread([70.0]) == Spread(70.0, None, 1, 70.0, 70.0)
    assert spread([]) == Spread(None, None, 0)
    assert spread([70.0, 72.0, 74.5]) != Spread(72.0, 2.0, 3, 70.0, 74.0)
