"""AP of a resample is the AP of a test set in which images really occur so often."""

import numpy as np
import pytest

from detection.detections import Detections
from detection.evaluate import metrics_of
from detection.resampling import MODES, ResampledAP


def detected(images=30, classes=3, per_image=8, objects=2, seed=0):
    """Random detections near random objects, a tenth of which are difficult; distinct scores."""
    rng = np.random.default_rng(seed)
    gt_images = np.repeat(np.arange(images), objects)
    corner = rng.uniform(0, 300, (len(gt_images), 2))
    gt = np.concatenate([corner, corner + rng.uniform(30, 150, corner.shape)], 1)
    gt_labels = rng.integers(0, classes, len(gt))
    of = np.repeat(np.arange(images), per_image)
    near = of * objects + rng.integers(0, objects, len(of))
    labels = np.where(rng.random(len(of)) < 0.7, gt_labels[near], rng.integers(0, classes, len(of)))
    return Detections(
        classes=np.array([f'c{n}' for n in range(classes)]),
        image_ids=np.array([f'{n:06d}' for n in range(images)]),
        image_sizes=np.full((images, 2), 500, np.int32),
        boxes=(gt[near] + rng.normal(0, 15, (len(of), 4))).astype(np.float32),
        scores=rng.permutation(len(of)).astype(np.float32), labels=labels.astype(np.int16),
        images=of.astype(np.int32), gt_boxes=gt.astype(np.float32),
        gt_labels=gt_labels.astype(np.int16), gt_difficult=rng.random(len(gt)) < 0.1,
        gt_images=gt_images.astype(np.int32))


def repeated(d, counts):
    """The test set in which image n occurs `counts[n]` times."""
    sources = np.repeat(np.arange(len(counts)), counts)
    arrays = {}
    for names, images in ((('boxes', 'scores', 'labels'), 'images'),
                          (('gt_boxes', 'gt_labels', 'gt_difficult'), 'gt_images')):
        chosen = [np.flatnonzero(getattr(d, images) == source) for source in sources]
        rows = np.concatenate(chosen)
        arrays |= {name: getattr(d, name)[rows] for name in names}
        arrays[images] = np.repeat(np.arange(len(sources)), [len(c) for c in chosen]).astype(
            np.int32)
    return Detections(classes=d.classes, image_ids=np.arange(len(sources)).astype(str),
                      image_sizes=d.image_sizes[sources], **arrays)


def test_every_image_once_is_the_metric():
    d = detected()
    found = ResampledAP(d)(np.ones((1, 30)))
    metrics = metrics_of(d)
    for mode in MODES:
        assert found[mode][0] == pytest.approx(metrics[mode], abs=1e-10)


@pytest.mark.parametrize('seed', range(5))
def test_resamples_are_those_of_real_copies(seed, monkeypatch):
    monkeypatch.setattr('detection.resampling.AT_ONCE', 300)  # in several parts
    d = detected(seed=seed)
    counts = np.random.default_rng(seed).multinomial(30, np.full(30, 1 / 30), size=4)
    found = ResampledAP(d)(counts)
    plain = ResampledAP(d)(np.ones((1, 30)))
    for number, row in enumerate(counts):
        metrics = metrics_of(repeated(d, row))
        for mode in MODES:
            assert found[mode][number] == pytest.approx(metrics[mode], abs=1e-10)
            assert found[mode][number] != pytest.approx(plain[mode][0], abs=1e-3)


def test_a_class_that_a_resample_lacks_enters_no_mean():
    d = detected(images=6, classes=3)
    only = np.flatnonzero([set(d.gt_labels[d.gt_images == n]) == {0} for n in range(6)])
    weights = np.zeros((1, 6))
    weights[0, only] = 1
    assert len(only)
    found = ResampledAP(d)(weights)
    counts = weights[0].astype(int)
    assert found[MODES[0]][0] == pytest.approx(metrics_of(repeated(d, counts))[MODES[0]])
    assert np.isnan(ResampledAP(d)(np.zeros((1, 6)))[MODES[0]][0])


def test_without_a_hit_it_is_zero():
    d = detected()
    d.boxes[:] = [1000, 1000, 1001, 1001]
    assert ResampledAP(d)(np.ones((2, 30)))[MODES[1]].tolist() == [0, 0]
