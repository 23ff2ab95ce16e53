"""Runs whose process group is killed at random moments end as if nothing had happened.

Figures R1 and R2. What is compared is all that a run leaves: weights, the moving average,
the optimiser, the history, the weights before the switch, and the registered backbones.
"""

from __future__ import annotations

import random
import signal
from itertools import count

import pytest

KILL = signal.SIGKILL


def interrupted(stage, stages, place, draw, longest, workers, seed, most, *options):
    """Kill a run at random moments until one goes through: how often, and the ends' outcome."""
    loaders = [f'{name}.num_workers={workers}' for name in ('train_dataloader', 'val_dataloader')]
    if stage.tool == 'train_det':  # its validation is its test
        loaders[1] = f'test_dataloader.num_workers={workers}'

    def start(after, number):
        return stage.run(place, '--resume', '--seed', seed, options=[*loaders, *options],
                         signal=number, after=after)

    struck, last = stages.outlive(start, longest, draw, [KILL], most)
    assert last.codes == (0,), last.text
    assert {code for one in struck for code in one.codes} <= {-KILL}
    return struck, stages.outcome(place)


def measure(stage, stages, folder, kills, seeds, intervals):
    """(kills, kills after which a run ended otherwise, its first differences, all that struck)."""
    draw, done, missed, differ, struck = random.Random(1), 0, 0, {}, []
    for number in count():
        if done >= kills:
            return done, missed, differ, struck
        seed = draw.choice(seeds)
        expected, seconds = stage.whole('--seed', seed)
        hit, found = interrupted(
            stage, stages, folder / str(number), draw, seconds, number % 3, seed, kills - done,
            f'default_hooks.checkpoint.interval_iters={draw.choice(intervals)}')
        done += len(hit)
        struck += [one.seconds / seconds for one in hit]
        if found != expected:
            missed += len(hit)
            differ[number] = [key for key in expected if found.get(key) != expected[key]]


def assert_spread(shares):
    """Kills fell into every quarter of a run's life."""
    assert {min(int(4 * share), 3) for share in shares} == {0, 1, 2, 3}


@pytest.mark.figure('R1')
@pytest.mark.slow
def test_kills_of_stage_1_change_nothing(stage1, stages, tmp_path, full, tally):
    done, missed, differ, struck = measure(
        stage1, stages, tmp_path, 240 if full else 40, range(6) if full else [0], [1, 2, 5])
    tally(missed, done)
    assert not missed, differ
    assert_spread(struck)


@pytest.mark.figure('R2')
@pytest.mark.slow
def test_kills_of_a_detector_change_nothing(stage2, stages, tmp_path, full, tally):
    done, missed, differ, _ = measure(
        stage2, stages, tmp_path, 60 if full else 8, range(3) if full else [0], [1, 2])
    tally(missed, done)
    assert not missed, differ


@pytest.mark.parametrize(('stage', 'patch', 'changed'), [
    pytest.param('stage1', 'unkeyed', 'state_dict', marks=pytest.mark.figure('R1')),
    pytest.param('stage1', 'replayed', 'state_dict', marks=pytest.mark.figure('R1')),
    pytest.param('stage1', 'without_average', 'run/history.json', marks=pytest.mark.figure('R1')),
    pytest.param('stage2', 'unkeyed', 'state_dict', marks=pytest.mark.figure('R2'))])
@pytest.mark.slow
def test_without_its_mechanism_a_kill_is_noticed(request, stages, tmp_path, stage, patch, changed):
    """Killed within an epoch, and resumed without one of the mechanisms."""
    stage = request.getfixturevalue(stage)
    expected, _ = stage.whole('--seed', 0)
    cut = 5 if stage.tool == 'train_cls' else 4
    ended = stage.run(tmp_path, '--resume', signal=KILL, patches=[['waits_after', cut]],
                      seen=str(tmp_path / 'run' / f'iter_{cut}.pth'))
    assert ended.struck
    assert stage.run(tmp_path, '--resume', patches=[[patch]]).codes == (0,)
    assert stages.outcome(tmp_path)[changed] != expected[changed]
