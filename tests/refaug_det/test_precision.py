"""Mixed precision: what is half and what is not, overflows, and exact resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import MODELS
from torch import nn

from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints
from refaug_det.runs.precision import RefAugAmpOptimWrapper, use_amp

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='fp16 is scaled on a GPU only')


def wrapper(dtype: str = 'bfloat16', **options: object) -> RefAugAmpOptimWrapper:
    weight = nn.Parameter(torch.ones(2))
    return RefAugAmpOptimWrapper(
        dtype, optimizer=torch.optim.SGD([weight], lr=0.5, momentum=0.9), **options)


def test_a_config_is_made_to_use_it():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0),
                                         clip_grad=dict(max_norm=35))))
    use_amp(cfg, 'bf16')
    assert cfg.optim_wrapper == dict(
        type='RefAugAmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=1.0),
        clip_grad=dict(max_norm=35))
    use_amp(cfg, 'fp16')
    assert cfg.optim_wrapper.dtype == 'float16'
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(UserError, match='ApexOptimWrapper'):
        use_amp(cfg, 'bf16')


@pytest.mark.parametrize('dtype', ['float32', 'int8', 'bf16'])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(UserError, match=f'mixed precision in {dtype}'):
        wrapper(dtype)


def test_float16_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match='float16 on cpu'):
        wrapper('float16')


def test_a_run_in_bfloat16(train_tiny, straight, same, monkeypatch):
    seen: list[tuple] = []
    network = MODELS.get('TinyNetwork')
    forward = network.forward

    def watched(self, inputs, label, mode='tensor'):
        seen.append((mode, self.net(inputs).dtype, self.net[0].weight.dtype))
        return forward(self, inputs, label, mode)

    monkeypatch.setattr(network, 'forward', watched)
    run = train_tiny('--work-dir', 'run', '--amp', 'bf16')
    assert {row[:2] for row in seen} == {('loss', torch.bfloat16), ('predict', torch.float32)}
    assert {row[2] for row in seen} == {torch.float32}
    assert run.record.notes[1:] == ['trained with mixed precision (bfloat16), tested without']
    kept = json.loads(Path('run/config.json').read_text())
    assert kept['optim_wrapper']['type'] == 'RefAugAmpOptimWrapper'
    assert not same(run.weights, straight.weights)
    assert run.runner.optim_wrapper.skipped == 0
    monkeypatch.undo()


def test_parts_and_resume_in_bfloat16(train_tiny, same):
    options = ('--amp', 'bf16', '--cfg-options', 'auto_scale_lr.base_batch_size=6')
    whole = train_tiny('--work-dir', 'whole', *options)
    assert whole.runner.iter == 6  # updates, of two parts each
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', *options, stop=3)
    resumed = train_tiny('--work-dir', 'cut', '--resume', *options)
    assert same(resumed.weights, whole.weights)
    plain = train_tiny('--work-dir', 'plain', *options[2:])
    assert not same(plain.weights, whole.weights)
    with pytest.raises(UserError, match=r'optim_wrapper\.type'):
        train_tiny('--work-dir', 'cut', '--resume', *options[2:])


@pytest.mark.filterwarnings('ignore:torch.cuda.amp.GradScaler')
def test_mmengines_own_wrapper_works_with_the_loop(train_tiny, same, monkeypatch):
    """Its class refuses to run on a CPU; without that check it does, unscaled."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    options = ('--cfg-options', 'optim_wrapper.type=AmpOptimWrapper',
               'optim_wrapper.dtype=bfloat16', 'auto_scale_lr.base_batch_size=6')
    whole = train_tiny('--work-dir', 'whole', *options)
    assert whole.runner.iter == 6
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', *options, stop=4)
    assert same(train_tiny('--work-dir', 'cut', '--resume', *options).weights, whole.weights)
    ours = train_tiny('--work-dir', 'ours', '--amp', 'bf16', *options[:1], options[-1])
    assert same(ours.weights, whole.weights)
    assert not same(train_tiny('--work-dir', 'plain', *options[:1], options[-1]).weights,
                    whole.weights)


def scaled(monkeypatch, **options: object) -> RefAugAmpOptimWrapper:
    """float16 with a scaled loss; the scaler itself also runs on a CPU."""
    made = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, 'GradScaler', lambda device, enabled, **more: made(
        'cpu', enabled=True, **more))
    return wrapper(**options)


def update(one: RefAugAmpOptimWrapper, gradient: float) -> list[float]:
    weight = one.param_groups[0]['params'][0]
    one.update_params((weight * gradient).sum())
    return weight.tolist()


def test_an_overflow_is_left_out_and_counted(monkeypatch):
    one = scaled(monkeypatch, loss_scale=dict(init_scale=4.0, growth_interval=2))
    assert update(one, 1.0) == [0.5, 0.5]
    assert one.skipped == 0
    assert update(one, float('inf')) == [0.5, 0.5]
    assert one.skipped == 1
    assert one.loss_scaler.get_scale() == 2.0
    assert MessageHub.get_current_instance().get_scalar('train/skipped_updates').current() == 1
    assert update(one, 1.0) != [0.5, 0.5]


def test_the_scaler_is_resumed(monkeypatch):
    first = scaled(monkeypatch, loss_scale=dict(init_scale=4.0, growth_interval=3))
    for gradient in (1.0, float('inf'), 1.0):
        update(first, gradient)
    state = first.state_dict()
    assert checkpoints._to_cpu(state).keys() >= {'loss_scaler', 'skipped', 'state'}
    again = scaled(monkeypatch, loss_scale=dict(init_scale=4.0, growth_interval=3))
    again.load_state_dict(state)
    assert again.state_dict()['loss_scaler'] == state['loss_scaler']
    assert again.state_dict()['skipped'] == 1
    assert state.keys() >= {'loss_scaler', 'skipped'}  # what was given is not taken apart
    fresh = scaled(monkeypatch, loss_scale=dict(init_scale=4.0, growth_interval=3))
    assert fresh.state_dict()['loss_scaler'] != state['loss_scaler']


def test_bfloat16_is_not_scaled():
    assert not wrapper().loss_scaler.is_enabled()
    assert wrapper().state_dict()['skipped'] == 0


@needs_gpu
def test_a_run_in_float16(train_tiny, same):
    options = ('--amp', 'fp16')
    whole = train_tiny('--work-dir', 'whole', *options)
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', *options, stop=6)
    resumed = train_tiny('--work-dir', 'cut', '--resume', *options)
    assert resumed.runner.optim_wrapper.loss_scaler.get_scale() == (
        whole.runner.optim_wrapper.loss_scaler.get_scale())
    assert same(resumed.weights, whole.weights)


def test_a_detector_in_half_precision_is_of_another_protocol():
    def of(**wrapper):
        return protocol.protocol_of(dict(train_dataloader=dict(batch_size=2),
                                         optim_wrapper=wrapper))

    plain = of(type='OptimWrapper')
    assert protocol.differences(plain, of(type='RefAugAmpOptimWrapper', dtype='bfloat16'))
    assert not protocol.differences(plain, of(type='OptimWrapper'))
