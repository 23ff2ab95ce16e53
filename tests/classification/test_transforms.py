"""The pipeline of one image: transforms always act, augmentations as strongly as asked."""

import math
import random

import pytest
import torch
from torchvision.transforms import v2

from classification.transforms import Pipeline, RefAugTransform
from refaug_det.errors import UserError

CROP = dict(type='RefAugTransform', name='CenterCrop', size=4)
INVERT = dict(type='RefAugAugmentation', name='RandomInvert', p=1.0)
SOLARIZE = dict(type='RefAugAugmentation', name='RandomSolarize', threshold=0, p=1.0)


@pytest.fixture
def image():
    return torch.randint(0, 100, (3, 8, 8), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(0))


def test_strength_zero_leaves_the_transforms_alone(image):
    seen, augmented = Pipeline([CROP, INVERT])(image, 0.0)
    assert augmented is False
    assert torch.equal(seen, image[:, 2:6, 2:6])


@pytest.mark.parametrize('order', [[CROP, INVERT], [INVERT, CROP]])
def test_strength_one_augments_every_image(image, order):
    for _ in range(50):
        seen, augmented = Pipeline(order)(image, 1.0)
        assert augmented is True
        assert torch.equal(seen, 255 - image[:, 2:6, 2:6])


def test_without_an_augmentation_nothing_is_augmented(image):
    assert Pipeline([CROP])(image, 1.0)[1] is False
    assert Pipeline([])(image, 1.0) == (image, False)


@pytest.mark.parametrize('strength', [0.2, 0.5])
def test_strength_between_is_the_share_of_images(image, strength):
    random.seed(0)
    pipeline, draws = Pipeline([INVERT, INVERT, SOLARIZE]), 2000
    whole = pipeline(image, 1.0)[0]
    count = 0
    for _ in range(draws):
        seen, augmented = pipeline(image, strength)
        assert torch.equal(seen, whole if augmented else image)  # all augmentations or none
        count += augmented
    tolerance = 5 * math.sqrt(strength * (1 - strength) * draws)
    assert abs(count - strength * draws) < tolerance
    assert abs(count - 0.35 * draws) > tolerance  # the test could tell another share


def test_transforms_are_torchvisions(image):
    transform = RefAugTransform('RandomCrop', size=4, padding=2)
    torch.manual_seed(3)
    ours = transform(image)
    torch.manual_seed(3)
    assert torch.equal(ours, v2.RandomCrop(4, padding=2)(image))


def test_policy_is_given_by_name(image):
    transform = RefAugTransform('AutoAugment', policy='cifar10').transform
    assert transform.policy is v2.AutoAugmentPolicy.CIFAR10


@pytest.mark.parametrize(('cfg', 'fix'), [
    (dict(name='RandomHorizontalFlap'), 'RandomHorizontalFlip'),
    (dict(name='Randomcrop'), 'RandomCrop'),
    (dict(name='InterpolationMode'), ''),  # in the module, but no transform
    (dict(name='functional'), ''),
    (dict(name='RandomCrop'), ''),  # lacks its size
    (dict(name='RandomCrop', size=4, pading=2), ''),
    (dict(name='RandomInvert', p=2.0), ''),
    (dict(name='AutoAugment', policy='cifar11'), ''),
])
@pytest.mark.parametrize('role', ['RefAugTransform', 'RefAugAugmentation'])
def test_what_torchvision_does_not_know_is_refused(cfg, fix, role):
    with pytest.raises(UserError) as caught:
        Pipeline([dict(type=role, **cfg)])
    assert cfg['name'] in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.fix
