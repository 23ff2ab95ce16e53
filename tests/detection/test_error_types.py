"""Types of error and gains, against the same fixes made in the data and scored anew."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detection import detections, error_types, voc_ap
from detection.error_types import TYPES
from detection.evaluate import metrics_of

CLASSES = 3
CORNERS = st.sampled_from([(0, 0), (0, 5), (5, 0), (3, 3), (9, 9)])
SIDES = st.sampled_from([(4, 9), (9, 9), (9, 4), (14, 9), (12, 12), (29, 29)])
BOX = st.builds(lambda at, side: (*at, at[0] + side[0], at[1] + side[1]), CORNERS, SIDES)
OBJECT = st.tuples(BOX, st.integers(0, 2), st.booleans())
DETECTION = st.tuples(BOX, st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75]))


def image(objects, found):
    """Of (box, label, difficult) and (box, label, score), as `devkit` has images."""
    return (np.array([box for box, *_ in objects], float).reshape(-1, 4),
            np.array([label for _, label, _ in objects], int),
            np.array([hard for *_, hard in objects], bool),
            np.array([box for box, *_ in found], float).reshape(-1, 4),
            np.array([score for *_, score in found], float),
            np.array([label for _, label, _ in found], int))


def kept(images):
    names = ('gt_boxes', 'gt_labels', 'gt_difficult', 'boxes', 'scores', 'labels')
    return detections.of_images('abc', [
        dict(zip(names, one, strict=True), image_ids=f'{n}', image_sizes=(60, 60))
        for n, one in enumerate(images)])


@st.composite
def tied_images(draw):
    """Few boxes and scores, so that most of them are tied; no two objects are the same."""
    images = [image(draw(st.lists(OBJECT, max_size=4)), draw(st.lists(DETECTION, max_size=7)))
              for _ in range(draw(st.integers(1, 3)))]
    for boxes, labels, *_ in images:
        assume(len({(*box, label) for box, label in zip(boxes, labels, strict=True)}) == len(boxes))
    return images


def iou(a, b):
    width, height = (max(min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + 1, 0) for k in (0, 1))
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def read(one, threshold):
    """One image, detection by detection: type and target of the false, found, missed."""
    boxes, labels, hard, det, scores, det_labels = one
    kinds, targets, found = {}, {}, set()

    def best(k, among):
        return max(((iou(det[k], boxes[j]), -j) for j in np.flatnonzero(among)), default=(0, 1))

    for k in sorted(range(len(det)), key=lambda k: -scores[k]):
        same = labels == det_labels[k]
        value, j = best(k, same)
        if value >= threshold and (hard[-j] or -j not in found):
            found |= set() if hard[-j] else {-j}
            continue
        own, mine = best(k, same & ~hard)
        other, its = best(k, ~same & ~hard)
        if 0.1 <= own < threshold:
            kinds[k], targets[k] = 'localisation', -mine
        elif other >= threshold:
            kinds[k], targets[k] = 'classification', -its
        elif own >= threshold:
            kinds[k] = 'duplicate'
        else:
            kinds[k] = 'background' if other <= 0.1 else 'both'
    missed = [j for j in range(len(boxes))
              if not hard[j] and j not in found and j not in targets.values()]
    return kinds, targets, found, missed


def mended(one, threshold, fixed):
    """The image with the errors of some types set right in the data themselves."""
    boxes, labels, hard, det, scores, det_labels = (part.copy() for part in one)
    kinds, targets, found, missed = read(one, threshold)
    wrong, taken = {k for k in kinds if kinds[k] in fixed}, set(found)
    for k in sorted(wrong, key=lambda k: (-scores[k], k)):
        if k in targets and targets[k] not in taken:
            taken.add(targets[k])
            det[k], det_labels[k] = boxes[targets[k]], labels[targets[k]]
            wrong.discard(k)
    keep = [k for k in range(len(det)) if k not in wrong]
    here = [j for j in range(len(boxes)) if not ('missed' in fixed and j in missed)]
    return boxes[here], labels[here], hard[here], det[keep], scores[keep], det_labels[keep]


def scored(devkit, images, after, mode, threshold):
    """Mean AP over the classes that have objects in `images`, with the data of `after`."""
    aps = []
    for c in range(CLASSES):
        if any(((one[1] == c) & ~one[2]).any() for one in images):
            ap = devkit.devkit_ap(after, c, mode, threshold)
            if ap is None:
                ap = not any(
                    one[5][k] == c for one in after for k in read(one, threshold)[0])
            aps.append(100 * ap)
    return np.mean(aps) if aps else None


@given(tied_images(), st.sampled_from([0.5, 0.75]))
@settings(max_examples=150, deadline=None)
def test_gains_are_those_of_the_data_mended(devkit, images, threshold):
    near = error_types.overlaps(kept(images))
    errors = error_types.classify(near, threshold)
    for mode, name in zip(devkit.MODES, error_types.MODES, strict=True):
        found = error_types.decompose(near, threshold, name)
        for kinds in [*((kind,) for kind in range(6)), range(6), (0, 1), ()]:
            fixed = [TYPES[kind] for kind in kinds]
            after = [mended(one, threshold, fixed) for one in images]
            expected = scored(devkit, images, after, mode, threshold)
            value = error_types.average_precision(
                near, error_types.fix(near, errors, kinds), threshold, name)
            assert (value is None) == (expected is None)
            assert value is None or value == pytest.approx(expected, abs=1e-9)
            if len(fixed) == 1 and value is not None:
                assert found['gain'][fixed[0]] == value - found['ap'] > -1e-9
            if len(fixed) == 6:
                assert value in (None, pytest.approx(100))


@given(tied_images(), st.sampled_from([0.5, 0.75]))
@settings(max_examples=100, deadline=None)
def test_types_partition_the_false_detections(devkit, images, threshold):
    near = error_types.overlaps(kept(images))
    errors = error_types.classify(near, threshold)
    outcome = voc_ap.outcomes(voc_ap.match(*devkit.arrays(images), CLASSES), threshold)
    assert ((errors.kind == error_types.NO_ERROR) == (outcome != voc_ap.FALSE)).all()
    assert (errors.kind < error_types.MISSED).all()
    count = error_types.decompose(near, threshold)['count']
    assert sum(count[name] for name in TYPES[:5]) == (outcome == voc_ap.FALSE).sum()
    expected = [read(one, threshold) for one in images]
    for name in TYPES[:5]:
        assert count[name] == sum(list(one[0].values()).count(name) for one in expected)
    assert count['missed'] == sum(len(one[3]) for one in expected)


def test_before_a_fix_it_is_the_metric_to_the_last_digit(devkit):
    d = kept(devkit.random_images(np.random.default_rng(0), count=60))
    near, metrics = error_types.overlaps(d), metrics_of(d)
    ap = {mode: error_types.decompose(near, 0.5, mode)['ap'] for mode in error_types.MODES}
    assert ap == {mode: metrics[f'AP50 ({mode})'] for mode in error_types.MODES}
    assert ap['11-point'] != ap['area']
    assert error_types.decompose(near, 0.75)['ap'] != ap['11-point']
    hard = error_types.overlaps(dataclasses.replace(d, gt_difficult=np.zeros_like(d.gt_difficult)))
    assert error_types.decompose(hard, 0.5)['ap'] != ap['11-point']
    gain = error_types.decompose(near, 0.5)['gain']
    assert all(gain.values())  # all types occur, and each fix does something
    assert len(set(gain.values())) == len(TYPES)


WHOLE, HALF, TOP, AWAY = (0, 0, 9, 9), (0, 0, 4, 9), (0, 0, 3, 9), (40, 40, 49, 49)
SLICE = (0, 0, 0, 9)  # a tenth of WHOLE
OTHER = (40, 0, 49, 9)


@pytest.mark.parametrize(('objects', 'found', 'kind', 'before', 'gain'), [
    # one object, found below the error: AP 1/2 by area becomes 1 once the error is gone
    ([(WHOLE, 0, False)], [(WHOLE, 0, 0.9)], None, 100, None),
    ([(WHOLE, 0, False), (OTHER, 1, False)], [(WHOLE, 1, 0.9), (OTHER, 1, 0.8)],
     'classification', 25, 75),
    ([(WHOLE, 0, False), (OTHER, 0, False)], [(TOP, 0, 0.9), (OTHER, 0, 0.8)],
     'localisation', 25, 75),
    ([(WHOLE, 0, False)], [(SLICE, 0, 0.9), (WHOLE, 0, 0.8)], 'localisation', 50, 50),
    ([(WHOLE, 0, False), (OTHER, 1, False)], [(TOP, 1, 0.9), (WHOLE, 0, 0.8), (OTHER, 1, 0.7)],
     'both', 75, 25),
    ([(WHOLE, 0, False), (OTHER, 0, False)],
     [(WHOLE, 0, 0.9), (HALF, 0, 0.8), (OTHER, 0, 0.7)], 'duplicate', 250 / 3, 50 / 3),
    ([(WHOLE, 0, False)], [(AWAY, 0, 0.9), (WHOLE, 0, 0.8)], 'background', 50, 50),
    ([(WHOLE, 0, False), (OTHER, 1, False)], [(SLICE, 1, 0.9), (WHOLE, 0, 0.8), (OTHER, 1, 0.7)],
     'background', 75, 25),
    ([(WHOLE, 0, False), (OTHER, 0, False)], [(WHOLE, 0, 0.9)], 'missed', 50, 50),
    ([(WHOLE, 0, False), (OTHER, 0, True)], [(WHOLE, 0, 0.9)], None, 100, None),
    # an error at a difficult object: nothing is there
    ([(WHOLE, 0, True), (OTHER, 0, False)], [(TOP, 0, 0.9), (OTHER, 0, 0.8)],
     'background', 50, 50)])
def test_each_type_by_hand(objects, found, kind, before, gain):
    got = error_types.decompose(error_types.overlaps(kept([image(objects, found)])), 0.5, 'area')
    assert got['ap'] == pytest.approx(before)
    assert {name for name, number in got['count'].items() if number} == ({kind} - {None})
    for name, value in got['gain'].items():
        assert value == pytest.approx(gain if name == kind else 0)


def test_the_threshold_moves_a_type():
    near = error_types.overlaps(kept([image([(WHOLE, 0, False)], [(HALF, 0, 0.9)])]))
    assert error_types.decompose(near, 0.5)['ap'] == 100  # half is enough
    assert error_types.decompose(near, 0.75)['count']['localisation'] == 1
    for bad in (0.1, 1.1, float('nan')):
        with pytest.raises(ValueError, match='IoU threshold'):
            error_types.classify(near, bad)


def test_a_fix_lets_the_highest_score_find_an_object_once():
    objects = [(WHOLE, 0, False), (OTHER, 0, False)]
    found = [(TOP, 0, 0.9), (SLICE, 0, 0.8), (OTHER, 0, 0.7), (WHOLE, 1, 0.95)]
    near = error_types.overlaps(kept([image(objects, found)]))
    errors = error_types.classify(near, 0.5)
    assert [TYPES[kind] for kind in errors.kind if kind >= 0] == [
        'localisation', 'localisation', 'classification']
    gain = error_types.decompose(near, 0.5, 'area')['gain']
    # 0.9 and 0.7 are hits, 0.8 is gone; the classification error, if fixed, is the first hit
    assert gain['localisation'] == pytest.approx(100 - 100 / 6)
    assert gain['classification'] == pytest.approx((1 + 2 / 4) * 50 - 100 / 6)
    assert gain['missed'] == 0  # what is aimed at is not missed


def test_a_class_that_is_missed_altogether():
    def gain(*found):
        near = error_types.overlaps(kept([image([(WHOLE, 0, False), (OTHER, 1, False)], [
            (WHOLE, 0, 0.9), *found])]))
        return error_types.decompose(near, 0.5)['gain']['missed']

    assert gain() == 50
    assert gain((AWAY, 2, 0.5)) == 50
    assert gain((AWAY, 1, 0.5)) == 0  # something false is left in it
    nothing = error_types.overlaps(kept([image([(WHOLE, 0, True)], [(AWAY, 0, 0.9)])]))
    got = error_types.decompose(nothing, 0.5)
    assert got['ap'] is None
    assert set(got['gain'].values()) == {None}
