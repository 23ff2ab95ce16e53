"""Final weights do not depend on workers, their persistence, or the threads of a resumed run.

Figure R4. torch (oneDNN, MKL) divides sums among its threads, so that runs that are begun
with other numbers of threads differ in their last bits: a run goes on with its own number.
"""

from __future__ import annotations

import signal
from itertools import product

import pytest

SETTINGS = list(product((0, 1, 2), (False, True)))  # workers, persistent
SOME = [(0, False), (1, False), (2, True)]
CUT = 5  # inside the third epoch


def options(workers, persistent):
    return [f'{name}.{key}={value}' for name in ('train_dataloader', 'val_dataloader')
            for key, value in (('num_workers', workers), ('persistent_workers', persistent))]


def cut_off(stage, place, workers, persistent):
    ended = stage.run(place, '--resume', options=options(workers, persistent), threads=1,
                      patches=[['waits_after', CUT]], signal=signal.SIGKILL,
                      seen=str(place / 'run' / f'iter_{CUT}.pth'))
    assert ended.struck


def others(stages, expected, places):
    """The settings whose outcome is another."""
    return [name for name, place in places.items() if stages.outcome(place) != expected]


@pytest.mark.figure('R4')
@pytest.mark.slow
def test_settings_change_nothing(stage1, stages, tmp_path, full, tally):
    places, settings = {}, SETTINGS if full else SOME
    for setting, again in zip(settings, settings[::-1], strict=True):
        straight = places[setting, 'one thread'] = tmp_path / f'{setting} straight'
        assert stage1.run(straight, options=options(*setting)).codes == (0,)
        if not full and len(places) > 1:
            continue
        resumed = places[setting, 'resumed on two'] = tmp_path / f'{setting} resumed'
        cut_off(stage1, resumed, *setting)
        assert stage1.run(resumed, '--resume', options=options(*again), threads=2).codes == (0,)
    missed = others(stages, stage1.whole('--seed', 0)[0], places)
    tally(len(missed), len(places))
    assert not missed


@pytest.mark.figure('R4')
@pytest.mark.slow
def test_settings_change_nothing_on_two_threads(stage1, stages, tmp_path, full, tally):
    places = {}
    for setting in SETTINGS if full else [SETTINGS[0], SETTINGS[-1]]:
        places[setting] = tmp_path / str(setting)
        assert stage1.run(places[setting], options=options(*setting), threads=2).codes == (0,)
    expected, one = stages.outcome(places[0, False]), stage1.whole('--seed', 0)[0]
    missed = others(stages, expected, places)
    tally(len(missed), len(places))
    assert not missed
    # negative control: a run that goes on with the threads it finds, where they matter
    cut_off(stage1, tmp_path / 'cut', 0, False)
    assert stage1.run(tmp_path / 'cut', '--resume', threads=2,
                      patches=[['threads_of_the_machine']]).codes == (0,)
    assert (stages.outcome(tmp_path / 'cut') == one) == (expected == one)


@pytest.mark.figure('R4')
@pytest.mark.slow
def test_samples_seeded_by_worker_are_noticed(stage1, stages, tmp_path):
    assert stage1.run(tmp_path, options=options(2, True), patches=[['seeded_by_worker']]).codes == (
        0,)
    expected = stage1.whole('--seed', 0)[0]
    assert stages.outcome(tmp_path)['state_dict'] != expected['state_dict']
