"""Two processes of one run, of which one is killed: all end, and the same command goes on.

Figure R15. They are killed inside an epoch, where each has batch-norm statistics of its own.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

WITHIN_S = 30
CUT = 5  # inside the third epoch of two updates
TELLS = '''
import hashlib
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from refaug_det.runs.checkpoints import unwrapped


@HOOKS.register_module()
class TellsWeightsHook(Hook):
    """Every process tells what it ends with."""

    priority = 'LOWEST'

    def after_train(self, runner):
        found = hashlib.sha256()
        for value in unwrapped(runner.model).state_dict().values():
            found.update(value.numpy().tobytes())
        Path(runner.work_dir, f'rank{get_rank()}').write_text(found.hexdigest())
'''


@pytest.fixture(scope='module')
def pair(stage1, stages, tmp_path_factory):
    """The run of stage 1 on two processes, each of which tells its weights."""
    folder = tmp_path_factory.mktemp('pair')
    (folder / 'tells_weights.py').write_text(TELLS)
    config = folder / 'everything.py'
    hooks = "custom_hooks = [dict(type='TellsWeightsHook'),"
    config.write_text(stages.EVERYTHING.replace('custom_hooks = [', hooks) + (
        "custom_imports = dict(imports=['classification.train', 'tells_weights'])\n"))
    return stages.Stage(
        stage1.server, 'train_cls', [str(config), *stage1.words[1:], '--launcher', 'pytorch'],
        stage1.options, folder, {'PYTHONPATH': str(folder)})


def both(pair, place, *words, **how):
    return pair.run(place, *words, processes=2, patches=[
        ['importable', pair.env['PYTHONPATH']], *how.pop('patches', ())], **how)


@pytest.fixture(scope='module')
def expected(pair, stages, tmp_path_factory):
    place = tmp_path_factory.mktemp('straight')
    ended = both(pair, place)
    assert ended.codes == (0, 0), ended.text
    assert weights_told(place) == 1
    return stages.outcome(place)


def weights_told(place):
    """How many different weights the processes ended with."""
    return len({(place / 'run' / f'rank{rank}').read_text() for rank in (0, 1)})


def torchrun(stages, pair, place, *words):
    """The processes of tools/dist_train.sh, in a session of their own."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    place.mkdir(parents=True, exist_ok=True)
    config, *rest = pair.words[:-2]  # the script adds the launcher
    with open(place / 'log', 'wb') as log:
        return subprocess.Popen(
            ['bash', str(stages.ROOT / 'tools' / 'dist_train.sh'), config, '2', *rest, '--work-dir',
             str(place / 'run'), *words, '--cfg-options', *pair.options],
            cwd=stages.ROOT, stdout=log, stderr=log, start_new_session=True,
            env=os.environ | pair.env | dict(
                PYTHON=sys.executable, PORT=str(port), CUDA_VISIBLE_DEVICES='',
                REFAUG_DET_ZOO=str(place / 'zoo'), OMP_NUM_THREADS='1'))


def ranks_of(agent: int) -> dict[int, int]:
    """Process ids of the two ranks that torchrun has started."""
    children = Path(f'/proc/{agent}/task/{agent}/children').read_text().split()
    found = {}
    for pid in children:
        environment = Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
        found |= {int(one[5:]): int(pid) for one in environment if one.startswith(b'RANK=')}
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


def kill_one(stages, pair, place, rank, iteration) -> list[str]:
    """Kill a process after an iteration; what is wrong with how the others end."""
    agent = torchrun(stages, pair, place, '--resume')
    while not (place / 'run' / f'iter_{iteration}.pth').exists():
        assert agent.poll() is None, (place / 'log').read_text()
        time.sleep(0.001)
    ranks = ranks_of(agent.pid)
    os.kill(ranks[rank], signal.SIGKILL)
    killed = time.monotonic()
    while time.monotonic() - killed < WITHIN_S and (
            agent.poll() is None or any(map(alive, ranks.values()))):
        time.sleep(0.05)
    faults = [f'{name} lingers' for name, pid in (('agent', agent.pid), *ranks.items())
              if alive(pid)]
    for pid in (agent.pid, *ranks.values()):  # none is left to the next test
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    if agent.wait() != 128 + signal.SIGKILL:
        faults.append(f'exit code {agent.returncode}: {(place / "log").read_text()[-800:]}')
    return faults


def differences(stages, place, expected) -> list[str]:
    """In what a finished run is another, or its two processes differ."""
    found = stages.outcome(place)
    return [key for key in expected if found.get(key) != expected[key]] + (
        ['processes'] if weights_told(place) > 1 else [])


@pytest.mark.figure('R15')
@pytest.mark.slow
def test_one_of_two_processes_is_killed(pair, expected, stages, tmp_path, full, tally):
    draw, faults, launches = random.Random(3), {}, 0
    for case in range(5 if full else 1):
        place, rank = tmp_path / str(case), draw.randrange(2)
        iteration = draw.randrange(1, 11) if case else CUT
        faults[case, rank, iteration] = kill_one(stages, pair, place, rank, iteration)
        if full:
            code = torchrun(stages, pair, place, '--resume').wait()
        else:  # by gloo too, without torchrun: it imports everything twice again
            code = max(both(pair, place, '--resume').codes)
        faults[case, 'resumed'] = [f'exit code {code}'] if code else differences(
            stages, place, expected)
        launches += 2
    wrong = {case: found for case, found in faults.items() if found}
    tally(len(wrong), launches)
    assert not wrong


@pytest.mark.figure('R15')
@pytest.mark.parametrize('patch', [[], [['without_own_buffers']]])
@pytest.mark.slow
def test_each_process_goes_on_with_its_own_buffers(pair, expected, stages, tmp_path, patch):
    ended = both(pair, tmp_path, signal=signal.SIGKILL, hit=1,
                 patches=[*patch, ['waits_after', CUT]],
                 seen=str(tmp_path / 'run' / f'iter_{CUT}.pth'))
    assert ended.struck
    assert ended.codes[1] == -signal.SIGKILL
    assert ended.codes[0] not in (0, -signal.SIGKILL)  # it met the other's end
    assert ended.lingered < WITHIN_S
    assert both(pair, tmp_path, '--resume').codes == (0, 0)
    assert ('state_dict' in differences(stages, tmp_path, expected)) is bool(patch)
