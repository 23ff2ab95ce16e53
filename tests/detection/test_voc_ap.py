"""AP against an independent reading of the VOC development kit's algorithm, and mmdet's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import detection.train  # noqa: F401  (mmdet's operators)
from detection import voc_ap

THRESHOLDS = (0.3, 0.5, 0.6, 0.75, 1.0)

CORNERS = st.sampled_from([(0, 0), (0, 5), (5, 0), (3, 3)])
SIDES = st.sampled_from([(4, 9), (9, 9), (9, 4), (14, 9), (12, 12)])  # half of another: IoU 1/2
BOX = st.builds(lambda at, side: (*at, at[0] + side[0], at[1] + side[1]), CORNERS, SIDES)
OBJECT = st.tuples(BOX, st.integers(0, 2), st.booleans())
DETECTION = st.tuples(BOX, st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75]))


@st.composite
def tied_images(draw):
    """Few boxes and scores, so that most of them are tied; class 2 has difficult objects only."""
    images = []
    for _ in range(draw(st.integers(1, 4))):
        objects, found = draw(st.lists(OBJECT, max_size=5)), draw(st.lists(DETECTION, max_size=8))
        labels = np.array([label for _, label, _ in objects], int)
        images.append((np.array([box for box, *_ in objects], float).reshape(-1, 4), labels,
                       np.array([hard for *_, hard in objects], bool) | (labels == 2),
                       np.array([box for box, *_ in found], float).reshape(-1, 4),
                       np.array([s for *_, s in found], float),
                       np.array([label for _, label, _ in found], int)))
    return images


def check_against_the_development_kit(devkit, images, classes=3):
    both = voc_ap.average_precision(voc_ap.match(*devkit.arrays(images), classes), THRESHOLDS)
    for mode, aps in zip(devkit.MODES, both, strict=True):
        for t, threshold in enumerate(THRESHOLDS):
            for c in range(classes):
                expected = devkit.devkit_ap(images, c, mode, threshold)
                assert np.isnan(aps[t, c]) == (expected is None)
                assert expected is None or aps[t, c] == pytest.approx(expected, abs=1e-12)


@given(tied_images())
@settings(max_examples=300, deadline=None)
def test_ties_duplicates_and_empty_images_as_in_the_development_kit(devkit, images):
    check_against_the_development_kit(devkit, images)


@pytest.mark.parametrize('seed', range(10))
def test_random_images_as_in_the_development_kit(devkit, seed):
    images = devkit.random_images(np.random.default_rng(seed), count=30)
    check_against_the_development_kit(devkit, images)


@pytest.mark.parametrize('seed', range(3))
def test_equal_to_mmdet_without_ties(devkit, seed):
    from mmdet.evaluation import eval_map
    images = devkit.random_images(np.random.default_rng(seed), count=40)
    given_arrays = list(devkit.arrays(images))
    rng = np.random.default_rng(seed)
    given_arrays[1] = rng.permutation(len(given_arrays[1])) / len(given_arrays[1])  # no ties
    rows = np.column_stack(given_arrays[:2])
    found = [[rows[(given_arrays[3] == n) & (given_arrays[2] == c)] for c in range(3)]
             for n in range(len(images))]
    objects = [dict(bboxes=b[~h], labels=c[~h], bboxes_ignore=b[h], labels_ignore=c[h])
               for b, c, h, *_ in images]
    both = voc_ap.average_precision(voc_ap.match(*given_arrays, 3), (0.5, 0.75))
    for mode, aps in zip(devkit.MODES, both, strict=True):
        for threshold, ours in zip((0.5, 0.75), aps, strict=True):
            _, theirs = eval_map(found, objects, iou_thr=threshold, dataset=['a', 'b', 'c'],
                                 logger='silent', eval_mode=mode, use_legacy_coordinate=True)
            assert ours == pytest.approx([r['ap'] for r in theirs], abs=1e-6)
    assert not np.allclose(both[0], both[1])
    assert not np.allclose(both[0][0], both[0][1])


def test_the_rules_of_ties():
    box = np.array([[0.0, 0, 9, 9]])
    away = box + 50

    def outcome(boxes, scores, images, gt_boxes, difficult):
        matching = voc_ap.match(boxes, np.array(scores), np.zeros(len(boxes), int),
                                np.array(images), gt_boxes, np.zeros(len(gt_boxes), int),
                                np.array(difficult), np.zeros(len(gt_boxes), int), 1)
        return voc_ap.outcomes(matching, 0.5).tolist(), matching.order.tolist()

    twice = np.vstack([box, box])
    assert outcome(twice, [0.5, 0.5], [0, 0], box, [False])[0] == [voc_ap.HIT, voc_ap.FALSE]
    assert outcome(twice, [0.5, 0.6], [0, 0], box, [False])[0] == [voc_ap.FALSE, voc_ap.HIT]
    # of equal objects the first: a second detection finds it taken, whatever the other is
    assert outcome(twice, [0.6, 0.5], [0, 0], twice, [False, True])[0] == [
        voc_ap.HIT, voc_ap.FALSE]
    assert outcome(twice, [0.6, 0.5], [0, 0], twice, [True, False])[0] == [voc_ap.IGNORED] * 2
    # equal scores: by image, then as given
    assert outcome(np.vstack([away, box, box]), [0.5] * 3, [1, 0, 0], box, [False])[1] == [1, 2, 0]


def test_half_is_enough_and_the_corner_pixel_counts():
    whole, half = np.array([[0.0, 0, 9, 9]]), np.array([[0.0, 0, 4, 9]])
    zero = np.zeros(1, int)
    matching = voc_ap.match(half, np.ones(1), zero, zero, whole, zero, np.zeros(1, bool), zero, 1)
    assert matching.iou.tolist() == [0.5]  # 4 / 9 if boxes were x2 - x1 wide
    assert voc_ap.outcomes(matching, 0.5).tolist() == [voc_ap.HIT]
    assert voc_ap.outcomes(matching, np.nextafter(0.5, 1)).tolist() == [voc_ap.FALSE]


@given(tied_images())
@settings(max_examples=100, deadline=None)
def test_outcomes_are_those_that_ap_counts(devkit, images):
    matching = voc_ap.match(*devkit.arrays(images), 3)
    _, area = voc_ap.average_precision(matching, [0.5])
    what = voc_ap.outcomes(matching, 0.5)
    for c in np.flatnonzero(matching.required):
        mine = what[matching.order[matching.starts[c]:matching.starts[c + 1]]]
        counted = mine[mine != voc_ap.IGNORED] == voc_ap.HIT
        precision = np.cumsum(counted) / np.arange(1, len(counted) + 1)
        best = [precision[k:].max() for k in np.flatnonzero(counted)]
        assert area[0, c] == pytest.approx(sum(best) / matching.required[c], abs=1e-12)


def test_bad_arrays_are_refused(devkit):
    good = devkit.arrays(devkit.random_images(np.random.default_rng(0)))
    voc_ap.match(*good, 3)
    with pytest.raises(ValueError, match='labels in'):
        voc_ap.match(*good, 2)
    with pytest.raises(ValueError, match='unequal length'):
        voc_ap.match(good[0], good[1][:-1], *good[2:], 3)
