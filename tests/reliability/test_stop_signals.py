"""SIGTERM and Ctrl-C at random moments, to all processes of a run: it goes on bitwise equal.

Figure R14. Only a signal makes these runs save: what they have done, they go on from.
"""

from __future__ import annotations

import random
import signal
from itertools import count

import pytest

from refaug_det.runs import checkpoints, records

NUMBERS = (signal.SIGTERM, signal.SIGINT)
QUIET = ['default_hooks.checkpoint.interval=99', 'default_hooks.checkpoint.interval_iters=99']


def stopped(stage, stages, place, draw, workers, most):
    """Signal a run until it goes through: how it ended each time, and what it leaves."""
    options = [*QUIET, f'train_dataloader.num_workers={workers}']
    _, seconds = stage.whole('--seed', 0)

    def start(after, number):
        before = checkpoints.newest_valid(place / 'run')
        ended = stage.run(place, '--resume', options=options, signal=number, after=after)
        if ended.struck and 'with a checkpoint; --resume goes on' in ended.text:
            assert records.read(place / 'run').status == 'interrupted'
            _, state = checkpoints.newest_valid(place / 'run')
            assert f'ended after iteration {state["iteration"]} ' in ended.text
            assert before is None or before[1]['iteration'] <= state['iteration']
        return ended

    struck, last = stages.outlive(start, seconds, draw, NUMBERS, most)
    assert last.codes == (0,), last.text
    return struck, stages.outcome(place)


@pytest.mark.figure('R14')
@pytest.mark.slow
def test_signals_change_nothing(stage1, stage2, stages, tmp_path, full, tally):
    draw, differ, struck, signals = random.Random(2), {}, [], 40 if full else 4
    for number in count():
        if len(struck) >= signals:
            break
        stage = stage2 if full and number % 4 == 3 else stage1
        hit, found = stopped(stage, stages, tmp_path / str(number), draw, number % 3,
                             signals - len(struck))
        expected, _ = stage.whole('--seed', 0)
        struck += hit
        if hit and found != expected:
            differ[number] = [key for key in expected if found.get(key) != expected[key]]
    tally(len(differ), len(struck))
    assert not differ
    codes = {code for one in struck for code in one.codes}
    # a signal while the first modules are imported ends a process as it ends any other
    assert codes <= {143, 130, -signal.SIGTERM, -signal.SIGINT}
    assert codes & {143, 130}
    assert not any('Traceback' in one.text for one in struck if one.codes[0] > 0)
