"""The classifier: what it does to pixels, targets, scores and its counters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn
from torchvision.models import resnet18

import classification.train  # noqa: F401  (registration)
from refaug_det.backbones import resnets

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
MIXUP, CUTMIX = dict(type='RefAugMixup', alpha=1.0), dict(type='RefAugCutMix', probability=1.0)


def classifier(*batch_augments):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='RefAugClassifier', num_classes=3, network=dict(type='NetworkOfTests'),
        batch_augments=batch_augments,
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=MEAN, std=STD)))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return dict(inputs=torch.randint(0, 256, (5, 3, 8, 8), generator=generator, dtype=torch.uint8),
                label=torch.tensor([0, 1, 2, 1, 1]), index=torch.arange(5),
                augmented=torch.tensor([True, False, True, True, False]))


def trained(model, data):
    """The loss, and what reached the network and the cross entropy."""
    reached = []
    handle = model.network.register_forward_pre_hook(lambda _, x: reached.append(x[0]))
    batch = model.data_preprocessor(data, training=True)
    loss = model(**batch, mode='loss')['loss']
    handle.remove()
    return loss, reached[0]


def test_pixels_are_normalised(data):
    given = data['inputs'].clone()
    out = classifier().data_preprocessor(data)
    for channel in range(3):
        assert torch.allclose(out['inputs'][:, channel] * STD[channel] + MEAN[channel],
                              given[:, channel].float(), atol=1e-4)
    assert out['inputs'].dtype == torch.float32
    assert torch.equal(data['inputs'], given)
    assert 'augmented' in data  # the batch of the loop is not changed
    assert torch.equal(out['augmented'], data['augmented'])


def test_pixel_statistics_are_no_weights():
    assert not [key for key in classifier().state_dict() if 'mean' in key and 'running' not in key]


def test_without_augments_the_loss_is_cross_entropy(data):
    model = classifier()
    loss, reached = trained(model, data)
    assert torch.equal(reached, model.data_preprocessor(data)['inputs'])
    logits = model.network(reached)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, data['label']).item())
    assert loss.item() != pytest.approx(F.cross_entropy(logits, data['label'].flip(0)).item())
    # two of five images are clean; the workers' flags are counted
    assert (model.seen, model.seen_augmented) == (5, 3)


@pytest.mark.parametrize('augment', [MIXUP, CUTMIX])
def test_batch_augments_reach_the_network_and_the_loss(data, augment):
    model = classifier(augment)
    plain = model.data_preprocessor(data)['inputs']
    torch.manual_seed(1)
    loss, reached = trained(model, data)
    assert not torch.equal(reached, plain)
    assert (model.seen, model.seen_augmented) == (5, 5)
    hard = F.cross_entropy(model.network(reached), data['label'])
    assert loss.item() != pytest.approx(hard.item())


def test_strength_zero_turns_them_off(data):
    model = classifier(MIXUP, CUTMIX)
    model.strength = 0.0
    _, reached = trained(model, data)
    assert torch.equal(reached, model.data_preprocessor(data)['inputs'])
    assert model.seen_augmented == 3


def test_draws_are_keyed_on_the_global_generator(data):
    model = classifier(MIXUP, CUTMIX)

    def reached(seed):
        torch.manual_seed(seed)
        np.random.seed(0)
        return trained(model, data)[1]

    assert torch.equal(reached(1), reached(1))
    assert not torch.equal(reached(1), reached(2))


def test_samples_that_do_not_tell_count_as_augmented(data):
    model = classifier()
    del data['augmented']
    trained(model, data)
    assert (model.seen, model.seen_augmented) == (5, 5)


def test_validation_never_augments(data):
    model = classifier(MIXUP).eval()
    scores = torch.stack([one['scores'] for one in model.val_step(data)])
    logits = model.network(model.data_preprocessor(data)['inputs'])
    expected = F.cross_entropy(logits, data['label'], reduction='none')
    assert torch.allclose(scores[:, 1].float(), expected, atol=1e-5)
    assert model.seen == 0
    assert torch.equal(model(**model.data_preprocessor(data), mode='tensor'), logits)


def test_gradients_reach_every_weight(data):
    model = classifier(MIXUP)
    loss, _ = trained(model, data)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_resnet_is_torchvisions():
    torch.manual_seed(0)
    ours = MODELS.build(dict(type='RefAugResNet', depth=18, num_classes=4)).eval()
    theirs = resnet18(num_classes=4).eval()
    theirs.load_state_dict(ours.net.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))
        nn.init.zeros_(theirs.layer4[1].conv2.weight)
        assert not torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize(('depth', 'width'), [(18, 8), (34, 8), (50, 4)])
def test_backbone_state_is_all_but_the_classifier_layer(depth, width):
    net = MODELS.build(dict(type='RefAugResNet', depth=depth, num_classes=4, width=width))
    reference = resnets.reference(f'resnet{depth}', width).state_dict()
    state = net.backbone_state()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in reference.items()}
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 4)
    assert net.out_channels == tuple(
        {18: 1, 34: 1, 50: 4}[depth] * width * 2**stage for stage in range(4))
