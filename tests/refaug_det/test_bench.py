"""`refaug-det bench` on stand-ins for training."""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from pathlib import Path

import pytest

from refaug_det.cli import main
from refaug_det.comparison import bench_commands, grid
from refaug_det.comparison.grid import Plan
from refaug_det.errors import UserError
from refaug_det.runs import launch, records


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


grid_world = neighbour('grid_world')


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder of stand-ins; `world.plan` is what the backbones would record."""
    made = grid_world.World(tmp_path / 'grid')
    made.plan = Plan(grid_world.CONFIG, 'f' * 64)
    monkeypatch.setattr(bench_commands, 'plans',
                        lambda config, names, options: dict.fromkeys(names, made.plan))
    monkeypatch.setattr(bench_commands, 'command', lambda trial, *_: made.command(trial))
    monkeypatch.setattr(bench_commands, 'devices', lambda: [])
    monkeypatch.setenv('PYTHONPATH', str(Path(__file__).parents[2]))
    monkeypatch.setenv('NAP', '0.01')
    return made


@pytest.fixture
def bench(world):
    def run(*words: object, backbones: str = 'a,b', seeds: object = 2) -> int:
        return main(['bench', '--backbones', backbones, '--protocol', 'toy_faster_rcnn', '--seeds',
                     str(seeds), '--work-dir', str(world.folder), '-j', '2', *map(str, words)])
    return run


def begun(out: str) -> list[str]:
    return [line.partition(': ')[2] for line in out.splitlines() if '] begun: ' in line]


def test_a_grid_is_run_and_compared_and_then_kept(bench, world, capsys):
    assert bench() == 0
    out = capsys.readouterr().out
    assert '4 runs: 4 new; 2 at a time' in out
    assert begun(out) == ['a seed 0', 'b seed 0', 'a seed 1', 'b seed 1']
    assert 'done: a seed 0 (AP50 (11-point) 61.00)' in out
    assert '61.50 ± 0.71' in out  # the table: 61 and 62
    assert bench() == 0
    again = capsys.readouterr().out
    assert '4 runs: 4 done' in again
    assert 'begun' not in again
    assert '61.50 ± 0.71' in again
    assert bench(seeds=3) == 0
    assert begun(capsys.readouterr().out) == ['a seed 2', 'b seed 2']
    assert len(world.epochs()) == 6 * 4


def test_a_dry_run_starts_nothing_and_tells_the_cost(bench, world, capsys):
    before = sorted(world.folder.rglob('*'))
    assert bench('--dry-run') == 0
    out = capsys.readouterr().out
    assert 'unknown until one run of this protocol has finished' in out
    assert sorted(world.folder.rglob('*')) == before
    assert world.drive(trials=world.trials[:1]) == 0
    record = records.read(world.trials[0].work_dir)
    record.wall_time_s = 600.0
    record.write(world.trials[0].work_dir)
    capsys.readouterr()
    assert bench('--dry-run', seeds=3) == 0
    out = capsys.readouterr().out
    assert [line.split()[3] for line in out.splitlines()[2:8]] == ['done', *['new'] * 5]
    assert '5 to run, 2 at a time: 0:25:00.' in out
    assert 'AP50 (11-point) in percent' in out  # the table of what is done
    assert len(world.epochs()) == 4


def test_json_is_one_document_and_progress_is_elsewhere(bench, world, capsys):
    assert bench('--dry-run', '--json') == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == ''
    assert [run['status'] for run in told['runs']] == ['new'] * 4
    assert (told['time_left_s'], told['comparison'], told['parallel']) == (None, None, 2)
    world.options['b'] = ['--fail-at', '3']
    assert bench('--json', seeds=1) == 2
    out, err = capsys.readouterr()
    told = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert [(run['backbone'], run['status'], run['share']) for run in told['runs']] == [
        ('a', 'done', 1.0), ('b', 'failed', 0.5)]
    assert [(row['backbone'], row['n']) for row in told['comparison']['rows']] == [
        ('a', 1), ('b', 0)]
    assert 'begun: a seed 0' in err
    assert 'error: 1 of 2 runs failed' in err


def test_a_failed_run_is_tried_once_more_and_then_reported(bench, world, capsys):
    world.options['a'] = ['--fail-at', '3']
    assert bench(seeds=1) == 2
    out, err = capsys.readouterr()
    assert out.count('failed: a seed 0: RuntimeError: on purpose') == 1
    assert err.splitlines()[0] == ('error: 1 of 2 runs failed; a seed 0: '
                                   'RuntimeError: on purpose')
    assert err.splitlines()[1].endswith('a-seed0.log')
    assert len(err.splitlines()) == 3
    assert [line.split()[-1] for line in world.epochs() if line.startswith('a')] == ['1', '2']
    assert len([line for line in world.trace() if line.startswith('a-seed0 device')]) == 2
    assert 'done: b seed 0' in out  # the others go on
    rows = [line.split() for line in out.splitlines() if line[:2] in ('a ', 'b ')]
    assert [(row[0], *row[-2:]) for row in rows] == [('b', '0', '61.00'), ('a', 'failed', '—')]
    del world.options['a']
    assert bench(seeds=1) == 0
    assert [line.split()[-1] for line in world.epochs() if line.startswith('a')] == list('1234')


def test_a_run_that_is_killed_at_the_same_epoch_again_and_again_is_given_up(bench, world, capsys):
    world.options['a'] = ['--killed-at', '3']
    assert bench(seeds=1) == 2
    assert 'failed: a seed 0: killed at epoch 3' in capsys.readouterr().out
    assert [line.split()[-1] for line in world.epochs() if line.startswith('a')] == ['1', '2']


def test_bad_input_is_not_tried_again(bench, world, capsys):
    world.options['a'] = ['--no-such-option']
    assert bench(seeds=1) == 2
    assert capsys.readouterr().out.count(': a seed 0') == 2  # begun, failed
    assert not [line for line in world.trace() if line.startswith('a')]


def test_another_run_is_refused_unless_told(bench, world, capsys):
    assert bench(seeds=1) == 0
    world.plan = Plan(grid_world.CONFIG, 'e' * 64)
    capsys.readouterr()
    before = (world.folder / 'a-seed0' / 'run.json').read_bytes()
    assert bench(seeds=2) == 2
    out, err = capsys.readouterr()
    assert 'weights of a (sha256): ffffffffffff / eeeeeeeeeeee' in err
    assert '(and 1 more)' in err
    assert len(err.splitlines()) == 3
    assert 'begun' not in out
    assert (world.folder / 'a-seed0' / 'run.json').read_bytes() == before
    assert bench('--dry-run') == 0
    assert '2 are refused without --overwrite' in capsys.readouterr().out
    assert bench('--overwrite', seeds=1) == 0
    out = capsys.readouterr().out
    assert out.count('begun anew: ') == 2
    assert bench('--overwrite', seeds=1) == 0
    assert 'begun' not in capsys.readouterr().out  # it is what was asked for now


def test_gpus_are_shared_out(bench, world, monkeypatch):
    monkeypatch.setattr(bench_commands, 'devices', lambda: ['3', 'GPU-5'])
    monkeypatch.setenv('NAP', '0.1')
    assert bench() == 0
    used = [line.split()[-1] for line in world.trace() if ' device ' in line]
    assert sorted(used[:2]) == ['3', 'GPU-5']  # side by side, so not the same one
    assert set(used) == {'3', 'GPU-5'}


def test_devices(monkeypatch):
    import torch
    for told, count, found in ((None, 2, ['0', '1']), ('4,7', 2, ['4', '7']), ('', 0, []),
                               (None, 0, []), ('4,9', 1, ['4'])):
        monkeypatch.setattr(torch.cuda, 'device_count', lambda count=count: count)
        if told is None:
            monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        else:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', told)
        assert bench_commands.devices() == found


def test_without_gpus_the_cores_are_shared(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(bench_commands.os, 'cpu_count', lambda: 8)
    assert bench_commands.environment(4, [])['OMP_NUM_THREADS'] == '2'
    assert 'OMP_NUM_THREADS' not in bench_commands.environment(1, [])
    assert 'OMP_NUM_THREADS' not in bench_commands.environment(4, ['0'])
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    assert bench_commands.environment(4, [])['OMP_NUM_THREADS'] == '1'


def test_the_command_is_one_of_train_det(tmp_path):
    trial = grid.trials({'a': Plan({}, None)}, [3], tmp_path)[0]
    options = bench_commands._options(Path('data'), 'x,y', ['train_cfg.max_epochs=3', 'a.b=2'])
    words = bench_commands.command(trial, Path('c.py'), options)
    assert words[1].endswith('tools/train_det.py')
    parser = launch.arguments('')
    parser.add_argument('--backbone')
    args = parser.parse_args(words[2:])
    assert vars(args) == vars(argparse.Namespace(**vars(args))) | dict(
        config='c.py', backbone='a', seed=3, work_dir=tmp_path / 'a-seed3', data_root='data',
        classes='x,y', cfg_options={'train_cfg.max_epochs': 3, 'a.b': 2}, resume=False)


def test_progress_tells_epochs_and_the_time_left(world):
    driver = world.driver()
    driver.gained = {world.trials[0]: (100.0, 0.25)}
    driver.running = {world.trials[0]: None}
    driver.waiting = world.trials[1:]
    path = world.trials[0].work_dir / 'history.json'
    path.parent.mkdir()
    path.write_text('[{"epoch": 1}]')
    assert driver.progress(130.0) == '0 of 4 done, ? left, a seed 0: 1 of 4 epochs'
    path.write_text('[{"epoch": 1}, {"epoch": 2}]')  # a quarter in 30 s: 3.5 runs of 120 s, by 2
    assert driver.progress(130.0) == '0 of 4 done, 0:03:30 left, a seed 0: 2 of 4 epochs'
    driver.usual_s = 100.0
    driver.elsewhere, driver.failures = {world.trials[1]}, {world.trials[2]: 'x'}
    assert driver.progress(time.monotonic()) == (
        '0 of 4 done, 1 failed, 0:02:55 left, 1 run by another driver, a seed 0: 2 of 4 epochs')


@pytest.mark.parametrize(('words', 'said'), [
    (['--protocol', 'voc70'], "did you mean 'voc07'"), (['-j', '0'], '--jobs 0'),
    (['--cfg-options', 'lr'], 'not KEY=VALUE: lr'), (['--seeds', 'many'], '--seeds many'),
    (['--backbones', 'a,a'], 'named twice: a')])
def test_bad_options(world, capsys, words, said):
    options = dict([('--backbones', 'a'), ('--protocol', 'voc07'), tuple(words)])
    assert main(['bench', '--work-dir', str(world.folder),
                 *(word for pair in options.items() for word in pair)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) <= 3


def test_the_tool_is_the_command(tool, world, capsys):
    assert tool('bench')(['--backbones', 'a', '--protocol', 'nothing-like-it']) == 2
    assert 'no protocol' in capsys.readouterr().err


def test_an_installation_without_the_stage(monkeypatch):
    monkeypatch.setattr(bench_commands, 'entry_points', lambda **_: [])
    with pytest.raises(UserError, match='not installed'):
        bench_commands.plans(Path('c.py'), ['a'], [])
