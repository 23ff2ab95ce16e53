"""The moving average: its formula, who sees it, and that a resumed run has it bitwise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints
from refaug_det.runs.ema import RefAugEMAHook


@pytest.fixture
def averaged_config(tiny_config):
    """The tiny run with a moving average."""
    tiny_config.write_text(tiny_config.read_text() +
                           "custom_hooks = [dict(type='RefAugEMAHook', momentum=0.3)]\n")
    return tiny_config


def copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


class Watch(Hook):
    """Keeps the live weights after every update, and what is evaluated."""

    priority = 'VERY_HIGH'  # before the average is taken

    def before_train(self, runner) -> None:
        self.live, self.evaluated, self.begun = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.begun.append(copy(runner.model))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.live.append(copy(runner.model))

    def before_val_epoch(self, runner) -> None:
        self.evaluated.append(copy(runner.model))


@pytest.fixture
def watched(averaged_config, train_tiny, monkeypatch):
    """A run with the average, and what `Watch` saw of it."""
    from refaug_det.runs import launch
    watch, build = Watch(), launch.build

    def with_watch(cfg, record):
        runner = build(cfg, record)
        runner.register_hook(watch)
        return runner

    monkeypatch.setattr(launch, 'build', with_watch)
    return train_tiny('--work-dir', 'watched'), watch


def test_what_is_evaluated_is_the_average(watched, straight, same):
    run, watch = watched
    weights = [key for key, _ in run.runner.model.named_parameters()]
    average = {key: watch.live[0][key].double() for key in weights}
    expected = []
    for number, live in enumerate(watch.live):
        if number:
            average = {key: 0.7 * average[key] + 0.3 * live[key].double() for key in weights}
        if number % 4 == 3:
            expected.append(average)
    assert len(watch.evaluated) == len(expected) == 3
    for found, mean in zip(watch.evaluated, expected, strict=True):
        for key in weights:
            assert torch.allclose(found[key].double(), mean[key], atol=1e-6)
    for epoch, found in enumerate(watch.evaluated):
        last = watch.live[4 * epoch + 3]
        assert any(not torch.allclose(found[key], last[key], atol=1e-4) for key in weights)
        for key in found.keys() - set(weights):  # the buffers of batch norm are the live ones
            assert torch.equal(found[key], last[key])
    # training goes on with the live weights, and its weights are those of a run without
    for before, after in zip(watch.live, watch.begun[1:], strict=False):
        assert same(before, after)
    assert same(watch.live[-1], straight.weights)


def test_what_a_run_leaves_is_the_average(watched, same):
    run, watch = watched
    assert same(run.weights, watch.evaluated[-1])
    path, state = checkpoints.newest_valid('watched')
    assert path.name == 'iter_12.pth'
    assert same(state['state_dict'], watch.evaluated[-1])
    hook = state['hooks']['RefAugEMAHook']
    assert hook['swapped']
    live = {key[len('module.'):]: value for key, value in hook['average'].items()
            if key.startswith('module.')}
    assert same(live, watch.live[-1])
    assert not same(live, state['state_dict'])
    assert run.record.notes[1:] == ['metrics and weights are of the moving average (momentum 0.3), '
                                    'with the batch norm statistics of the live weights']


@pytest.mark.parametrize('stop', [4, 6, 11])
def test_a_resumed_run_is_bitwise_equal(averaged_config, train_tiny, same, stop):
    whole = train_tiny('--work-dir', 'whole')
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', stop=stop)
    swapped = checkpoints.newest_valid('cut')[1]['hooks']['RefAugEMAHook']['swapped']
    assert swapped == (stop == 4)  # between two epochs, and not within one
    resumed = train_tiny('--work-dir', 'cut', '--resume')
    assert same(resumed.weights, whole.weights)
    assert [row['top-1'] for row in resumed.history] == [row['top-1'] for row in whole.history]


@pytest.mark.parametrize('stop', [4, 6])
def test_resume_without_the_average_is_another_run(
        averaged_config, train_tiny, same, monkeypatch, stop):
    whole = train_tiny('--work-dir', 'whole')
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'cut', stop=stop)
    monkeypatch.setattr(RefAugEMAHook, 'load_state_dict', lambda self, state: None)
    assert not same(train_tiny('--work-dir', 'cut', '--resume').weights, whole.weights)


def test_the_average_is_off_by_default(straight):
    assert straight.record.notes == ['total batch 3 = 1 x 3 images']
    assert not any(isinstance(hook, RefAugEMAHook) for hook in straight.runner.hooks)


@pytest.mark.parametrize('momentum', [0.0, 1.0, -0.1, 2])
def test_a_momentum_out_of_range(momentum):
    with pytest.raises(UserError, match='momentum'):
        RefAugEMAHook(momentum)
    RefAugEMAHook(0.5)


def test_a_detector_with_the_average_is_of_another_protocol():
    def of(*hooks):
        return protocol.protocol_of(dict(train_dataloader=dict(batch_size=2), custom_hooks=hooks))

    plain = of()
    assert of(dict(type='RefAugProgressHook')) == plain
    with_it = of(dict(type='RefAugEMAHook', momentum=0.1))
    assert protocol.differences(plain, with_it)
    assert protocol.differences(with_it, of(dict(type='RefAugEMAHook', momentum=0.2)))


RUNNER = SimpleNamespace(message_hub=SimpleNamespace(runtime_info={}))


def test_buffers_of_the_average_follow_the_model():
    model = nn.BatchNorm1d(2)
    hook = RefAugEMAHook(0.5)
    hook.before_run(SimpleNamespace(model=model))
    for value in (1.0, 3.0):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(value)
        hook.after_train_iter(RUNNER, 0)
    assert hook.average.module.weight.tolist() == [2.0, 2.0]
    assert hook.average.module.running_mean.tolist() == [3.0, 3.0]


def test_the_average_begins_anew_with_the_refinement():
    model, info = nn.Linear(1, 1, bias=False), {'phase': 'augmented'}
    runner = SimpleNamespace(model=model, message_hub=SimpleNamespace(runtime_info=info))
    hook = RefAugEMAHook(0.5)
    hook.before_run(runner)

    def update(hook, value):
        with torch.no_grad():
            model.weight.fill_(value)
        hook.after_train_iter(runner, 0)
        return hook.average.module.weight.item()

    assert [update(hook, value) for value in (100.0, 200.0)] == [100.0, 150.0]
    info['phase'] = 'refinement'
    again = RefAugEMAHook(0.5)
    again.before_run(runner)
    again.load_state_dict(hook.state_dict())  # resumed at the switch
    for one in (hook, again):
        assert [update(one, value) for value in (2.0, 4.0)] == [2.0, 3.0]
    later = RefAugEMAHook(0.5)
    later.before_run(runner)
    later.load_state_dict(hook.state_dict())  # resumed after it: nothing begins anew
    assert update(later, 5.0) == 4.0
