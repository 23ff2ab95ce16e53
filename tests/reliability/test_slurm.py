"""`tools/slurm_train.sh` with stand-ins for Slurm's commands: when a job goes back to the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = {
    'srun': 'shift\nexport SLURM_NODEID=0\n"$@"',
    'scontrol': 'if [ "$1" = show ]; then echo "node-a"; else echo "$@" >> "$LOG"; fi',
    'squeue': 'echo "$STATE"',
    'scancel': 'echo "scancel $@" >> "$LOG"\ntouch "$LOG.term"\nsleep "${LINGERS:-0}"',
    'python': 'echo "$@" > "$LOG.python"\ntouch "$LOG.begun"\n'
              'while [ -n "$WAITS" ] && [ ! -e "$LOG.term" ]; do sleep 0.05; done\nexit "$CODE"'}


@pytest.fixture
def job(tmp_path):
    """Starts the script as Slurm would; `code` is what the training ends with."""
    for name, body in COMMANDS.items():
        (tmp_path / name).write_text(f'#!/bin/bash\n{body}\n')
        (tmp_path / name).chmod(0o755)

    def start(code, state='RUNNING', waits='', lingers='0'):
        words = ('configs/cls/toy_standard.py', '--seed', '1')
        return subprocess.Popen(
            ['bash', 'tools/slurm_train.sh', *words], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | dict(
                PATH=f'{tmp_path}:{os.environ["PATH"]}', LOG=str(tmp_path / 'log'),
                CODE=str(code), STATE=state, WAITS=waits, LINGERS=lingers, SLURM_JOB_ID='7',
                SLURM_JOB_NUM_NODES='1', SLURM_JOB_NODELIST='node-a', SLURM_GPUS_ON_NODE='4'))

    return start


def log(tmp_path, name='log'):
    path = tmp_path / name
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(('code', 'state', 'back'), [
    (143, 'RUNNING', True), (143, 'CANCELLED', False), (143, 'COMPLETING', False),
    (0, 'RUNNING', False), (2, 'RUNNING', False), (1, 'RUNNING', False)])
def test_only_a_run_that_was_asked_to_end_goes_back(job, tmp_path, code, state, back):
    process = job(code, state)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert log(tmp_path) == (['requeue 7'] if back else [])


def test_the_words_and_places_reach_the_launcher(job, tmp_path):
    job(0).communicate(timeout=60)
    words, = log(tmp_path, 'log.python')
    assert '--nnodes=1 --node_rank=0 --master_addr=node-a --master_port=20007' in words
    assert '--nproc_per_node=4 ' in words
    assert words.endswith('train_cls.py configs/cls/toy_standard.py --launcher pytorch '
                          '--resume --seed 1')


def test_the_signal_before_the_time_limit_reaches_the_run(job, tmp_path):
    process = job(143, waits='yes')
    while not (tmp_path / 'log.begun').exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert log(tmp_path) == ['scancel --signal=TERM 7', 'requeue 7']
    assert 'back to the queue' in out


def test_a_run_that_fails_as_it_is_asked_to_end_keeps_its_code(job, tmp_path):
    process = job(7, waits='yes', lingers='1')  # it has ended before the signal is dealt with
    while not (tmp_path / 'log.begun').exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert log(tmp_path) == ['scancel --signal=TERM 7']


def test_without_slurm_it_says_how_it_is_called():
    done = subprocess.run(['bash', 'tools/slurm_train.sh', 'x.py'], cwd=ROOT, text=True,
                          capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith('error: usage: sbatch ')
