"""Kept detections: what comes back, what is refused, and `refaug-det eval`."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle

import numpy as np
import pytest

from detection import detections
from detection.evaluate import metrics_of
from refaug_det.cli import main
from refaug_det.errors import UserError


def some(seed=0, images=6, coco=False):
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(images):
        corner = rng.integers(0, 90, (n % 3, 2))
        boxes = np.hstack([corner, corner + rng.integers(9, 90, corner.shape)])
        found = np.repeat(boxes, 2, axis=0) + rng.normal(0, 5, (2 * len(boxes), 4))
        rows.append(dict(image_ids=f'{n:06d}', image_sizes=(200, 180), boxes=found,
                         scores=rng.random(len(found)), labels=rng.integers(0, 2, len(found)),
                         gt_boxes=boxes, gt_labels=rng.integers(0, 2, len(boxes)),
                         gt_difficult=rng.random(len(boxes)) < 0.2))
        if coco:
            rows[-1].update(gt_xywh=boxes + 0.1, gt_areas=boxes.sum(1), gt_crowd=boxes[:, 0] > 40)
    return detections.of_images(['cat', 'räv'], rows)


def fields(d):
    return {field.name: value for field in dataclasses.fields(d)
            if (value := getattr(d, field.name)) is not None}


@pytest.mark.parametrize('images', [0, 1, 6])
@pytest.mark.parametrize('coco', [False, True])
def test_what_is_saved_comes_back_bitwise(tmp_path, images, coco):
    kept = some(images=images, coco=coco)
    detections.save(kept, tmp_path / detections.FILE_NAME)
    with np.load(tmp_path / detections.FILE_NAME) as stored:
        assert stored['version'] == (2 if coco and images else 1)  # old programs read the first
    back = detections.load(tmp_path)
    for name, array in fields(kept).items():
        assert getattr(back, name).dtype == array.dtype
        assert np.array_equal(getattr(back, name), array)
    assert [path.name for path in tmp_path.iterdir()] == [detections.FILE_NAME]


def test_a_file_that_cannot_be_written_is_the_users_error(tmp_path):
    (tmp_path / 'run').write_text('a file where the directory should be')
    with pytest.raises(UserError, match='cannot write'):
        detections.save(some(), tmp_path / 'run' / detections.FILE_NAME)


@pytest.mark.parametrize(('change', 'said'), [
    (dict(version=np.int64(3)), 'version 3; this version reads 1 and 2'),
    (dict(version=None), 'version None'),
    (dict(version=np.array(['x', 'y'])), 'version'),
    (dict(scores=None), "missing or unknown ['scores']"),
    (dict(more=np.zeros(3)), "missing or unknown ['more']"),
    (dict(gt_areas=np.zeros(6)), "missing or unknown ['gt_crowd', 'gt_xywh']"),
    (dict(gt_areas=np.zeros(9), gt_crowd=np.zeros(6, bool), gt_xywh=np.zeros((6, 4))),
     '9 gt_areas for 6 objects'),
    (dict(gt_areas=np.full(6, np.inf), gt_crowd=np.zeros(6, bool), gt_xywh=np.zeros((6, 4))),
     'gt_areas are not all finite'),
    (dict(scores=np.zeros(3, np.float32)), '3 scores for'),
    (dict(boxes=np.zeros((12, 5), np.float32)), 'boxes is float32 (12, 5)'),
    (dict(boxes=np.zeros((12, 4))), 'boxes is float64'),
    (dict(labels=np.full(12, 2, np.int16)), 'labels outside [0, 2)'),
    (dict(images=np.full(12, -1, np.int32)), 'images outside [0, 6)'),
    (dict(boxes=np.full((12, 4), np.nan, np.float32)), 'boxes are not all finite'),
    (dict(image_ids=np.array(['0'] * 6)), 'image_ids are not distinct'),
    (dict(classes=np.array([1, 2])), 'classes is int64'),
    (dict(classes=np.array([{}, []], object)), 'not a file of detections'),
])
def test_malformed_files_are_refused(tmp_path, change, said):
    arrays = {'version': np.int64(1), **fields(some())}
    path = tmp_path / detections.FILE_NAME
    np.savez(path, **arrays)
    detections.load(path)
    arrays = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez(path, **arrays)
    with pytest.raises(UserError) as caught:
        detections.load(path)
    assert said in str(caught.value)


def cut(data):
    return data[:len(data) // 2]


def npy(data):
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize('spoil', [
    cut, npy, lambda data: b'', lambda data: b'<html>', lambda data: pickle.dumps([1]),
    lambda data: data[:400] + bytes(40) + data[440:]])
def test_what_is_no_such_file_is_refused(tmp_path, spoil):
    path = tmp_path / detections.FILE_NAME
    detections.save(some(images=40), path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=r'not a file of detections|version None'):
        detections.load(path)


def test_eval_prints_what_the_detections_are_worth(tmp_path, capsys):
    for n, name in enumerate(('b', 'a')):
        detections.save(some(n, 30), tmp_path / name / detections.FILE_NAME)
    assert main(['eval', str(tmp_path), str(tmp_path / 'a'), '--json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row['run'] for row in rows] == [str(tmp_path / 'a'), str(tmp_path / 'b')]
    assert [row['metrics'] for row in rows] == [metrics_of(some(1, 30)), metrics_of(some(0, 30))]
    assert rows[0]['metrics'] != rows[1]['metrics']
    assert 'AP/räv' in rows[0]['metrics']
    assert main(['eval', str(tmp_path / 'a')]) == 0
    table = capsys.readouterr().out
    assert 'AP50 (11-point)' in table
    assert f'{rows[0]["metrics"]["AP"]:.2f}' in table
    assert 'AP/' not in table


@pytest.mark.parametrize(('path', 'said'), [
    ('gone', 'no detections.npz'), ('.', 'no detections.npz'), ('text', 'not a file of')])
def test_eval_ends_with_three_lines_on_bad_paths(tmp_path, capsys, path, said):
    (tmp_path / 'text').write_text('no archive')
    (tmp_path / 'empty').mkdir()
    assert main(['eval', str(tmp_path / path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 3
