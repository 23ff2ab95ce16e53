"""From a command line to a run: checked before it starts, recorded however it ends."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from refaug_det.errors import UserError
from refaug_det.runs import environment, launch, records
from refaug_det.runs.runner import RefAugRunner


def loaded(config: Path, *words: str) -> Config:
    return launch.load(launch.arguments('').parse_args([str(config), *words]))


def prepared(config: Path, *words: str) -> records.RunRecord:
    args = launch.arguments('').parse_args([str(config), *words])
    return launch.prepare(launch.load(args), args, 'classification', 'tiny')


# The command line

def test_defaults(tiny_config):
    cfg = loaded(tiny_config)
    assert cfg.randomness == dict(seed=0)
    assert (cfg.launcher, cfg.resume) == ('none', False)
    assert cfg.train_dataloader.dataset.data_root == 'data/tiny'


def test_options_reach_the_config(tiny_config):
    cfg = loaded(tiny_config, '--seed', '7', '--resume', '--data-root', '/data/x', '--cfg-options',
                 'train_cfg.max_epochs=9', 'param_scheduler.0.milestones=[4,8]')
    assert cfg.randomness == dict(seed=7)
    assert cfg.resume is True
    assert cfg.train_dataloader.dataset.data_root == '/data/x'
    assert cfg.train_cfg.max_epochs == 9
    assert list(cfg.param_scheduler[0].milestones) == [4, 8]


@pytest.mark.parametrize(('words', 'said'), [
    ((), 'config'), (('a.py', '--sead', '1'), '--sead'), (('a.py', '--seed', 'x'), '--seed'),
    (('a.py', '--seed', '-1'), 'not in [0, 2**32)'),
    (('a.py', '--seed', str(2**32)), 'not in [0, 2**32)'),
    (('a.py', '--cfg-options', 'lr'), 'not KEY=VALUE: lr'),
    (('a.py', '--cfg-options', 'a=1', 'b=[1,'), 'not KEY=VALUE'),
    (('a.py', '--launcher', 'ray'), '--launcher'), (('a.py', '--amp', 'fp8'), '--amp'),
    (('a.py', '--track', 'comet'), '--track')])
def test_a_malformed_command_line_is_the_users_error(words, said):
    with pytest.raises(UserError) as caught:
        launch.arguments('').parse_args(words)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(('words', 'said'), [
    (('--cfg-options', 'train_cfg.max_epoch=3'), "unknown config key 'train_cfg.max_epoch'"),
    (('--cfg-options', 'optim_wraper.type=OptimWrapper'), "unknown config key 'optim_wraper'"),
    (('--cfg-options', 'param_scheduler.9.gamma=1'), 'Error')])
def test_a_malformed_config_is_refused_before_anything_is_made(train_tiny, words, said, tmp_path):
    with pytest.raises(UserError, match=said):
        train_tiny('--work-dir', 'run', *words)
    assert not (tmp_path / 'run').exists()


def test_a_data_root_that_nothing_takes(tmp_path, tiny_config):
    config = tmp_path / 'none.py'
    config.write_text(tiny_config.read_text().replace(", data_root='data/tiny'", ''))
    loaded(config)
    with pytest.raises(UserError, match='nothing in the config takes --data-root'):
        loaded(config, '--data-root', 'x')


# The record

def test_the_record_of_a_run(train_tiny, tmp_path):
    run = train_tiny('--seed', '3')
    assert run.record == records.read('work_dirs/tiny-seed3')  # below the working directory
    record = run.record
    assert (record.status, record.stage, record.name) == ('done', 'classification', 'tiny')
    assert (record.seed, record.config) == (3, 'tiny.py')
    assert record.metrics.keys() == {'top-1'}
    assert record.versions.keys() >= {'python', 'torch', 'refaug-det', 'numpy'}
    assert record.device.keys() == {'name', 'machine', 'processes', 'threads'}
    assert record.device['processes'] == 1
    assert record.notes == ['total batch 3 = 1 x 3 images']
    assert str(tmp_path) not in json.dumps(record.config)
    kept = json.loads(Path('work_dirs/tiny-seed3/config.json').read_text())
    assert kept['randomness'] == {'seed': 3}
    assert kept['train_cfg']['max_epochs'] == 3


@pytest.mark.parametrize(('world', 'options', 'said'), [
    (1, (), ()), (1, ('sync_bn=torch',), ()),
    (3, (), ('batch norm over the images of one process at a time (SyncBN is off)',)),
    (3, ('sync_bn=torch',), ('batch norm over all 3 processes (SyncBN)',))])
def test_notes_say_what_batch_norm_sees(tiny_config, tmp_path, monkeypatch, world, options, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('WORLD_SIZE', str(world))
    monkeypatch.setenv('RANK', '0')
    words = ('--cfg-options', *options) if options else ()
    record = prepared(tiny_config, '--launcher', 'pytorch', *words)
    assert record.notes[0].startswith('total batch 3')
    assert tuple(record.notes[1:]) == said


def test_sync_bn_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    several = SimpleNamespace(distributed=True, cfg=dict(sync_bn='torch'))
    with pytest.raises(UserError, match='SyncBN works on GPUs only'):
        RefAugRunner.wrap_model(several, None, torch.nn.BatchNorm1d(2))


def test_the_digest_is_of_what_changes_results(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digests = [prepared(tiny_config, '--work-dir', str(number), *words).config_digest
               for number, words in enumerate([
                   (), ('--data-root', 'elsewhere'),
                   ('--cfg-options', 'train_dataloader.num_workers=2'),
                   ('--seed', '1'), ('--cfg-options', 'optim_wrapper.optimizer.lr=0.2')])]
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


def test_values_that_json_has_not(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ('--cfg-options', 'optim_wrapper.clip_grad.max_norm=inf')
    assert math.isinf(loaded(tiny_config, *options).optim_wrapper.clip_grad.max_norm)
    prepared(tiny_config, *options)
    kept = json.loads(Path('work_dirs/tiny-seed0/config.json').read_text())
    assert kept['optim_wrapper']['clip_grad']['max_norm'] == 'Infinity'


def test_versions_name_only_what_is_installed(monkeypatch):
    monkeypatch.setattr(environment, '_PACKAGES', ('torch', 'no-package-of-this-name'))
    assert set(environment.versions()) == {'python', 'torch'}


# The end of a run

@pytest.mark.parametrize(('error', 'status'), [
    (RuntimeError, 'failed'), (UserError, 'failed'), (KeyboardInterrupt, 'interrupted')])
def test_a_run_that_ends_early_says_why(train_tiny, error, status):
    with pytest.raises(error):
        train_tiny('--work-dir', 'run', stop=2, error=error)
    record = records.read('run')
    assert record.status == status
    assert record.error.startswith(error.__name__)
    assert 'stopped on purpose' in record.error
    assert record.metrics == {}


def test_a_run_draws_every_epoch_in_another_order(straight):
    epochs = [straight.drawn[start:start + 11] for start in (0, 11, 22)]
    assert [sorted(order) for order in epochs] == [list(range(11))] * 3
    assert len({tuple(order) for order in epochs}) == 3


def test_weights_follow_the_seed_whatever_was_drawn_before(train_tiny, monkeypatch, same):
    def trained(draws: int, *words: object) -> dict:
        torch.manual_seed(draws)  # the program that starts the run
        monkeypatch.setattr(DATASETS.get('TinyDataset'), 'full_init',
                            lambda self: torch.rand(draws), raising=False)  # its data set
        return train_tiny('--work-dir', 'run', '--overwrite', *words, '--cfg-options',
                          'train_cfg.max_epochs=1').weights

    def init_weights(self) -> None:  # as detectors have it, after all has been built
        torch.nn.init.normal_(self.net[0].weight)

    for network in ({}, dict(init_weights=init_weights)):
        for name, function in network.items():
            monkeypatch.setattr(MODELS.get('TinyNetwork'), name, function)
        assert same(trained(1), trained(2))
        assert not same(trained(1), trained(1, '--seed', '1'))


def test_a_used_run_directory(train_tiny, same):
    first = train_tiny('--work-dir', 'run')
    with pytest.raises(UserError, match='used before'):
        train_tiny('--work-dir', 'run')
    again = train_tiny('--work-dir', 'run', '--overwrite')
    assert again.record.id != first.record.id
    assert same(again.weights, first.weights)
    assert len(again.drawn) == len(first.drawn)  # it really ran


def test_a_changed_config_is_not_resumed(train_tiny):
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'run', stop=5)
    with pytest.raises(UserError) as caught:
        train_tiny('--work-dir', 'run', '--resume', '--cfg-options', 'train_cfg.max_epochs=5',
                   'optim_wrapper.optimizer.lr=1.0')
    assert 'train_cfg.max_epochs: 3 -> 5' in caught.value.what
    assert 'optim_wrapper.optimizer.lr: 0.1 -> 1.0' in caught.value.what
    assert records.read('run').status == 'interrupted'  # and the record is as it was
    train_tiny('--work-dir', 'run', '--resume', '--data-root', 'moved', '--cfg-options',
               'train_dataloader.num_workers=1', 'default_hooks.checkpoint.interval=2')
    assert records.read('run').status == 'done'


def test_runs_of_one_process_do_not_share_their_logs(train_tiny):
    first, second = train_tiny('--work-dir', 'a'), train_tiny('--work-dir', 'b')
    assert first.runner.logger is not second.runner.logger
    assert first.runner.message_hub is not second.runner.message_hub
