"""Workers and drivers of a grid are killed, and the same command goes on: nothing is lost.

Figures R6 and R7 at test size. The negative controls take a mechanism away and see the loss.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from pathlib import Path

import pytest

from refaug_det.comparison import grid, kills
from refaug_det.comparison.compare import compare
from refaug_det.runs import locks

KILLS = 20


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


World = neighbour('grid_world').World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / 'grid')


def begun(world):
    world.until(lambda: any('epoch' in line for line in world.trace()))


def directories(world):
    return [trial.work_dir for trial in world.trials]


@pytest.mark.figure('R6')
def test_twenty_kills_lose_nothing(tmp_path, tally):
    world = World(tmp_path / 'grid', backbones='abc', seeds=4)
    toll = kills.survive(lambda: world.start(nap=0.2), directories(world), kills=KILLS, seed=1,
                         pause_s=(0.05, 0.3))
    tally(len(toll.lost) + len(toll.duplicated) + len(toll.redone), toll.kills)
    assert toll.kills == KILLS, toll
    assert toll.drivers
    assert toll.workers
    assert (toll.ended, toll.lost, toll.duplicated, toll.redone) == (0, [], [], [])
    assert not [line for line in world.trace() if 'twice' in line]
    # an epoch is done again only where a kill came between it and its record
    assert len(set(world.epochs())) == 12 * 4 <= len(world.epochs()) <= 12 * 4 + KILLS
    table = compare([world.folder])
    assert [(row.n, row.missing) for row in table.rows] == [(4, ())] * 3
    assert (table.copies, table.repeats) == (0, 0)


@pytest.mark.figure('R6')
@pytest.mark.parametrize('locked', [True, False])
def test_a_new_driver_leaves_the_processes_of_a_killed_one_alone(world, monkeypatch, locked):
    first = world.start(nap=0.3)
    begun(world)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert sum(map(len, kills.workers(directories(world)).values())) == 2  # they go on
    if not locked:  # negative control
        monkeypatch.setattr(locks, 'take', lambda path: os.open(os.devnull, os.O_RDONLY))
    toll = kills.survive(lambda: world.start(nap=0.1), directories(world), kills=0)
    twice = [line for line in world.trace() if 'twice' in line]
    assert bool(toll.duplicated) is bool(twice) is not locked
    assert len(world.epochs()) == 16 or not locked


def test_no_more_than_the_places_of_the_machine_are_taken(world):
    first = world.start(nap=0.3)
    begun(world)
    os.kill(first.pid, signal.SIGKILL)
    second = world.start(nap=0.01)
    most = 0
    while second.poll() is None:
        most = max(most, sum(map(len, kills.workers(directories(world)).values())))
        time.sleep(0.01)
    assert most == 2
    assert set(world.states().values()) == {'done'}


@pytest.mark.figure('R6')
@pytest.mark.parametrize('skips', [True, False])
def test_a_finished_run_is_not_redone(world, monkeypatch, skips):
    trials = world.trials[:1]
    assert world.drive(trials=trials, nap=0.0) == 0
    before = (trials[0].work_dir / 'run.json').read_bytes()
    if not skips:  # negative control: once, or it would never end
        state_of, told = grid.state_of, []

        def forgets(trial, **options):
            told.append(trial)
            found = state_of(trial, **options)
            return grid.State('cut off', 0.5) if len(told) == 1 else found

        monkeypatch.setattr(grid, 'state_of', forgets)
    seen = {}
    kills._note_finished([trials[0].work_dir], seen)
    assert world.drive(trials=trials, nap=0.0) == 0
    toll = kills.Toll()
    kills._judge([trials[0].work_dir], seen, set(), toll)
    assert bool(toll.redone) is not skips
    assert ((trials[0].work_dir / 'run.json').read_bytes() == before) is skips


def test_what_is_lost_is_counted(world, tmp_path):
    assert world.drive(trials=world.trials[:3], nap=0.0) == 0
    copy = tmp_path / 'grid' / 'copy'
    copy.mkdir()
    (copy / 'run.json').write_bytes((directories(world)[0] / 'run.json').read_bytes())
    toll = kills.Toll()
    kills._judge([*directories(world), copy], {}, {'b-seed0'}, toll)
    assert toll.lost == ['b-seed1']
    assert toll.duplicated == ['b-seed0', 'a seed 0']


def test_two_drivers_share_a_grid(world):
    both = [world.start(parallel=1, nap=0.1) for _ in range(2)]
    assert [driver.wait() for driver in both] == [0, 0]
    assert len(world.epochs()) == 16
    assert not [line for line in world.trace() if 'twice' in line]


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_driver_that_is_asked_to_end_ends_its_processes_first(world, number, code):
    driver = world.start(nap=0.2)
    begun(world)
    os.kill(driver.pid, number)
    assert driver.wait() == code
    assert not kills.workers(directories(world))
    assert 'of 4 runs are done; the same command goes on' in world.log.read_text()
    stopped = [trial for trial in world.trials if grid.state_of(trial).status == 'cut off']
    assert stopped
    assert {grid.state_of(trial).record.status for trial in stopped} == {'interrupted'}
    assert world.drive(nap=0.0) == 0
    assert len(world.epochs()) == 16  # none twice: each ended after its epoch
