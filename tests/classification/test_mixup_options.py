"""Mixup with a lambda of every sample, with other pairings, and through a network."""

import numpy as np
import pytest
import torch
from torch import nn

from classification.batch_augments import RefAugMixup, interpolate, mixup, through_one
from classification.manifold_mixup import RefAugManifoldMixup


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize('shape', [(6,), (6, 4), (6, 3, 5, 7)])
def test_interpolation_takes_a_lambda_a_batch_or_a_sample(shape):
    values, partner = torch.randn(shape, dtype=torch.double), torch.tensor([1, 2, 3, 4, 5, 0])
    each = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], dtype=torch.double)
    found = interpolate(values, each, partner)
    for i, lam in enumerate(each.tolist()):
        assert torch.allclose(found[i], lam * values[i] + (1 - lam) * values[partner[i]])
        assert torch.allclose(found[i], interpolate(values, lam, partner)[i])
    assert torch.equal(interpolate(values, torch.ones(6), partner), values)
    assert not torch.allclose(found, interpolate(values, each.flip(0), partner))


@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('pairing', ['permutation', 'reversed'])
def test_options_of_mixup(per_sample, pairing):
    images, targets = torch.randn(6, 3, 2, 2), torch.eye(6)  # the targets tell all draws
    augment, partners = RefAugMixup(1.0, per_sample=per_sample, pairing=pairing), set()
    for seed in range(5):
        mixed, soft, _ = augment(images, targets, rng(seed))
        lam = soft.diagonal()
        partner = (soft - torch.diag(lam)).argmax(1)
        partner = torch.where(lam > 1 - 1e-6, torch.arange(6), partner)
        moved = lam < 1 - 1e-6  # a permutation may leave a sample where it is
        assert lam[moved].unique().numel() == (int(moved.sum()) if per_sample else 1)
        expected = mixup(images, targets, lam, partner)
        assert torch.allclose(mixed, expected[0], atol=1e-5)
        partners.add(tuple(partner.tolist()))
    if pairing == 'reversed':
        assert partners == {(5, 4, 3, 2, 1, 0)}
    else:
        assert len(partners) == 5


def test_through_one_is_the_one_drawn_and_the_network():
    images, targets = torch.randn(6, 3, 4, 4), torch.eye(6)
    assert through_one([], nn.Flatten(), images, targets, rng(), 1.0)[2] is False
    kinds = [RefAugMixup(1.0), RefAugManifoldMixup(points=(0,), pairing='reversed')]
    for seed in range(4):
        generator = rng(seed)
        chosen = kinds[int(generator.integers(2))]
        expected = chosen(images, targets, generator, 1.0)
        found = through_one(kinds, nn.Flatten(), images, targets, rng(seed), 1.0)
        assert torch.equal(found[0], expected[0].flatten(1))
        assert torch.equal(found[1], expected[1])
