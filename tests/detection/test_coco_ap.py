"""COCO's metrics against pycocotools itself."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection import coco_ap as module
from detection.coco_ap import coco_ap
from detection.detections import Detections, of_images

LIBRARIES = ('faster_coco_eval', 'pycocotools')
STATS = ('AP', 'AP50 (COCO)', 'AP75', 'AP (small)', 'AP (medium)', 'AP (large)', None, None,
         'AR@100')


def drawn(seed, images=25, most=12, difficult=0.0, largest=200):
    """Detections around and away from objects, with tied scores."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(images):
        objects, found = rng.integers(0, 6), rng.integers(0, most)
        corner = rng.integers(0, 200, (objects, 2))
        boxes = np.hstack([corner, corner + rng.integers(5, largest, (objects, 2))])
        labels = rng.integers(0, 3, objects)
        near = rng.integers(0, max(objects, 1), found)
        det = (boxes[near] if objects else np.full((found, 4), [5, 5, 90, 90])) + rng.normal(
            0, 6, (found, 4))
        det[:, 2:] = np.maximum(det[:, 2:], det[:, :2] + 1)
        rows.append(dict(
            image_ids=f'{n}', image_sizes=(500, 400), boxes=det,
            scores=rng.integers(1, 30, found) / 30,
            labels=labels[near] if objects else rng.integers(0, 3, found), gt_boxes=boxes,
            gt_labels=labels, gt_difficult=rng.random(objects) < difficult))
    return of_images(['a', 'b', 'c'], rows)


def plain_pycocotools(d: Detections, **flags):
    """Stats of pycocotools as its manual has it, from a results array; shares."""
    gt, dt = (np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]).astype(float) for b in (
        d.gt_boxes.astype(float), d.boxes.astype(float)))
    objects = COCO()
    objects.dataset = dict(
        images=[dict(id=n) for n in range(len(d.image_ids))],
        categories=[dict(id=n, name=name) for n, name in enumerate(d.classes)],
        annotations=[dict(id=n + 1, image_id=int(d.gt_images[n]), area=box[2] * box[3],
                          category_id=int(d.gt_labels[n]), bbox=box.tolist(),
                          **{'iscrowd': 0, **{k: int(d.gt_difficult[n]) for k in flags}})
                     for n, box in enumerate(gt)])
    with contextlib.redirect_stdout(io.StringIO()):
        objects.createIndex()
        results = objects.loadRes(np.column_stack([d.images, dt, d.scores, d.labels]))
        evaluation = COCOeval(objects, results, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize('seed', range(4))
def test_equal_to_pycocotools(library, seed):
    d = drawn(seed, largest=200 if seed else 60)
    stats, ours = plain_pycocotools(d), coco_ap(d, library)
    for value, name in zip(stats, STATS, strict=False):
        if name:
            assert (ours[name] is None) == (value == -1)
            assert ours[name] is None or abs(ours[name] / 100 - value) <= 1e-12
    assert len({ours[name] for name in ours}) == len(ours), 'the case tells no metrics apart'
    moved = dataclasses.replace(d, boxes=d.boxes + np.float32(0.5))
    assert coco_ap(moved, library)['AP'] != ours['AP']


def test_more_than_a_hundred_detections_of_an_image():
    d = drawn(9, images=3, most=600)
    assert np.bincount(d.images * 3 + d.labels).max() > 100
    stats = plain_pycocotools(d)
    for library in LIBRARIES:
        ours = coco_ap(d, library)
        assert abs(ours['AP'] / 100 - stats[0]) <= 1e-12
        assert abs(ours['AR@100'] / 100 - stats[8]) <= 1e-12


@pytest.mark.parametrize('seed', range(3))
def test_the_libraries_agree_on_difficult_objects(seed):
    d = drawn(seed, difficult=0.4)
    fast, slow = (coco_ap(d, library) for library in LIBRARIES)
    assert fast.keys() == slow.keys()
    for name, value in slow.items():
        assert fast[name] == value or abs(fast[name] - value) <= 1e-12
    none_difficult = dataclasses.replace(d, gt_difficult=np.zeros_like(d.gt_difficult))
    assert coco_ap(none_difficult)['AP'] != fast['AP']


def scene(*found, difficult=(False, True)):
    """An object of 100 x 100 pixels and, far from it, a difficult one."""
    return of_images(['a'], [dict(
        image_ids='0', image_sizes=(900, 900),
        boxes=np.array([box for box, _ in found]).reshape(-1, 4),
        scores=np.array([score for _, score in found]), labels=np.zeros(len(found)),
        gt_boxes=np.array([[0, 0, 100, 100], [500, 500, 600, 600]]), gt_labels=np.zeros(2),
        gt_difficult=np.array(difficult))])


@pytest.mark.parametrize('library', LIBRARIES)
def test_a_difficult_object_counts_neither_way(library):
    first, hard = ([0, 0, 100, 100], 0.5), ([500, 500, 600, 600], 0.9)
    inside = ([500, 500, 530, 530], 0.8)  # IoU 0.09
    assert coco_ap(scene(first), library)['AP'] == pytest.approx(100)
    assert coco_ap(scene(first, hard), library)['AP'] == pytest.approx(100)
    assert coco_ap(scene(first, hard, inside), library)['AP'] == pytest.approx(50)
    assert coco_ap(scene(first, hard, hard), library)['AP'] == pytest.approx(50)


def test_what_pycocotools_does_with_the_two_flags():
    first, hard = ([0, 0, 100, 100], 0.5), ([500, 500, 600, 600], 0.9)
    inside = ([500, 500, 530, 530], 0.8)
    # `ignore` in a file is overwritten: the difficult object is required
    assert plain_pycocotools(scene(first), ignore=1)[0] == pytest.approx(51 / 101)
    # `iscrowd` forgives every small box inside it
    assert plain_pycocotools(scene(first, hard, inside), iscrowd=1)[0] == pytest.approx(1)


@pytest.mark.parametrize('library', LIBRARIES)
def test_nothing_to_find_is_missing_and_nothing_found_is_zero(library):
    assert coco_ap(scene(), library)['AP'] == 0
    small = coco_ap(scene(([0, 0, 100, 100], 0.5)), library)
    assert small['AP (small)'] is None
    assert small['AP (large)'] == pytest.approx(100)
    nothing = coco_ap(scene(([0, 0, 9, 9], 0.5), difficult=(True, True)), library)
    assert set(nothing.values()) == {None}
    assert 'AP/a' not in nothing


def test_without_faster_coco_eval_pycocotools_serves(monkeypatch):
    d = drawn(1)
    both = []
    for absent in (False, True):
        if absent:
            monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
        both.append(module._installed())
        assert coco_ap(d)['AP'] == pytest.approx(coco_ap(d, 'pycocotools')['AP'], abs=1e-12)
    assert both == list(LIBRARIES)
