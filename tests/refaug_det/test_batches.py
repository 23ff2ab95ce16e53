"""The total batch is held, or the rates follow it; never neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs.batches import keep_total_batch, scale_lr


def batch_config(batch: int, base: int | None, **train: object) -> Config:
    return Config(dict(train_dataloader=dict(batch_size=batch), train_cfg=dict(
        dict(type='RefAugTrainLoop'), **train), auto_scale_lr=base and dict(base_batch_size=base)))


@pytest.mark.parametrize(('batch', 'base', 'processes', 'share', 'micro'), [
    (32, 256, 8, 32, None),  # the paper's 8 GPUs
    (32, 256, 1, 256, 32), (32, 256, 2, 128, 32), (32, 256, 16, 16, None), (4, 16, 1, 16, 4),
    (64, 16, 1, 16, None), (5, 16, 1, 16, 5), (4, None, 3, 4, None)])
def test_the_total_batch_is_held(batch, base, processes, share, micro):
    cfg = batch_config(batch, base)
    said = keep_total_batch(cfg, processes)
    assert cfg.train_dataloader.batch_size == share
    assert cfg.train_cfg.get('micro_batch') == micro
    assert share * processes == (base or batch * processes)
    assert said.startswith(f'total batch {share * processes} = {processes} x {share} images')
    assert ('at most' in said) == (micro is not None)


@pytest.mark.parametrize(('processes', 'change', 'said', 'fix'), [
    (3, {}, 'total batch of 256 cannot be shared by 3 processes', '--scale-lr'),
    (1, dict(type='EpochBasedTrainLoop'), 'only RefAugTrainLoop accumulates', 'batch_size=256')])
def test_a_total_batch_that_cannot_be_held(processes, change, said, fix):
    with pytest.raises(UserError, match=said) as caught:
        keep_total_batch(batch_config(32, 256, **change), processes)
    assert fix in caught.value.fix


@pytest.mark.parametrize('settle', [keep_total_batch, scale_lr])
def test_two_ways_of_accumulation_are_refused(settle):
    cfg = batch_config(4, 16)
    cfg.optim_wrapper = dict(accumulative_counts=4, optimizer=dict(lr=0.1))
    with pytest.raises(UserError, match='accumulates by itself'):
        settle(cfg, 1)
    cfg.optim_wrapper.accumulative_counts = 1
    settle(cfg, 1)


def test_a_larger_total_batch_trains_in_parts(train_tiny):
    run = train_tiny('--work-dir', 'run', '--cfg-options', 'auto_scale_lr.base_batch_size=6')
    assert run.runner.iter == 6  # 2 updates an epoch
    assert run.runner.train_dataloader.batch_sampler.batches.batch_size == 6
    assert run.record.notes == ['total batch 6 = 1 x 6 images, at most 3 at once',
                                'batch norm and batch augments see 3 images at once']


# Rates in proportion

def rated(**more: object) -> Config:
    cfg = batch_config(32, 256)
    cfg.merge_from_dict(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), **more))
    return cfg


@pytest.mark.parametrize(('processes', 'rate'), [(1, 0.0125), (3, 0.0375), (8, 0.1), (16, 0.2)])
def test_rates_follow_the_total_batch(processes, rate):
    cfg = rated(
        custom_hooks=[dict(type='RefAugRefinementHook', epochs=2, lr=1e-4), dict(type='B', lr=None),
                      dict(type='RefAugEMAHook', momentum=0.1)],
        param_scheduler=[dict(type='CosineAnnealingLR', eta_min=1e-3),
                         dict(type='LinearLR', start_factor=0.1)])
    said = scale_lr(cfg, processes)
    ratio = processes * 32 / 256
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert cfg.custom_hooks[0].lr == pytest.approx(1e-4 * ratio)
    assert cfg.custom_hooks[1].lr is None
    assert cfg.custom_hooks[2].momentum == 0.1
    assert cfg.param_scheduler[0].eta_min == pytest.approx(1e-3 * ratio)
    assert cfg.param_scheduler[1].start_factor == 0.1  # relative
    assert cfg.train_dataloader.batch_size == 32
    assert 'micro_batch' not in cfg.train_cfg
    assert cfg.auto_scale_lr.base_batch_size == processes * 32
    assert said == (f'total batch {processes * 32} = {processes} x 32 images instead of 256: '
                    f'rates times {ratio:g}, 0.1 becomes {rate:g}')


def test_one_scheduler_that_is_no_list():
    cfg = rated(param_scheduler=dict(type='CosineAnnealingLR', eta_min=0.01))
    scale_lr(cfg, 4)
    assert cfg.param_scheduler.eta_min == pytest.approx(0.005)


@pytest.mark.parametrize('lacks', ['auto_scale_lr', 'optim_wrapper'])
def test_nothing_to_scale(lacks):
    cfg = rated()
    cfg[lacks] = None
    with pytest.raises(UserError, match='no rate, or no batch'):
        scale_lr(cfg, 4)


def test_a_scaled_run_says_so_and_trains_with_it(train_tiny, straight, same, capsys):
    option = ('--cfg-options', 'auto_scale_lr.base_batch_size=6')
    run = train_tiny('--work-dir', 'run', '--scale-lr', *option)
    note = 'total batch 3 = 1 x 3 images instead of 6: rates times 0.5, 0.1 becomes 0.05'
    assert run.record.notes == [note]
    assert capsys.readouterr().out.count(note) == 1
    kept = json.loads(Path('run/config.json').read_text())
    assert kept['optim_wrapper']['optimizer']['lr'] == 0.05
    assert run.runner.optim_wrapper.param_groups[0]['initial_lr'] == 0.05
    plain = train_tiny('--work-dir', 'plain', '--cfg-options', 'optim_wrapper.optimizer.lr=0.05')
    assert same(run.weights, plain.weights)
    assert not same(run.weights, straight.weights)  # at 0.1
    with pytest.raises(UserError, match=r'optimizer\.lr: 0\.05 -> 0\.1'):
        train_tiny('--work-dir', 'run', '--resume', *option)


def test_a_scaled_detector_is_of_another_protocol():
    def protocol_at(*settles) -> dict:
        cfg = rated(model=dict(backbone=dict(norm_eval=True)))
        for settle in settles:
            settle(cfg, 4)
        return protocol.protocol_of(cfg.to_dict(), 4)

    held, scaled = protocol_at(keep_total_batch), protocol_at(scale_lr)
    assert [key for key, _, _ in protocol.differences(held, scaled)] == [
        'optim_wrapper.optimizer.lr', 'total_batch']


# Which weights decay

def test_bias_and_batch_norm_without_decay(train_tiny, same):
    options = ('--cfg-options', 'optim_wrapper.optimizer.weight_decay=0.1',
               'optim_wrapper.optimizer.nesterov=True',
               'optim_wrapper.paramwise_cfg.norm_decay_mult=0.0',
               'optim_wrapper.paramwise_cfg.bias_decay_mult=0.0')
    whole = train_tiny('--work-dir', 'whole', *options)
    groups = whole.runner.optim_wrapper.optimizer.param_groups
    by_size = {tuple(p.shape): group['weight_decay'] for group in groups for p in group['params']}
    assert by_size == {(8, 3): 0.1, (8,): 0.0, (2, 8): 0.1, (2,): 0.0}
    assert all(group['nesterov'] for group in groups)
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', *options, stop=6)
    assert same(train_tiny('--work-dir', 'cut', '--resume', *options).weights, whole.weights)
    uniform = train_tiny('--work-dir', 'uniform', *options[:3])
    assert not same(uniform.weights, whole.weights)
