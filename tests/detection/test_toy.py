"""The toy VOC set: its layout, its annotations, its determinism and its refusals."""

from xml.etree import ElementTree

import pytest
from PIL import Image

from detection.toy import write_voc
from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES, MARKER, draw_scene, keyed_rng

TRAINVAL, TEST, SEED = 41, 20, 3


def files_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob('*') if path.is_file() and path.name != MARKER}


def lines_of(root, name):
    return (root / 'VOC2007/ImageSets/Main' / f'{name}.txt').read_text().splitlines()


def annotations_of(root):
    return {path.stem: ElementTree.parse(path).getroot()
            for path in sorted((root / 'VOC2007/Annotations').iterdir())}


def box_of(element):
    return tuple(int(corner.text) for corner in element.find('bndbox'))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('toy') / 'VOCdevkit'
    assert write_voc(root, TRAINVAL, TEST, seed=SEED) is True
    return root


def test_layout(root):
    ids = [f'{n:06d}' for n in range(1, TRAINVAL + TEST + 1)]
    splits = ('train', 'val', 'trainval', 'test')
    sets = [*splits, *(f'{name}_{split}' for name in CLASSES for split in splits)]
    assert set(files_of(root)) == {
        *(f'VOC2007/Annotations/{name}.xml' for name in ids),
        *(f'VOC2007/JPEGImages/{name}.jpg' for name in ids),
        *(f'VOC2007/ImageSets/Main/{name}.txt' for name in sets)}
    assert [path.name for path in root.parent.iterdir()] == [root.name]


def test_image_sets_partition_the_images(root):
    train, val, trainval, test = (lines_of(root, s) for s in ('train', 'val', 'trainval', 'test'))
    assert sorted(train + val) == trainval
    assert not set(train) & set(val)
    assert abs(len(train) - len(val)) <= 1
    assert (len(trainval), len(test)) == (TRAINVAL, TEST)
    assert not set(trainval) & set(test)


def test_annotations_have_vocs_elements_in_vocs_order(root):
    for name, annotation in annotations_of(root).items():
        head, objects = list(annotation)[:4], list(annotation)[4:]
        assert [element.tag for element in head] == ['folder', 'filename', 'size', 'segmented']
        assert annotation.findtext('folder') == 'VOC2007'
        assert annotation.findtext('filename') == f'{name}.jpg'
        assert objects
        for element in objects:
            assert element.tag == 'object'
            assert [child.tag for child in element] == [
                'name', 'pose', 'truncated', 'difficult', 'bndbox']
            assert [corner.tag for corner in element.find('bndbox')] == [
                'xmin', 'ymin', 'xmax', 'ymax']


def test_images_decode_with_the_annotated_size(root):
    sizes = set()
    for name, annotation in annotations_of(root).items():
        with Image.open(root / 'VOC2007/JPEGImages' / f'{name}.jpg') as image:
            image.load()
            assert image.format == 'JPEG'
            values = [int(value.text) for value in annotation.find('size')]
            assert values == [*image.size, 3]
            sizes.add(image.size)
    assert sizes == {(192, 144), (144, 192)}


def test_boxes_lie_inside_their_image_and_are_not_empty(root):
    for annotation in annotations_of(root).values():
        width, height, _ = (int(value.text) for value in annotation.find('size'))
        for element in annotation.iter('object'):
            xmin, ymin, xmax, ymax = box_of(element)
            assert 1 <= xmin < xmax <= width
            assert 1 <= ymin < ymax <= height


def test_annotations_are_those_of_the_drawn_scene(root):
    def boxes(seed):
        rng = keyed_rng('voc', seed, 'trainval', 4)
        portrait = rng.random() < 0.2
        _, objects = draw_scene(rng, *((144, 192) if portrait else (192, 144)))
        return [(item.name, item.box) for item in objects]

    written = [(element.findtext('name'), box_of(element))
               for element in annotations_of(root)['000005'].iter('object')]
    assert written == boxes(SEED)
    assert written != boxes(SEED + 1)


def test_every_class_and_both_kinds_of_difficulty_occur(root):
    annotations = annotations_of(root)
    for split in ('trainval', 'test'):
        objects = [element for name in lines_of(root, split)
                   for element in annotations[name].iter('object')]
        assert {element.findtext('name') for element in objects} == set(CLASSES)
        for flag in ('difficult', 'truncated'):
            assert {element.findtext(flag) for element in objects} == {'0', '1'}


@pytest.mark.parametrize('split', ['trainval', 'test'])
def test_class_lists_agree_with_the_annotations(root, split):
    annotations, seen = annotations_of(root), set()
    for class_name in CLASSES:
        rows = [line.split() for line in lines_of(root, f'{class_name}_{split}')]
        assert [name for name, _ in rows] == lines_of(root, split)
        for name, flag in rows:
            easy = [element.findtext('difficult') == '0'
                    for element in annotations[name].iter('object')
                    if element.findtext('name') == class_name]
            assert int(flag) == (1 if any(easy) else 0 if easy else -1)
            seen.add(flag)
    assert seen == {'-1', '0', '1'}


def test_same_arguments_same_bytes_and_another_seed_differs(tmp_path):
    for name, seed in (('one', 0), ('two', 0), ('other', 1)):
        write_voc(tmp_path / name, 3, 2, seed=seed)
    one, two, other = (files_of(tmp_path / name) for name in ('one', 'two', 'other'))
    assert one == two
    pictures = [name for name in one if name.endswith('.jpg')]
    assert len({content[name] for name in pictures for content in (one, other)}) == 10


def test_a_second_call_returns_at_once_and_another_set_is_refused(root):
    before = files_of(root)
    assert write_voc(root, TRAINVAL, TEST, seed=SEED, progress=pytest.fail) is False
    for change in ({'trainval': TRAINVAL + 1}, {'test': TEST + 1}, {'size': (192, 160)},
                   {'seed': SEED + 1}):
        arguments = {'trainval': TRAINVAL, 'test': TEST, 'seed': SEED} | change
        with pytest.raises(UserError) as caught:
            write_voc(root, **arguments)
        assert caught.value.fix
    assert files_of(root) == before


@pytest.mark.parametrize('arguments', [(1, 1), (2, 0), (2, 1, (63, 64)), (2, 1, (64, 63))])
def test_arguments_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(UserError):
        write_voc(tmp_path / 'voc', *arguments)
    assert not list(tmp_path.iterdir())
    assert write_voc(tmp_path / 'voc', 2, 1, (64, 64)) is True


def test_nothing_is_left_when_it_is_broken_off(tmp_path):
    calls = []

    def stop(*call):
        calls.append(call)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_voc(tmp_path / 'voc', 2, 1, progress=stop)
    assert calls == [(1, 3), (2, 3)]
    assert not list(tmp_path.iterdir())
