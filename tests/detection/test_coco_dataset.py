"""COCO's layout as data of ours: labels by name, crowds, what is dropped, noted and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.datasets import CocoDataset
from PIL import Image
from pycocotools.coco import COCO

import detection.train
from detection import coco_annotations
from detection.coco_dataset import RefAugCocoDataset
from detection.coco_source import folder as source
from detection.datasets import RefAugLoadImage
from detection.metrics import RefAugCocoMetric
from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES

TRAIN = 'annotations/instances_train2017.json'
FILTER = dict(filter_empty_gt=True, min_size=32)


@pytest.fixture
def root(coco, tmp_path):
    shutil.copytree(coco, tmp_path / 'coco')
    return tmp_path / 'coco'


def dataset(root, classes=CLASSES, split='train2017', **more):
    return RefAugCocoDataset(
        data_root=str(root), ann_file=f'annotations/instances_{split}.json',
        data_prefix=dict(img=f'{split}/'), pipeline=[RefAugLoadImage()],
        metainfo=dict(classes=classes), serialize_data=False, **more)


def change(root, edit, file=TRAIN):
    value = json.loads((root / file).read_text())
    edit(value)
    (root / file).write_text(json.dumps(value))


def first(**changes):
    return lambda value: value['annotations'][2].update(changes)


@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], ('star', 'disc')])
def test_labels_follow_the_names_whatever_the_ids_and_the_order(root, classes):
    made = dataset(root, classes, drop_unknown=True)
    theirs = COCO(root / TRAIN)
    names = {row['id']: row['name'] for row in theirs.loadCats(theirs.getCatIds())}
    seen = 0
    for n, image_id in enumerate(sorted(theirs.getImgIds())):  # by id, which the file has not
        info = made.get_data_info(n)
        assert info['img_id'] == f'train2017/{theirs.imgs[image_id]["file_name"]}'
        expected = [(row['bbox'][:2], names[row['category_id']], row['iscrowd'])
                    for row in theirs.imgToAnns[image_id]
                    if row['bbox'][2] and names[row['category_id']] in classes]
        assert [(item['bbox'][:2], classes[item['bbox_label']], item['ignore_flag'])
                for item in info['instances']] == expected
        seen += len(expected)
    assert seen == made.summary()['objects']
    rest = sum(names[row['category_id']] not in classes for row in theirs.anns.values())
    assert made.dropped['left-out class'] == rest
    assert (rest > 0) == (len(classes) < 8)


def test_mmdets_own_labels_follow_the_order_of_the_file(root):
    """Why ours do not: in this file the categories come in reverse."""
    made = CocoDataset(data_root=str(root), ann_file=TRAIN, data_prefix=dict(img='train2017/'),
                       metainfo=dict(classes=CLASSES), pipeline=[])
    labels = {info['img_path']: [item['bbox_label'] for item in info['instances']]
              for info in map(made.get_data_info, range(9))}
    for info in map(dataset(root).get_data_info, range(9)):
        ours = [item['bbox_label'] for item in info['instances']]
        assert ours == [7 - label for label in labels[info['img_path']]]


def test_what_is_dropped_of_training_is_only_noted_of_a_test(root):
    train, val = dataset(root, filter_cfg=FILTER), dataset(root, split='val2017', test_mode=True)
    assert train.dropped == {'degenerate box': 1, 'image without objects': 1}
    assert (val.dropped, val.noted) == ({}, {'degenerate box': 1})
    found = train.summary()
    assert (found['images'], len(train.image_ids)) == (8, 9)
    assert len(val) == 6
    objects = sum(len(json.loads((root / 'annotations' / f'instances_{split}.json').read_text())[
        'annotations']) for split in ('train2017', 'val2017'))
    assert found['objects'] + val.summary()['objects'] == objects - 1
    assert not set(train.image_ids) & set(val.image_ids)
    crowds = [item for n in range(6) for item in val.get_data_info(n)['instances']
              if item['as_filed'][5]]
    assert [item['ignore_flag'] for item in crowds] == [1]
    checked = source.check(root, quick=True).faults
    assert [each.kind for each in checked] == ['degenerate box'] * 2


def test_test_images_that_are_trained_on_are_counted_whatever_their_names(root, capsys):
    def counted():
        runner = SimpleNamespace(
            train_loop=SimpleNamespace(dataset=dataset(root, filter_cfg=FILTER)),
            val_loop=SimpleNamespace(dataloader=SimpleNamespace(
                dataset=dataset(root, split='val2017', test_mode=True))))
        return detection.train._splits(runner)['test']['also_in_train']

    assert counted() == 0  # though both splits have a 000.jpg
    assert 'in train too' not in capsys.readouterr().out
    for trained, tested in (('007', '003'), ('002', '002'), ('008', '005')):
        shutil.copy(root / 'train2017' / f'{trained}.jpg', root / 'val2017' / f'{tested}.jpg')
    assert counted() == 2  # 008 has no object: it is not trained on
    said = capsys.readouterr().out
    assert f'in train too: 2, such as {root / "val2017" / "002.jpg"}' in said


def test_a_file_is_read_once_until_it_changes_or_is_forgotten(root, monkeypatch):
    change(root, lambda v: [row.update(segmentation=[[1, 2, 3]]) for row in v['annotations']])
    read, before = [], Path.read_bytes
    monkeypatch.setattr(Path, 'read_bytes', lambda self: read.append(self) or before(self))
    coco_annotations.forget()
    for split in ('train2017', 'val2017') * 2:
        settings = dict(data_root=str(root), ann_file=f'annotations/instances_{split}.json')
        assert set(RefAugCocoDataset.class_names(settings)) <= set(CLASSES)
        made, again = (dataset(root, split=split) for _ in range(2))
        assert (made.summary(), made.dropped) == (again.summary(), again.dropped)
    assert len(read) == 2
    value, faults = coco_annotations.parse(root / TRAIN)
    assert len(read) == 2
    assert faults == []
    assert not any('segmentation' in row for row in value['annotations'])
    objects = dataset(root).summary()['objects']
    change(root, lambda v: v['annotations'].pop())
    assert dataset(root).summary()['objects'] == objects - 1
    assert len(read) == 3
    coco_annotations.forget()
    dataset(root)
    assert len(read) == 4


def test_an_object_marked_ignore_is_no_crowd(root):
    change(root, lambda v: v['annotations'][3].update(ignore=1))
    flags = [[item['ignore_flag'] for item in info['instances']] for info in map(
        dataset(root).get_data_info, range(9))]
    assert sum(map(sum, flags)) == 2


def test_the_digest_is_of_boxes_areas_and_crowds(root):
    file = 'annotations/instances_val2017.json'

    def digest():
        return dataset(root, split='val2017', test_mode=True).summary()['sha256']

    seen = [digest(), digest()]
    assert seen[0] == seen[1]
    for changes in (dict(area=12.5), dict(iscrowd=1), dict(bbox=[1, 2, 30, 20])):
        change(root, first(**changes), file)
        assert digest() not in seen
        seen.append(digest())


FATAL = {
    'bad object': first(bbox=[1, 2, 3]), 'no image': lambda v: v['images'][2].update(
        file_name='gone.jpg'), 'bad annotation': lambda v: v['images'][1].pop('width'),
    'bad annotation ': lambda v: v['categories'][1].update(name='star'),
    'bad annotation  ': lambda v: v['images'][1].update(file_name='000.jpg'),
    'bad annotation   ': lambda v: v.update(images=[], annotations=[])}


@pytest.mark.parametrize('kind', FATAL)
def test_what_the_check_calls_fatal_is_refused(root, kind):
    dataset(root)
    change(root, FATAL[kind])
    fatal = [f for f in source.check(root, quick=True).faults if f.level == 'fatal']
    assert {each.kind for each in fatal} == {kind.strip()}
    with pytest.raises(UserError) as error:
        dataset(root)
    assert error.value.what == fatal[0].what
    assert len(str(error.value).splitlines()) <= 3


@pytest.mark.parametrize(('kind', 'edit'), [
    ('left-out object', first(category_id=4)), ('left-out object', first(image_id=4)),
    ('degenerate box', first(bbox=[3, 3, -9, 9])), ('box outside the image', first(
        bbox=[96, 3, 9, 9])), ('box sticks out', first(bbox=[90, 3, 9, 9]))])
def test_what_the_check_drops_training_counts(root, kind, edit):
    before = dataset(root)
    change(root, edit)
    after = dataset(root)
    checked = [f for f in source.check(root, quick=True).faults if 'val' not in f.where]
    assert sum(f.kind == kind for f in checked) == (after.dropped | after.noted)[kind]
    noted = kind == 'box sticks out'
    assert before.summary()['objects'] - after.summary()['objects'] == 1 - noted
    assert sum(after.dropped.values()) == 2 - noted


def test_boxes_are_judged_in_the_image_as_it_is(root):
    objects = dataset(root).summary()['objects']
    Image.new('RGB', (40, 30)).save(root / 'train2017' / '000.jpg')
    made = dataset(root)
    assert made.noted['wrong size'] == 1
    assert [info['width'] for info in map(made.get_data_info, range(9))].count(40) == 1
    assert made.summary()['objects'] == objects - made.dropped['box outside the image'] < objects
    assert dataset(root, filter_cfg=FILTER).dropped['small image'] == 1


def test_unknown_classes_are_refused_or_counted(root):
    with pytest.raises(UserError, match=r"class 'comb' of \d+ objects") as error:
        dataset(root, CLASSES[:-1])
    assert '--classes auto' in error.value.fix
    assert dataset(root, CLASSES[:-1], drop_unknown=True).dropped['left-out class'] > 0
    with pytest.raises(UserError, match='no image of the list has an object'):
        dataset(root, ('cat',), drop_unknown=True, filter_cfg=FILTER)


def test_the_classes_are_those_that_have_objects(root):
    settings = dict(data_root=str(root), ann_file=TRAIN)
    assert RefAugCocoDataset.class_names(settings) == sorted(CLASSES)
    change(root, lambda v: v['categories'].append(dict(id=1, name='unused')))
    assert 'unused' not in RefAugCocoDataset.class_names(settings)
    change(root, lambda v: v.update(annotations=[]))
    with pytest.raises(UserError, match='no objects'):
        RefAugCocoDataset.class_names(settings)
    (root / TRAIN).write_text('[')
    with pytest.raises(UserError, match='not JSON'):
        RefAugCocoDataset.class_names(settings)


@pytest.mark.parametrize('gone', [TRAIN, 'train2017'])
def test_another_layout_is_refused_with_what_it_should_be(root, gone):
    path = root / gone
    path.rename(root / 'elsewhere')
    with pytest.raises(UserError, match="not here in COCO's layout") as error:
        dataset(root)
    assert Path(error.value.where) == path
    assert 'annotations/instances_{train,val}2017.json, train2017/ and val2017/' in error.value.fix


def test_the_metric_asks_for_what_the_file_says():
    with pytest.raises(UserError, match='do not say'):
        RefAugCocoMetric.objects(dict(instances=[dict(bbox=[1, 2, 3, 4])]))
    with pytest.raises(UserError, match='do not say'):
        RefAugCocoMetric.objects({})
    assert len(RefAugCocoMetric.objects(dict(instances=[]))['gt_xywh']) == 0
