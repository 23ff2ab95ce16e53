"""Slurm's pre-emption: SIGTERM to every process of a real run, then the same command again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from refaug_det.runs import checkpoints, history, records

ROOT = Path(__file__).parents[2]


@pytest.mark.figure('R14')
@pytest.mark.slow
def test_a_run_that_slurm_ends_goes_on_bitwise_equal(train_cls, arguments, tmp_path, zoo_dir,
                                                     tally):
    options = dict(epochs=20, refine=10, options=['train_dataloader.num_workers=1',
                                                  'val_dataloader.num_workers=1'])
    words = arguments(tmp_path / 'cut', **options)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'tools' / 'train_cls.py'), *words], start_new_session=True,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=os.environ | dict(CUDA_VISIBLE_DEVICES=''))
    while not list((tmp_path / 'cut').glob('iter_*.pth')) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)  # its workers too
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, out + err
    assert err.splitlines()[-1].startswith('interrupted: SIGTERM, ended after iteration ')
    assert 'Traceback' not in err
    cut = records.read(tmp_path / 'cut')
    assert cut.status == 'interrupted'
    iteration = checkpoints.newest_valid(tmp_path / 'cut')[1]['iteration']
    assert f'after iteration {iteration} ' in cut.error
    assert iteration < 40

    assert train_cls([*words[:1], '--resume', *words[1:]]) == 0
    assert train_cls(arguments(tmp_path / 'whole', '--name', 'whole', **options)) == 0
    ends = [checkpoints.newest_valid(tmp_path / name)[1] for name in ('cut', 'whole')]
    assert [end['iteration'] for end in ends] == [40, 40]
    first, second = (end['state_dict'] for end in ends)
    assert first.keys() == second.keys()
    equal = all(torch.equal(first[key], second[key]) for key in first)
    tally(int(not equal), 1)
    assert equal
    done = records.read(tmp_path / 'cut')
    assert (done.status, done.id) == ('done', cut.id)
    assert done.wall_time_s > cut.wall_time_s
    rows = [history.read(tmp_path / name) for name in ('cut', 'whole')]
    assert [row['top-1'] for row in rows[0]] == [row['top-1'] for row in rows[1]]
