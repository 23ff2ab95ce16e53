"""Risks in closed form, their intervals, and what a pass over images does and leaves."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from classification.analysis.risk import (
    SampleRisks,
    batch_risks,
    batch_statistics,
    bootstrap_means,
    cross_entropies,
    estimate,
)
from classification.batch_augments import RefAugMixup
from classification.manifold_mixup import RefAugManifoldMixup


class Halves(nn.Module):
    """Logits are the pixels' sums by channel: a linear classifier of three classes."""

    def forward(self, images):
        return images.sum((2, 3))


class FixedMixup(RefAugMixup):
    """Mixup with a lambda that is known, of neighbours."""

    def __init__(self, lam):
        super().__init__(1.0)
        self.lam = lam

    def draw_lambda(self, batch, strength, rng):
        return self.lam

    def draw_partner(self, batch, rng):
        return torch.arange(batch).roll(1)


def images(*logits):
    return torch.tensor(logits, dtype=torch.float32)[:, :, None, None]


def test_a_linear_classifier_has_the_risk_of_its_logits():
    x = images((0.0, 0.0, 0.0), (math.log(2), 0.0, 0.0), (0.0, 50.0, 0.0))
    risks = batch_risks(Halves(), x, F.one_hot(torch.tensor([0, 0, 1]), 3).float())
    assert risks.dtype == torch.float64
    assert torch.allclose(risks, torch.tensor([math.log(3), math.log(2), 0.0]).double(), atol=1e-7)
    wrong = batch_risks(Halves(), x, F.one_hot(torch.tensor([1, 1, 0]), 3).float())
    assert wrong[2] == pytest.approx(50)


def test_soft_targets_cost_at_least_their_entropy():
    targets = torch.tensor([[0.7, 0.3, 0.0]])
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    best = cross_entropies(torch.log(targets + 1e-30), targets)
    assert best.item() == pytest.approx(entropy)
    assert cross_entropies(torch.zeros(1, 3), targets).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize('lam', [0.0, 0.3, 1.0])
def test_mixup_risk_at_a_fixed_lambda(lam):
    """Logits are linear in the image, so those of a mixture are the mixture of the logits."""
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5], [-1.0, 0.0, 3.0]])
    targets = torch.eye(3)
    mixed = lam * logits + (1 - lam) * logits.roll(1, 0)
    logs = torch.log_softmax(mixed.double(), 1)
    expected = -(lam * targets * logs + (1 - lam) * targets.roll(1, 0) * logs).sum(1)
    found = batch_risks(Halves(), images(*logits.tolist()), targets, [FixedMixup(lam)])
    assert torch.allclose(found, expected, atol=1e-6)
    plain = batch_risks(Halves(), images(*logits.tolist()), targets)
    assert torch.allclose(found, plain, atol=1e-6) == (lam == 1.0)


def test_manifold_mixup_acts_within_the_network():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    network.mix_points = (network[1],)
    torch.manual_seed(0)
    x, targets = torch.randn(6, 3, 1, 1), torch.eye(3).repeat(2, 1)
    within, at_input = (batch_risks(network, x, targets, [RefAugManifoldMixup(points=[point])],
                                    np.random.default_rng(1)) for point in (1, 0))
    again = batch_risks(network, x, targets, [RefAugManifoldMixup(points=[1])],
                        np.random.default_rng(1))
    assert torch.equal(within, again)
    assert not torch.allclose(within, at_input)


def test_the_bootstrap_has_the_standard_error_of_the_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 400)
    means = bootstrap_means(values, rng, 2000)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / 20, rel=0.1)
    found = estimate(values[None], rng, 2000)
    assert found.n == 400
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_a_paired_gap_is_tighter_than_two_samples():
    rng = np.random.default_rng(0)
    clean = rng.exponential(1, 500)
    augmented = clean + 0.1 + rng.normal(0, 0.01, 500)
    paired = estimate((augmented - clean)[None], rng, 500)
    apart = estimate(augmented[None], rng, 500, less=clean[None])
    assert paired.value == pytest.approx(apart.value)
    assert paired.low > 0.09
    assert apart.low < 0.0
    assert apart.high - apart.low == pytest.approx(
        2 * 1.96 * math.sqrt(2 / 500) * clean.std(), rel=0.2)


def test_images_of_one_batch_share_their_lambda():
    """20 batches whose means differ: the interval is theirs, not that of 2,000 images."""
    rng = np.random.default_rng(0)
    batches = np.repeat(np.arange(20), 100)[None]
    risks = rng.normal(0, 1, 20)[batches] + rng.normal(0, 0.01, batches.shape)
    shared = estimate(risks, rng, 500, batches=batches)
    alone = estimate(risks, rng, 500)
    assert shared.value == alone.value
    assert shared.high - shared.low > 5 * (alone.high - alone.low)
    assert shared.high - shared.low == pytest.approx(
        2 * 1.96 * risks[0].reshape(20, 100).mean(1).std() / math.sqrt(20), rel=0.25)


def test_the_risks_of_a_class():
    risks = SampleRisks(np.arange(6.0).reshape(2, 3), np.array([4, 7, 4]),
                        np.arange(6).reshape(2, 3))
    its = risks.of(4)
    assert its.values.tolist() == [[0, 2], [3, 5]]
    assert its.batches.tolist() == [[0, 2], [3, 5]]
    assert its.labels.tolist() == [4, 4]
    assert SampleRisks(risks.values, risks.labels).of(7).batches is None


def test_batch_statistics_are_used_and_not_kept():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = torch.randn(8, 3, 4, 4) * 5 + 3
    assert torch.allclose(network(x), x, atol=1e-3)  # running mean 0, variance 1
    with batch_statistics(network):
        assert network(x).mean((0, 2, 3)).abs().max() < 1e-5
        assert torch.equal(network(x), network(x))  # dropout stays off
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.allclose(network(x), x, atol=1e-3)
    network.train()(x)  # what it would have kept
    assert not torch.equal(before['0.running_mean'], network[0].running_mean)
