"""What every batch augment promises, and what Mixup and CutMix compute."""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from mmengine.registry import MODELS
from torch import nn

import classification.train  # noqa: F401  (registration)
from classification.batch_augments import (
    BatchAugment,
    RefAugCutMix,
    RefAugMixup,
    cutmix,
    cutmix_box,
    mixup,
    through_one,
)
from refaug_det.errors import UserError

CLASSES = 7


def registered(base=BatchAugment):
    for cls in base.__subclasses__():
        if MODELS.get(cls.__name__) is cls:
            yield cls
        yield from registered(cls)


KINDS = pytest.mark.parametrize('kind', sorted(set(registered()), key=lambda cls: cls.__name__))


def make(kind, alpha=1.0, probability=1.0):
    known = inspect.signature(kind.__init__).parameters
    return kind(**{k: v for k, v in dict(alpha=alpha, probability=probability).items()
                   if k in known})


def batch(size=6, height=10, width=8, dtype=torch.float32, seed=0):
    """Images whose pixels are all different, and one-hot targets."""
    generator = torch.Generator().manual_seed(seed)
    count = size * 3 * height * width
    images = torch.randperm(count, generator=generator).view(size, 3, height, width).to(dtype)
    labels = torch.arange(size) % CLASSES
    return images / count, F.one_hot(labels, CLASSES).to(dtype)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_all_augments_are_found():
    assert {RefAugMixup, RefAugCutMix} <= set(registered())


@KINDS
@pytest.mark.parametrize('size', [1, 5, 6])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
def test_shapes_types_and_soft_targets(kind, size, dtype):
    images, targets = batch(size, dtype=dtype)
    for seed in range(10):
        mixed, soft, did = make(kind)(images, targets, rng(seed), 1.0)
        assert did
        assert mixed.shape == images.shape
        assert soft.shape == targets.shape
        assert mixed.dtype == soft.dtype == dtype
        assert mixed.isfinite().all()
        assert (soft >= 0).all()
        assert torch.allclose(soft.sum(1), torch.ones(size, dtype=dtype), atol=1e-2 if
                              dtype == torch.float16 else 1e-6)


@KINDS
def test_inputs_are_not_changed(kind):
    images, targets = batch()
    copies = images.clone(), targets.clone()
    changed = 0
    for seed in range(10):
        mixed, soft, _ = make(kind)(images, targets, rng(seed), 1.0)
        changed += not torch.equal(mixed, images) and not torch.equal(soft, targets)
        assert torch.equal(images, copies[0])
        assert torch.equal(targets, copies[1])
    assert changed > 5  # else the two lines above say nothing


@KINDS
def test_strength_zero_is_the_identity_and_says_so(kind):
    images, targets = batch()
    for seed in range(20):
        mixed, soft, did = make(kind)(images, targets, rng(seed), 0.0)
        assert did is False
        assert mixed is images
        assert soft is targets


@KINDS
def test_lambda_one_is_the_identity_and_another_is_not(kind):
    images, targets = batch()
    partner = torch.tensor([1, 2, 3, 4, 5, 0])
    mixed, soft = make(kind).mix(images, targets, 1.0, partner, rng())
    assert torch.equal(mixed, images)
    assert torch.equal(soft, targets)
    mixed, soft = make(kind).mix(images, targets, 0.2, partner, rng())
    assert not torch.equal(mixed, images)
    assert not torch.equal(soft, targets)


