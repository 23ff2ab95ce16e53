"""COCO by name: prepared from its archives, and checked as mmdet reads it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

import detection.train  # noqa: F401  (registration; before mmdet)
from detection import shared_images
from detection.check import RULES
from detection.coco_annotations import annotation_faults
from detection.coco_source import COCOSource, folder
from refaug_det.data import sources
from refaug_det.errors import UserError


@pytest.fixture
def coco(tmp_path):
    """Two splits of two images, one object and one crowd each."""
    root = tmp_path / 'coco'
    for number, split in enumerate(('train2017', 'val2017')):
        (root / split).mkdir(parents=True)
        names = [f'{number}{n}.jpg' for n in range(2)]
        for n, name in enumerate(names):
            Image.new('RGB', (40, 30), (90 * n, 90 * number, 0)).save(root / split / name)
        value = dict(
            images=[dict(id=n, file_name=name, width=40, height=30)
                    for n, name in enumerate(names)],
            annotations=[dict(id=n, image_id=n, category_id=7, bbox=[1.5, 2, 30.25, 20],
                              area=99.5, iscrowd=n, segmentation=[]) for n in range(2)],
            categories=[dict(id=7, name='cat')])
        (root / 'annotations').mkdir(exist_ok=True)
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(value))
    return root


SMALL = COCOSource({'train2017': 2, 'val2017': 2}, 1)
FILE = 'annotations/instances_train2017.json'


def first(**changes):
    return lambda value: value['annotations'][0].update(changes)


COCO_FAULTS = {  # how to spoil the annotations -> the kind of fault, whether mmdet takes the box
    'a box without area': (first(bbox=[3, 3, 0, 9]), 'degenerate box'),
    'less than a pixel': (first(bbox=[3, 3, 0.5, 9]), 'degenerate box'),
    'an inverted box': (first(bbox=[9, 9, -5, 9]), 'degenerate box'),
    'a box outside': (first(bbox=[50, 3, 9, 9]), 'box outside the image'),
    'a box that sticks out': (first(bbox=[30, 3, 20, 9]), 'box sticks out'),
    'unknown category': (first(category_id=8), 'left-out object'),
    'unknown image': (first(image_id=8), 'left-out object'),
    'three numbers': (first(bbox=[1, 2, 3]), 'bad object'),
    'nan': (first(bbox=[1, 2, 3, float('nan')]), 'bad object'),
    'no area': (first(area=None), 'bad object'),
    'iscrowd of 2': (first(iscrowd=2), 'bad object'),
    'an id twice': (first(id=1), 'bad annotation'),
    'an image twice': (lambda v: v['images'].append(v['images'][0]), 'bad annotation'),
    'no categories': (lambda v: v.pop('categories'), 'bad annotation'),
    'a path that leads out': (lambda v: v['images'][0].update(file_name='../x'),
                              'bad annotation'),
    'no width': (lambda v: v['images'][0].pop('width'), 'bad annotation'),
    'another size': (lambda v: v['images'][0].update(width=80), 'wrong size'),
    'a missing image': (lambda v: v['images'][0].update(file_name='x.jpg'), 'no image'),
}


def test_a_clean_coco(coco):
    report = SMALL.check(coco)
    assert (report.images, report.classes, report.faults) == (
        {'train2017': 2, 'val2017': 2}, 1, [])
    assert sources.recognised(coco).about == folder.about
    assert folder.check(coco) == dataclasses.replace(report, data_set='coco-folder')
    found = COCOSource({'train2017': 3}, 2).check(coco).faults
    assert [each.what for each in found] == ['train2017 has 2 images, not 3',
                                             'train2017 has 1 categories, not 2']


@pytest.mark.parametrize('name', COCO_FAULTS)
def test_every_fault_of_coco_is_named(coco, name):
    spoil, kind = COCO_FAULTS[name]
    value = json.loads((coco / FILE).read_text())
    spoil(value)
    (coco / FILE).write_text(json.dumps(value))
    found = SMALL.check(coco, quick=True).faults
    assert [each.kind for each in found if each.kind != 'wrong number'] == [kind]
    assert found[0].fix
    assert (found[0].level, found[0].fix) == RULES[kind]
    assert Path(found[0].where).is_relative_to(coco)


@pytest.mark.parametrize('name', ['a box without area', 'less than a pixel', 'an inverted box',
                                  'a box outside', 'unknown category', 'unknown image',
                                  'a box that sticks out'])
def test_mmdet_leaves_out_what_the_check_says(coco, name):
    spoil, kind = COCO_FAULTS[name]
    value = json.loads((coco / FILE).read_text())
    spoil(value)
    (coco / FILE).write_text(json.dumps(value))
    made = CocoDataset(data_root=str(coco), ann_file=FILE, data_prefix=dict(img='train2017/'),
                       metainfo=dict(classes=('cat',)), pipeline=[], test_mode=True,
                       serialize_data=False)
    boxes = sum(len(made.get_data_info(n)['instances']) for n in range(len(made)))
    assert boxes == 2 - (RULES[kind][0] == 'dropped')


@pytest.mark.parametrize('text', ['', '[]', '{"images": 3}', '[' * 100_000])
def test_a_file_that_is_no_coco(coco, text):
    (coco / FILE).write_text(text)
    assert [each.kind for each in SMALL.check(coco).faults] == ['bad annotation']
    assert annotation_faults(None, 'x')[0].level == 'fatal'


def test_test_images_that_are_trained_on_are_noted_whatever_their_names(coco):
    trained, tested = coco / 'train2017' / '01.jpg', coco / 'val2017' / '10.jpg'
    shutil.copy(trained, tested)
    found = SMALL.check(coco, quick=True).faults
    assert [(each.kind, each.level, each.where) for each in found] == [
        ('in two lists', 'note', str(coco / FILE.replace('train', 'val')))]
    assert "that are in train2017 too, under this or another name: 1, such as '10.jpg'" in (
        found[0].what)
    tested.write_bytes(tested.read_bytes()[:-1] + b'.')  # of equal size, and another file
    assert [each.kind for each in SMALL.check(coco, quick=True).faults] == ['breaks off']
    for path in (trained, tested):  # what cannot be read is told as that alone
        path.unlink()
    assert [each.kind for each in SMALL.check(coco, quick=True).faults] == ['no image'] * 2


def test_files_are_compared_by_their_bytes_and_read_only_where_their_sizes_are_equal(
        tmp_path, monkeypatch):
    long = b'x' * 9000
    trained = {'0': b'one', '1': b'two', '2': long + b'1', '3': long, '4': b'of its own size'}
    tested = {'0': b'two', '1': b'six', '2': long + b'2', '3': b'other size', '5': long}
    folders = []
    for name, contents in (('trained', trained), ('tested', tested)):
        (tmp_path / name).mkdir()
        folders.append([tmp_path / name / key for key in contents])
        for key, data in contents.items():
            (tmp_path / name / key).write_bytes(data)
    opened, whole = [], []
    before, hashed = Path.open, shared_images.files.sha256_of
    monkeypatch.setattr(Path, 'open', lambda self, *a: opened.append(self) or before(self, *a))
    monkeypatch.setattr(shared_images.files, 'sha256_of',
                        lambda path: whole.append(path) or hashed(path))
    ours, theirs = folders[1], folders[0]
    assert shared_images.also_in(ours, theirs) == [ours[0], ours[4]]
    assert sorted(opened) == sorted([*theirs[:4], *ours[:3], ours[4]])  # no size of its own
    assert sorted(whole) == sorted([*theirs[1:4], ours[0], ours[2], ours[4]])
    assert shared_images.also_in(ours[1:4], theirs) == []
    del opened[:]
    assert shared_images.also_in(theirs[:2], theirs) == theirs[:2]
    assert not opened  # one path is one file
    assert shared_images.also_in([], theirs) == []


def test_a_folder_of_your_own_is_told_from_coco_itself(coco, tmp_path):
    assert SMALL.lies_in(coco)
    assert folder.recognises(coco)
    assert 'already' in folder.prepare(coco, [])
    with pytest.raises(UserError, match='not made from archives') as error:
        folder.prepare(tmp_path, [])
    assert 'instances_{train,val}2017.json' in error.value.fix
    (coco / FILE).unlink()
    assert not SMALL.lies_in(coco)
    assert [each.what for each in folder.check(coco).faults] == ['COCO is not here']


def test_coco_is_prepared_from_its_archives(coco, tmp_path):
    names = {'train2017': 'train2017', 'val2017': 'val2017',
             'annotations': 'annotations_trainval2017'}
    archives = [Path(shutil.make_archive(str(tmp_path / name), 'zip', coco, folder))
                for folder, name in names.items()]
    root = tmp_path / 'data'
    with pytest.raises(UserError, match='val2017 is not here') as error:
        SMALL.prepare(root, archives[:1])
    assert 'http://images.cocodataset.org' in error.value.fix
    said = SMALL.prepare(root, archives)
    assert said.startswith('train2017 is already there; extracted 2 files')
    assert SMALL.check(root).faults == []
    assert sorted(path.name for path in root.iterdir()) == ['annotations', 'train2017', 'val2017']
