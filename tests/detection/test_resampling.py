"""AP of a resample is the AP of a test set in which images really occur so often."""

import numpy as np
import pytest

from detection.detections import Detections
from detection.evaluate import metrics_of
from detection.resampling import MODES, ResampledAP
from refaug_det.comparison.statistics import (
    Interval,
    difference_interval,
    image_weights,
    two_level,
)


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
    monkeypatch.setattr('detection.resampling.AT_ONCE', 50)  # in several parts
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


def ranked(quality, rng, classes=2):
    """A run whose detections hit by construction: an object and two false alarms an image and
    class; the better an image goes, the higher its hits score."""
    images = len(quality)
    where = np.tile(np.repeat(np.arange(images), classes), 3)
    labels, count = np.tile(np.arange(classes), 3 * images), images * classes
    hit = np.arange(len(where)) < count
    boxes = np.where(hit[:, None], [[0, 0, 10, 10]], [[50, 50, 60, 60]]).astype(np.float32)
    scores = rng.normal(size=len(where)) + np.where(hit, 1 + quality[where], 0)
    return ResampledAP(Detections(
        classes=np.arange(classes).astype(str), image_ids=np.arange(images).astype(str),
        image_sizes=np.full((images, 2), 99), boxes=boxes, scores=scores.astype(np.float32),
        labels=labels, images=where, gt_boxes=boxes[:count], gt_labels=labels[:count],
        gt_difficult=np.zeros(count, bool), gt_images=where[:count]))


def intervals_of_ap(spread_runs, better=1.2, images=40, runs=3, times=100):
    """Intervals of a difference in AP of two backbones, over drawn test sets and runs: of both
    levels, of runs alone, of images alone."""
    rng, found = np.random.default_rng(0), []
    for _ in range(times):
        weights = np.concatenate([np.ones((1, images)), image_weights(images, 150, rng)])
        a, b = (np.stack([ranked(effect + spread_runs * rng.normal(), rng)(weights)[MODES[0]]
                          for _ in range(runs)], 1)
                for effect in (better + rng.normal(size=images), rng.normal(size=images)))
        low, high = np.percentile(a[1:].mean(1) - b[1:].mean(1), [2.5, 97.5])
        both = two_level(a, b)
        found.append((both, difference_interval(a[0], b[0]), Interval(both.value, low, high)))
    return found


@pytest.mark.parametrize(('spread_runs', 'too_narrow'), [(0.3, 2), (0.05, 1)])
def test_two_level_intervals_of_ap_cover_and_one_level_does_not(spread_runs, too_narrow):
    found = intervals_of_ap(spread_runs)
    true = np.mean([both.value for both, *_ in found])
    held = [np.mean([not one.excludes(true) for one in level])
            for level in zip(*found, strict=True)]
    assert true > 14
    assert held[0] >= 0.9  # 95 % less two binomial standard errors
    assert np.mean([one.excludes(0) for one, *_ in found]) > 0.5  # nor does it hold everything
    assert held[too_narrow] < 0.87


def test_the_benchmark(tool, capsys):
    bench = tool('bench_statistics')
    assert bench(['--images', '20', '--each', '5', '--classes', '2', '--resamples', '7',
                  '--runs', '21']) == 0
    out = capsys.readouterr().out
    assert '7 resamples of 20 x 5 detections' in out
    assert 'table of 21 runs' in out
    assert bench(['--runs', '0']) == 2
    assert '--runs 0' in capsys.readouterr().err
