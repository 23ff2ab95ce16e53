"""Label smoothing, memory format, compilation, the average: what each changes, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from safetensors.torch import load_file

import classification.train  # noqa: F401  (registration)
from classification.classifier import softmax_bce
from refaug_det.backbones import zoo
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, history, records

ROOT = Path(__file__).parents[2]
MIXUP = dict(type='RefAugMixup', alpha=1.0)


def classifier(*batch_augments, network='NetworkOfTests', **options):
    torch.manual_seed(0)
    network = dict(type=network) if isinstance(network, str) else network
    return MODELS.build(dict(
        type='RefAugClassifier', num_classes=3, network=network, batch_augments=batch_augments,
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
        **options))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return dict(inputs=torch.randn(5, 3, 16, 16, generator=generator),
                label=torch.tensor([0, 1, 2, 1, 1]), augmented=torch.zeros(5, dtype=torch.bool))


def loss_and_parts(model, batch, monkeypatch):
    """The loss, and the logits and targets of which it is."""
    given = []
    real = F.cross_entropy
    monkeypatch.setattr(F, 'cross_entropy', lambda logits, targets, **options: (
        given.append((logits, targets)), real(logits, targets, **options))[1])
    torch.manual_seed(1)
    loss = model(**batch, mode='loss')['loss']
    monkeypatch.setattr(F, 'cross_entropy', real)
    return loss.item(), *given[0]


# Binary cross entropy on the softmax

@pytest.mark.parametrize('augments', [(), (MIXUP,)])
def test_softmax_bce_is_of_every_class(batch, monkeypatch, augments):
    _, logits, targets = loss_and_parts(classifier(*augments), batch, monkeypatch)
    model = classifier(*augments, criterion='softmax_bce')
    torch.manual_seed(1)
    loss = model(**batch, mode='loss')['loss']
    p = logits.softmax(1)
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    torch.testing.assert_close(loss, expected)
    assert abs(loss - F.cross_entropy(logits, targets)) > 0.01


def test_softmax_bce_stays_finite_where_the_softmax_saturates():
    logits = torch.tensor([[300.0, 0.0, -300.0]], requires_grad=True)
    loss = softmax_bce(logits, torch.tensor([[0.0, 1.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(200 / 3)  # two logarithms at torch's bound
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize('wrong', [dict(criterion='bce'),
                                   dict(criterion='softmax_bce', label_smoothing=0.1)])
def test_wrong_criteria_are_refused(wrong):
    with pytest.raises(UserError):
        classifier(**wrong)


# Label smoothing

@pytest.mark.parametrize('augments', [(), (MIXUP,)])
def test_smoothing_spreads_a_share_of_every_target(batch, monkeypatch, augments):
    loss, logits, targets = loss_and_parts(
        classifier(*augments, label_smoothing=0.3), batch, monkeypatch)
    smooth = 0.7 * targets + 0.3 / 3  # Szegedy et al. 2016, section 7, on soft targets
    expected = -(smooth * logits.log_softmax(1)).sum(1).mean().item()
    assert loss == pytest.approx(expected, abs=1e-6)
    plain, _, same_targets = loss_and_parts(classifier(*augments), batch, monkeypatch)
    assert torch.equal(targets, same_targets)
    assert loss != pytest.approx(plain, abs=1e-3)
    assert plain == pytest.approx(-(targets * logits.log_softmax(1)).sum(1).mean().item(), abs=1e-6)


def test_smoothing_is_of_training_only(batch):
    scores = [classifier(label_smoothing=s).eval()(**batch, mode='predict') for s in (0.0, 0.5)]
    for plain, smooth in zip(*scores, strict=True):
        assert torch.equal(plain['scores'], smooth['scores'])


@pytest.mark.parametrize('share', [-0.1, 1.0, 2])
def test_smoothing_out_of_range(share):
    with pytest.raises(UserError, match='label_smoothing'):
        classifier(label_smoothing=share)


# Precision

def test_the_loss_is_in_float32_whatever_the_logits_are(batch, monkeypatch):
    model = classifier(MIXUP)
    with torch.autocast('cpu', torch.bfloat16):
        assert model(**batch).dtype == torch.bfloat16
        _, logits, targets = loss_and_parts(model, batch, monkeypatch)
    assert (logits.dtype, targets.dtype) == (torch.float32, torch.float32)


# Memory format

def test_channels_last_is_of_weights_and_images_and_changes_only_rounding(batch):
    reached = []
    models = [classifier(channels_last=last) for last in (False, True)]
    for model, last in zip(models, (False, True), strict=True):
        weight = model.network.conv.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == last
        model.network.register_forward_pre_hook(lambda _, x: reached.append(
            x[0].is_contiguous(memory_format=torch.channels_last)))
    plain, other = (model(**batch) for model in models)
    assert reached == [False, True]
    assert torch.allclose(plain, other, atol=1e-5)
    assert not torch.allclose(plain, other + 0.01, atol=1e-5)
    losses = [model(**batch, mode='loss')['loss'] for model in models]
    for loss in losses:
        loss.backward()
    gradients = [[p.grad for p in model.parameters()] for model in models]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


# Whole runs

CONFIG = f'''
_base_ = {str(ROOT / 'configs' / 'cls' / 'toy_mixup_refine.py')!r}
model = dict(label_smoothing=0.1, channels_last=True)
custom_hooks = [dict(type='RefAugRefinementHook', epochs=1),
                dict(type='RefAugEMAHook', momentum=0.2)]
'''


def run(train_cls, arguments, config, work_dir, *more, options=()):
    words = arguments(work_dir, '--overwrite', *more, config=config, options=options)
    assert train_cls(words) == 0
    return checkpoints.newest_valid(work_dir)[1]['state_dict']


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'options.py'
    path.write_text(CONFIG)
    return path


def test_all_that_a_run_leaves_is_the_average(train_cls, arguments, config, tmp_path, zoo_dir):
    last = run(train_cls, arguments, config, tmp_path / 'run', '--amp', 'bf16')
    assert last['network.net.conv1.weight'].is_contiguous(memory_format=torch.channels_last)
    first = sorted((tmp_path / 'run').glob('iter_*.pth'), key=lambda p: int(p.stem[5:]))[0]
    state = torch.load(first, weights_only=True)  # of the end of the augmented phase
    assert state['epoch'] == 2
    live = state['hooks']['RefAugEMAHook']['average']
    kept = load_file(tmp_path / 'run' / 'weights_augmented.safetensors')
    for key, value in kept.items():
        assert torch.equal(value, state['state_dict'][f'network.{key}']), key
    assert not torch.equal(kept['net.conv1.weight'], live['module.network.net.conv1.weight'])
    for name, weights in (('options-augmented', state['state_dict']), ('options-refined', last)):
        for key, value in zoo.weights(name).items():
            assert torch.equal(value, weights[f'network.net.{key}']), key
    notes = ' '.join(records.read(tmp_path / 'run').notes)
    assert 'metrics and weights are of the moving average (momentum 0.2)' in notes
    assert 'trained with mixed precision (bfloat16), tested without' in notes
    assert [row['phase'] for row in history.read(tmp_path / 'run')] == [
        'augmented', 'augmented', 'refinement']


def test_a_compiled_network_trains_alike(train_cls, arguments, tmp_path, zoo_dir):
    """With the real graph capture, but without a compiler."""
    config = ROOT / 'configs' / 'cls' / 'toy_mixup_refine.py'
    plain = run(train_cls, arguments, config, tmp_path / 'plain')
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = run(train_cls, arguments, config, tmp_path / 'compiled', options=[
        'compile.backend=eager'])
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] == 2  # to train and to test
    assert compiled.keys() == plain.keys()
    for key, value in plain.items():
        assert torch.allclose(compiled[key].double(), value.double(), atol=1e-4), key
    rows = [history.read(tmp_path / name) for name in ('plain', 'compiled')]
    for one, other in zip(*rows, strict=True):
        assert one['augmented_share'] == other['augmented_share'] == (
            1.0 if one['phase'] == 'augmented' else 0.0)
        assert one['loss'] == pytest.approx(other['loss'], abs=1e-4)


def test_what_mixes_inside_the_network_is_not_compiled(batch):
    model = classifier(MIXUP, dict(type='RefAugManifoldMixup'))
    with pytest.raises(UserError, match='RefAugManifoldMixup mixes inside the network'):
        model.compile_network(backend='eager')
    assert model.network._compiled_call_impl is None
    classifier(MIXUP).compile_network(backend='eager')