@KINDS
def test_all_draws_come_from_the_generator(kind):
    images, targets = batch()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, again, other = (make(kind)(images, targets, rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def share_mixed(augment, strength=1.0, draws=2000):
    images, targets, generator = *batch(2, 2, 2), rng(1)
    return sum(augment(images, targets, generator, strength)[2] for _ in range(draws)) / draws


@KINDS
@pytest.mark.parametrize('probability', [0.0, 0.3, 1.0])
def test_probability_is_respected(kind, probability):
    tolerance = 5 * math.sqrt(probability * (1 - probability) / 2000)
    assert abs(share_mixed(make(kind, probability=probability)) - probability) <= tolerance
    assert abs(share_mixed(make(kind, probability=0.5)) - probability) > tolerance


@KINDS
def test_weaker_strength_mixes_less(kind):
    images, targets = batch(2, 16, 16)
    partner_weight = []
    for strength in (1.0, 0.5, 0.1, 1e-12):
        generator = rng(2)
        soft = torch.stack([make(kind)(images, targets, generator, strength)[1]
                            for _ in range(400)])
        assert soft.isfinite().all()
        partner_weight.append(float((1 - soft.amax(2)).mean()))
    assert partner_weight == sorted(partner_weight, reverse=True)
    assert partner_weight[0] > 1.2 * partner_weight[1] > 1.2**2 * partner_weight[2] > 0
    assert partner_weight[3] < 1e-6


def test_weak_cutmix_acts_rarely_and_weak_mixup_at_all_times():
    assert abs(share_mixed(RefAugCutMix(probability=0.8), 0.5) - 0.4) < 5 * math.sqrt(.24 / 2000)
    assert share_mixed(RefAugMixup(alpha=1.0), 0.5) == 1


@KINDS
@pytest.mark.parametrize('wrong', [{'alpha': 0.0}, {'alpha': -1.0}, {'probability': 1.1},
                                   {'probability': -0.1}])
def test_arguments_out_of_range_are_refused(kind, wrong):
    with pytest.raises(UserError) as caught:
        make(kind, **wrong)
    assert caught.value.where == kind.__name__


def mixup_by_loops(images, targets, lam, partner):
    mixed, soft = torch.empty_like(images), torch.empty_like(targets)
    for i, j in enumerate(partner.tolist()):
        mixed[i] = lam * images[i] + (1 - lam) * images[j]
        soft[i] = lam * targets[i] + (1 - lam) * targets[j]
    return mixed, soft


@pytest.mark.parametrize('lam', [0.0, 0.3, 0.5, 0.9, 1.0])
def test_mixup_is_its_formula(lam):
    images, targets = batch(5, dtype=torch.float64)
    partner = torch.tensor([4, 2, 2, 0, 1])
    mixed, soft = mixup(images, targets, lam, partner)
    expected = mixup_by_loops(images, targets, lam, partner)
    assert torch.allclose(mixed, expected[0], rtol=0, atol=1e-12)
    assert torch.allclose(soft, expected[1], rtol=0, atol=1e-12)
    swapped = mixup_by_loops(images, targets, 1 - lam, partner)
    assert torch.allclose(mixed, swapped[0]) == (lam == 0.5)


def cutmix_by_loops(images, targets, box, partner):
    mixed, soft, count = images.clone(), targets.clone(), 0
    y1, y2, x1, x2 = box
    height, width = images.shape[-2:]
    for i, j in enumerate(partner.tolist()):
        count = 0
        for y in range(height):
            for x in range(width):
                if y1 <= y < y2 and x1 <= x < x2:
                    mixed[i, :, y, x] = images[j, :, y, x]
                    count += 1
        share = count / (height * width)
        soft[i] = (1 - share) * targets[i] + share * targets[j]
    return mixed, soft


@pytest.mark.parametrize('box', [(0, 0, 0, 0), (2, 5, 1, 8), (0, 10, 0, 8), (9, 10, 7, 8)])
def test_cutmix_is_its_formula(box):
    images, targets = batch(5, dtype=torch.float64)
    partner = torch.tensor([4, 2, 2, 0, 1])
    mixed, soft = cutmix(images, targets, box, partner)
    expected = cutmix_by_loops(images, targets, box, partner)
    assert torch.equal(mixed, expected[0])
    assert torch.allclose(soft, expected[1], rtol=0, atol=1e-12)
    transposed = cutmix_by_loops(images, targets, (box[2], box[3], box[0], box[1]), partner)
    assert torch.equal(mixed, transposed[0]) == (box == (0, 0, 0, 0))


@given(height=st.integers(1, 20), width=st.integers(1, 20), lam=st.floats(0, 1), data=st.data())
@example(height=10, width=10, lam=0.5, data=None)
def test_targets_of_cutmix_weigh_the_pixels_really_pasted(height, width, lam, data):
    centre = (0, 0) if data is None else (data.draw(st.integers(0, height - 1)),
                                          data.draw(st.integers(0, width - 1)))
    y1, y2, x1, x2 = box = cutmix_box(height, width, lam, centre)
    assert 0 <= y1 <= y2 <= height
    assert 0 <= x1 <= x2 <= width
    assert (y2 - y1) * (x2 - x1) <= (1 - lam) * height * width + 1e-9
    images = torch.stack([torch.zeros(3, height, width), torch.ones(3, height, width)]).double()
    mixed, soft = cutmix(images, torch.eye(2).double(), box, torch.tensor([1, 0]))
    pasted = mixed[0].mean()
    assert torch.allclose(soft[0], torch.stack([1 - pasted, pasted]), rtol=0, atol=1e-12)
    if data is None:  # at a corner the drawn lambda is not the share: a quarter of the box is left
        assert abs(float(pasted) - (1 - lam)) > 0.3


def test_one_of_several_is_drawn():
    images, targets = batch()
    kinds = [RefAugMixup(alpha=1.0), RefAugCutMix(probability=1.0)]
    pasted = 0
    for seed in range(200):
        mixed, _, did = through_one(kinds, nn.Identity(), images, targets, rng(seed), 1.0)
        assert did
        pasted += bool(torch.isin(mixed, images).all())  # CutMix makes no new pixel values
    assert 60 < pasted < 140


def test_an_empty_list_does_nothing():
    images, targets = batch()
    assert through_one([], nn.Identity(), images, targets, rng(), 1.0) == (images, targets, False)
