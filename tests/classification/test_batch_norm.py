"""Batch-norm statistics re-estimated, and nothing else."""

import pytest
import torch
from torch import nn

from classification.batch_norm import averaging, norms, reestimate
from classification.models.preact_resnet import RefAugPreActResNet


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1),
                         nn.BatchNorm2d(2))


def batches(count=5, offset=0.0):
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(8, 3, 6, 6, generator=rng) + offset for _ in range(count)]


def test_statistics_are_the_mean_over_all_batches():
    net = network()
    reestimate(net, batches(offset=3.0))
    with torch.no_grad():
        first = [net[0](images) for images in batches(offset=3.0)]
    mean = torch.stack([x.mean((0, 2, 3)) for x in first]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in first]).mean(0)
    torch.testing.assert_close(net[1].running_mean, mean)
    torch.testing.assert_close(net[1].running_var, variance)
    last = first[-1].mean((0, 2, 3))  # what a moving average leans to is something else
    assert not torch.allclose(net[1].running_mean, last)


def test_it_is_torchs_own_update():
    from torch.optim.swa_utils import update_bn
    ours, theirs = network(), network()
    reestimate(ours, batches())
    update_bn(batches(), theirs)
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)
    assert not torch.equal(ours[1].running_mean, network()[1].running_mean)


@pytest.mark.parametrize('training', [True, False])
def test_parameters_mode_and_momenta_stay(training):
    net = RefAugPreActResNet(num_classes=3, width=4)
    net.train(training)
    before = {name: p.clone() for name, p in net.named_parameters()}
    means = [layer.running_mean.clone() for layer in norms(net)]
    momenta = [layer.momentum for layer in norms(net)]
    reestimate(net, [torch.randn(4, 3, 16, 16)])
    assert net.training == training
    assert [layer.momentum for layer in norms(net)] == momenta != [None] * len(momenta)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert all(p.grad is None for p in net.parameters())
    assert not any(torch.equal(layer.running_mean, mean)
                   for layer, mean in zip(norms(net), means, strict=True))


def test_a_second_part_goes_on_where_the_first_ended():
    whole, parts, forgot = network(), network(), network()
    reestimate(whole, batches(4))
    for net, begins in ((parts, (True, False)), (forgot, (True, True))):
        for begin, part in zip(begins, (batches(4)[:3], batches(4)[3:]), strict=True):
            net.train()
            with torch.no_grad(), averaging(net, begin):
                for images in part:
                    net(images)
    torch.testing.assert_close(parts[1].running_mean, whole[1].running_mean)
    assert not torch.allclose(forgot[1].running_mean, whole[1].running_mean)


def test_momenta_come_back_after_an_error():
    net = network()
    with pytest.raises(RuntimeError):
        reestimate(net, [torch.zeros(2, 5, 6, 6)])
    assert net[1].momentum == 0.1
