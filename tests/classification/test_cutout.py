"""Cutout: a square somewhere, clipped at the border."""

import pytest
import torch
from mmengine.registry import TRANSFORMS

from classification.cutout import RefAugCutout, colour, cutout
from classification.transforms import Pipeline
from refaug_det.errors import UserError
from refaug_det.runs.randomness import seed_from


@pytest.fixture
def image():
    return torch.full((3, 20, 12), 200, dtype=torch.uint8)


def covered(image, out):
    return (out != image).any(0)


@pytest.mark.parametrize(('centre', 'rows', 'columns'), [
    ((10, 6), range(8, 12), range(4, 8)), ((0, 0), range(0, 2), range(0, 2)),
    ((19, 11), range(17, 20), range(9, 12)), ((1, 11), range(0, 3), range(9, 12))])
def test_the_square_is_where_it_should_be(image, centre, rows, columns):
    found = covered(image, cutout(image, 4, centre, (1, 2, 3)))
    for y in range(20):
        for x in range(12):
            assert bool(found[y, x]) == (y in rows and x in columns)


@pytest.mark.parametrize('size', [1, 3, 4, 40])
def test_size_and_fill(image, size):
    copy = image.clone()
    out = cutout(image, size, (10, 6), (1, 2, 3))
    assert int(covered(image, out).sum()) == min(size, 20) * min(size, 12)
    assert out[:, 10, 6].tolist() == [1, 2, 3]
    assert torch.equal(image, copy)
    assert torch.equal(cutout(image, size, (10, 6), (200,) * 3), image)


def test_every_pixel_may_be_the_centre(image):
    transform, counts = RefAugCutout(size=1), torch.zeros(20, 12)
    torch.manual_seed(0)
    for _ in range(3000):
        found = covered(image, transform(image))
        assert found.sum() == 1
        counts += found
    assert counts.min() > 0
    assert abs(float(counts[:10].sum()) - 1500) < 140  # five standard deviations
    assert abs(float(counts[:, :6].sum()) - 1500) < 140


def test_draws_are_keyed(image):
    transform, centres = RefAugCutout(size=4), set()
    for number in range(10):
        seed_from(0, 'sample', 0, number)
        first = transform(image)
        seed_from(0, 'sample', 0, number)
        assert torch.equal(transform(image), first)
        centres.add(tuple(covered(image, first).nonzero()[0].tolist()))
    assert len(centres) > 5


def test_it_is_an_augmentation_of_the_pipeline(image):
    pipeline = Pipeline([dict(type='RefAugCutout', size=8, fill=[1, 2, 3])])
    assert pipeline(image, 0.0) == (image, False)
    out, augmented = pipeline(image, 1.0)
    assert augmented
    assert covered(image, out).any()
    assert TRANSFORMS.build(dict(type='RefAugCutout')).size == 16


@pytest.mark.parametrize(('fill', 'expected'), [
    (128, (128, 128, 128)), ([123.675, 116.28, 103.53], (124, 116, 104)),
    ((0, 255, 1), (0, 255, 1))])
def test_colours(fill, expected):
    assert colour(fill) == RefAugCutout(fill=fill).fill == expected


@pytest.mark.parametrize('wrong', [dict(size=0), dict(fill=-1), dict(fill=(1, 2))])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(UserError):
        RefAugCutout(**wrong)
