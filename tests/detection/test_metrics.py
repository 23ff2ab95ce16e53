"""The metric as a detector's evaluation calls it, on one process and on two."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import detection.train  # noqa: F401  (registration)
from detection import detections
from detection.evaluate import metrics_of
from detection.metrics import RefAugVOCMetric


@pytest.fixture
def score(devkit):
    """Metrics of images, through mmengine's own path."""
    def metrics(images, classes, **options):
        metric = RefAugVOCMetric(**options)
        metric.dataset_meta = dict(classes=[f'c{i}' for i in range(classes)])
        metric.process(None, list(devkit.samples(images)))
        return metric.evaluate(len(images))
    return metrics


@pytest.mark.parametrize('seed', range(10))
def test_the_metric_agrees_with_the_development_kit(score, devkit, seed):
    images = devkit.random_images(np.random.default_rng(seed))
    metrics = score(images, 3)
    for mode, name in zip(devkit.MODES, ('AP50 (11-point)', 'AP50 (area)'), strict=True):
        expected = {c: devkit.devkit_ap(images, c, mode) for c in range(3)}
        for c, value in expected.items():
            assert (f'{name}/c{c}' in metrics) == (value is not None)
            if value is not None:
                assert metrics[f'{name}/c{c}'] == pytest.approx(100 * value, abs=1e-3)
        present = [100 * v for v in expected.values() if v is not None]
        assert metrics[name] == pytest.approx(np.mean(present), abs=1e-3)


def test_the_two_modes_differ_and_difficult_objects_matter(score, devkit):
    images = devkit.random_images(np.random.default_rng(1), count=20)
    metrics = score(images, 3)
    assert abs(metrics['AP50 (11-point)'] - metrics['AP50 (area)']) > 0.1
    easy = [(b, lab, np.zeros_like(d), *rest) for b, lab, d, *rest in images]
    assert score(easy, 3) != metrics


def test_perfect_and_empty_detections(score):
    box = np.array([[1.0, 1, 20, 20]])
    perfect = [(box, np.array([0]), np.array([False]), box, np.array([0.9]), np.array([0]))]
    for name in ('AP50 (11-point)', 'AP50 (area)', 'AP', 'AR@100', 'AP (small)'):
        assert score(perfect, 1)[name] == pytest.approx(100)
    assert score(perfect, 1)['AP (large)'] is None
    nothing = [(*perfect[0][:3], np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))]
    assert score(nothing, 1)['AP50 (area)'] == score(nothing, 1)['AP'] == 0
    only_difficult = [(*perfect[0][:2], np.array([True]), *perfect[0][3:])]
    assert set(score(only_difficult, 1).values()) == {None}


def test_detections_are_kept_in_the_order_of_the_file(score, devkit, tmp_path):
    images = devkit.random_images(np.random.default_rng(2), count=20)
    metrics = score(images, 3, save_to=tmp_path)
    kept = detections.load(tmp_path)
    for mine, theirs in zip((kept.boxes, kept.scores, kept.labels, kept.images, kept.gt_boxes,
                             kept.gt_labels, kept.gt_difficult, kept.gt_images),
                            devkit.arrays(images), strict=True):
        assert np.array_equal(mine, theirs.astype(mine.dtype))
    assert np.any(np.diff(kept.gt_difficult.astype(int)) < 0), 'the case needs mixed objects'
    assert kept.image_ids[3] == '000003'
    assert kept.image_sizes[3].tolist() == [80, 60]
    assert metrics_of(kept) == metrics


RANK = """
import importlib.util, sys
import numpy as np, torch
spec = importlib.util.spec_from_file_location('devkit', sys.argv[1])
devkit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(devkit)
from detection.metrics import RefAugVOCMetric
folder, rank = sys.argv[2], int(sys.argv[3])
torch.distributed.init_process_group('gloo', f'file://{folder}/meet', rank=rank, world_size=2)
images = devkit.random_images(np.random.default_rng(5), count=7)
metric = RefAugVOCMetric(save_to=folder if rank == 0 else folder + '/other')
metric.dataset_meta = dict(classes=['c0', 'c1', 'c2'])
every = list(devkit.samples(images))
metric.process(None, (every + every[:1])[rank::2])  # the sampler fills up with the first
metrics = metric.evaluate(len(images))
metric.process(None, every)
assert metrics == metric.compute_metrics(metric.results), metrics
metric.results.pop()
assert metrics != metric.compute_metrics(metric.results)
"""


@pytest.mark.slow
def test_two_processes_find_what_one_does(devkit, tmp_path):
    ranks = [subprocess.Popen([sys.executable, '-c', RANK, devkit.__file__, str(tmp_path), rank])
             for rank in '01']
    assert [rank.wait(120) for rank in ranks] == [0, 0]
