"""Stage 1 on two processes of this machine, through tools/dist_train.sh, with gloo."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from refaug_det.backbones import zoo
from refaug_det.errors import UserError, exits_cleanly
from refaug_det.runs import history, loops, records, torchrun

ROOT = Path(__file__).parents[2]

# a module that the config of the test imports: every rank tells what it ends with
HOOK = '''
import json, os
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from refaug_det.runs.checkpoints import unwrapped


@HOOKS.register_module()
class RankHook(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        self.indices = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.indices.append(data_batch['index'].tolist())

    def after_train_epoch(self, runner):
        state = unwrapped(runner.model).state_dict()
        told = dict(
            weights={k: v.double().flatten().tolist() for k, v in state.items()
                     if 'running' not in k and 'tracked' not in k},
            buffers={k: v.double().flatten().tolist() for k, v in state.items()
                     if 'running' in k or 'tracked' in k},
            tracked=str(state['network.net.bn1.num_batches_tracked'].dtype),
            indices=self.indices, port=os.environ['MASTER_PORT'])
        Path(runner.work_dir, f'rank{get_rank()}-{runner.epoch + 1}.json').write_text(
            json.dumps(told))
'''


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return str(one.getsockname()[1])


def dist_train(*words, **environment):
    return subprocess.run(
        ['bash', str(ROOT / 'tools' / 'dist_train.sh'), *map(str, words)], cwd=ROOT, text=True,
        capture_output=True, timeout=300, check=False,
        env=os.environ | dict(PYTHON=sys.executable, PORT=free_port(), CUDA_VISIBLE_DEVICES='')
        | environment)


@pytest.mark.figure('R15')
@pytest.mark.slow
def test_two_processes_end_with_one_model(arguments, tmp_path, zoo_dir, tally):
    (tmp_path / 'rank_hook.py').write_text(HOOK)
    config = tmp_path / 'two.py'
    config.write_text(
        f"_base_ = {str(ROOT / 'configs' / 'cls' / 'toy_mixup_refine.py')!r}\n"
        "custom_imports = dict(imports=['classification.train', 'rank_hook'])\n"
        "custom_hooks = [dict(type='RefAugRefinementHook', epochs=1), dict(type='RankHook')]\n")
    port = free_port()
    path, *options = arguments(tmp_path / 'run', config=config, epochs=2)
    done = dist_train(path, 2, *options, PYTHONPATH=str(tmp_path), PORT=port)
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()
    assert done.stdout.count("classification run 'two'") == 1
    assert 'total batch 16 = 2 x 8 images' in done.stdout

    told = {epoch: [json.loads((tmp_path / 'run' / f'rank{rank}-{epoch}.json').read_text())
                    for rank in (0, 1)] for epoch in (1, 2)}
    tally(int(any(first[key] != second[key] for first, second in told.values()
                  for key in ('weights', 'buffers'))), 1)
    for epoch, (first, second) in told.items():
        assert first['weights'] == second['weights']
        assert first['buffers'] == second['buffers']
        assert first['tracked'] == 'torch.int64'
        assert first['buffers']['network.net.bn1.num_batches_tracked'] == [2 * epoch]
        assert first['port'] == second['port'] == port
        seen = [a + b for a, b in zip(first['indices'], second['indices'], strict=True)]
        assert first['indices'] != second['indices']
        for one in (0, 2)[:epoch]:  # every epoch is all of the data, shared by the two
            assert sorted(seen[one] + seen[one + 1]) == list(range(32))
    run = records.read(tmp_path / 'run')
    assert (run.status, run.device['processes']) == ('done', 2)
    assert len(history.read(tmp_path / 'run')) == 2
    assert [zoo.verify(name).provenance['epoch'] for name in run.registered] == [1, 2]
    for epoch, name in enumerate(run.registered, 1):  # with the buffers of both
        assert zoo.weights(name)['bn1.running_mean'].double().tolist() == (
            told[epoch][1]['buffers']['network.net.bn1.running_mean'])


@pytest.mark.figure('R15')
def test_shards_alone_would_part_the_models(observe, monkeypatch):
    """Negative control: two processes that do not speak to each other."""
    runners = []
    for rank in (0, 1):
        monkeypatch.setattr(loops, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setattr(loops, 'get_world_size', lambda: 2)
        runners.append(observe(f'rank{rank}', epochs=1, refine=0)[0])
    first, second = (runner.model.state_dict() for runner in runners)
    for key in first:
        assert torch.equal(first[key], second[key]) == key.endswith('tracked'), key


# the scripts import no torch: they start at once
SCRIPT = '''
import os, sys, time
from refaug_det.errors import UserError, exits_cleanly

@exits_cleanly
def main():
    rank = int(os.environ['RANK'])
    if rank in {ranks}:
        {act}
    time.sleep({wait})
    return 0

sys.exit(main())
'''
USER_ERROR = "raise UserError('the data is wrong', 'folder', 'mend it')"


@pytest.fixture
def torchrun_of(tmp_path, capfd, monkeypatch):
    """Exit code and stderr of two processes, of which some act and the others wait."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')

    def run(ranks, act, wait=60):
        path = tmp_path / 'script.py'
        path.write_text(SCRIPT.format(ranks=ranks, act=act, wait=wait))
        code = torchrun.main(['--nproc_per_node=2', f'--master_port={free_port()}', str(path)])
        return code, capfd.readouterr().err

    handlers = {one: signal.getsignal(one) for one in (
        signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
    yield run
    for one, handler in handlers.items():  # torchrun leaves its own
        signal.signal(one, handler)


@pytest.mark.parametrize('ranks', [(0, 1), (0,), (1,)])
def test_a_user_error_is_told_once_whoever_meets_it(torchrun_of, ranks):
    code, text = torchrun_of(ranks, USER_ERROR)
    assert code == 2
    assert text.splitlines() == ['error: the data is wrong', '  where: folder', '  fix: mend it']


def test_a_user_error_counts_more_than_what_fell_with_it(tmp_path, monkeypatch, capsys):
    told = tmp_path / 'error.json'
    told.write_text(json.dumps(dict(message='error: the data is wrong', timestamp=9)))
    failures = {0: ProcessFailure(0, 1, 1, str(tmp_path / 'none')),
                1: ProcessFailure(1, 2, 2, str(told))}

    def fail(argv):
        raise ChildFailedError('script', failures)

    monkeypatch.setattr('torch.distributed.run.main', fail)
    assert torchrun.main([]) == 2
    assert capsys.readouterr().err == 'error: the data is wrong\n'
    del failures[1]
    assert torchrun.main([]) == 1
    assert 'the data is wrong' not in capsys.readouterr().err


@pytest.mark.parametrize(('act', 'expected', 'says'), [
    ('sys.exit(7)', 7, 'exitcode  : 7'), ('os.kill(os.getpid(), 9)', 137, 'SIGKILL'),
    ("raise RuntimeError('a fault')", 1, 'RuntimeError: a fault')])
def test_other_failures_keep_their_code_and_are_told_in_full(torchrun_of, act, expected, says):
    code, text = torchrun_of((1,), act)
    assert code == expected
    assert says in text


def test_success_is_quiet(torchrun_of):
    assert torchrun_of((), 'pass', wait=0) == (0, '')


def test_a_single_process_tells_on_stderr(capsys, monkeypatch, tmp_path):
    @exits_cleanly
    def main():
        raise UserError('the data is wrong')

    monkeypatch.delenv('TORCHELASTIC_ERROR_FILE', raising=False)
    assert main() == 2
    assert capsys.readouterr().err == 'error: the data is wrong\n'
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'error.json'))
    assert main() == 2
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('words', [(), ('configs/cls/toy_standard.py',),
                                   ('configs/cls/toy_standard.py', 'two'),
                                   ('configs/cls/toy_standard.py', '0'),
                                   ('configs/cls/toy_standard.py', '--data-root', 'data')])
def test_wrong_usage(words):
    done = dist_train(*words)
    assert done.returncode == 2
    assert done.stderr.startswith('error: usage: tools/dist_train.sh CONFIG GPUS')
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


@pytest.mark.slow
def test_a_user_error_passes_through_the_script():
    done = dist_train('configs/cls/no_such.py', 1)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == 'error: no such config file'
    assert len(done.stderr.splitlines()) == 3
