"""VOC data: what is dropped is counted, what is malformed is named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import detection.train  # noqa: F401  (registration)
from detection.datasets import RefAugLoadImage, RefAugVOCDataset, classes_in
from refaug_det.errors import UserError

CLASSES = ['arrow', 'comb', 'crescent', 'cross', 'disc', 'ring', 'square', 'star']


@pytest.fixture
def root(voc, tmp_path):
    shutil.copytree(voc, tmp_path / 'voc')
    return tmp_path / 'voc'


def dataset(root, classes=None, split='trainval', **more):
    return RefAugVOCDataset(
        data_root=str(root), ann_file=f'VOC2007/ImageSets/Main/{split}.txt',
        data_prefix=dict(sub_data_root='VOC2007/'), pipeline=[RefAugLoadImage()],
        metainfo=dict(classes=classes or CLASSES), **more)


def change(root, old, new, count=1, name='000001'):
    path = root / 'VOC2007' / 'Annotations' / f'{name}.xml'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def first_box(root):
    text = (root / 'VOC2007' / 'Annotations' / '000001.xml').read_text()
    body = text.split('<bndbox>')[1].split('</bndbox>')[0]
    return {k: body.split(f'<{k}>')[1].split('<')[0] for k in ('xmin', 'ymin', 'xmax', 'ymax')}


def test_classes_are_found_in_the_data(root):
    assert classes_in(root) == CLASSES
    change(root, '<name>', '<name> ')  # a space more is no class more
    assert classes_in(root) == CLASSES
    change(root, '<name> ', '<name>odd ')
    assert any(name.startswith('odd ') for name in classes_in(root))


def test_a_clean_set_drops_nothing_and_its_digest_is_of_the_boxes(root):
    clean = dataset(root).summary()
    assert clean['images'] == 12
    assert clean['dropped'] == {}
    assert clean == dataset(root).summary()
    box = first_box(root)
    change(root, f'<xmax>{box["xmax"]}<', f'<xmax>{int(box["xmax"]) - 1}<')
    assert dataset(root).summary()['sha256'] != clean['sha256']


@pytest.mark.parametrize('edit', ['zero width', 'inverted'])
def test_degenerate_boxes_are_dropped_and_counted(root, edit):
    before = dataset(root).summary()
    box = first_box(root)
    value = box['xmin'] if edit == 'zero width' else str(int(box['xmin']) - 3)
    change(root, f'<xmax>{box["xmax"]}<', f'<xmax>{value}<')
    after = dataset(root).summary()
    assert after['dropped'] == {'degenerate box': 1}
    assert after['objects'] == before['objects'] - 1


def test_unknown_classes_are_refused_or_counted(root):
    with pytest.raises(UserError, match="class 'arrow'"):
        dataset(root, classes=CLASSES[1:])
    assert dataset(root, classes=CLASSES[1:], drop_unknown=True).dropped['left-out class'] > 0


@pytest.mark.parametrize(('break_it', 'named'), [
    (lambda v: (v / 'ImageSets/Main/trainval.txt').unlink(), 'trainval.txt'),
    (lambda v: (v / 'Annotations/000001.xml').write_text('<annotation>'), '000001.xml'),
    (lambda v: (v / 'Annotations/000001.xml').unlink(), '000001.xml'),
    (lambda v: (v / 'Annotations/000001.xml').write_text(
        '<annotation><size><width>9</width><height>x</height></size></annotation>'), '000001.xml'),
])
def test_malformed_layouts_name_the_file(root, break_it, named):
    break_it(root / 'VOC2007')
    with pytest.raises(UserError) as error:
        dataset(root)
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_a_truncated_image_is_decoded_and_reported(root):
    path = root / 'VOC2007' / 'JPEGImages' / '000001.jpg'
    assert dataset(root).summary()['truncated'] == []
    whole = RefAugLoadImage()(dict(img_path=str(path)))['img']
    path.write_bytes(path.read_bytes()[:-200])
    assert dataset(root).summary()['truncated'] == ['000001.jpg']
    torn = RefAugLoadImage()(dict(img_path=str(path)))['img']
    assert torn.shape == whole.shape
    assert np.array_equal(torn[:32], whole[:32])
    assert not np.array_equal(torn, whole)


def test_a_file_that_is_no_image_is_named(root):
    path = root / 'VOC2007' / 'JPEGImages' / '000001.jpg'
    path.write_text('<html>')
    with pytest.raises(UserError) as error:
        RefAugLoadImage()(dict(img_path=str(path)))
    assert '000001.jpg' in str(error.value)


def test_pixels_are_bgr(root):
    path = root / 'VOC2007' / 'JPEGImages' / '000001.jpg'
    from refaug_det.images import decode
    image = RefAugLoadImage()(dict(img_path=str(path)))['img']
    assert np.array_equal(image[..., ::-1], decode(path))
    assert not np.array_equal(image, decode(path))


def test_two_years_are_read_as_one_set(root):
    one = dataset(root).summary()
    shutil.copytree(root / 'VOC2007', root / 'VOC2012')
    both = dataset(root, also=['VOC2012'])
    assert both.summary()['images'] == 2 * one['images']
    assert both.summary()['objects'] == 2 * one['objects']
    assert 'VOC2012' in both[12]['img_path']
    (root / 'VOC2012' / 'Annotations' / '000001.xml').unlink()
    with pytest.raises(UserError, match='no annotation') as error:
        dataset(root, also=['VOC2012'])
    assert 'VOC2012' in error.value.where
    with pytest.raises(UserError, match='not here'):
        dataset(root, also=['VOC2013'])


def test_the_classes_are_those_of_both_years(root):
    settings = dict(data_root=str(root), data_prefix=dict(sub_data_root='VOC2007/'))
    shutil.copytree(root / 'VOC2007', root / 'VOC2012')
    both = dict(settings, also=['VOC2012'])
    assert RefAugVOCDataset.class_names(both) == CLASSES
    path = root / 'VOC2012' / 'Annotations' / '000001.xml'
    path.write_text(path.read_text().replace('<name>', '<name>new ', 1))
    found = set(RefAugVOCDataset.class_names(both)) - set(CLASSES)
    assert [name.split()[0] for name in found] == ['new']
    assert RefAugVOCDataset.class_names(settings) == CLASSES
    with pytest.raises(UserError, match='no annotations here') as error:
        RefAugVOCDataset.class_names(dict(settings, also=['VOC2013']))
    assert error.value.where == str(root / 'VOC2013' / 'Annotations')


def test_a_refusal_says_how_many_more_there_are(root):
    for number in (1, 2, 3):
        (root / 'VOC2007' / 'Annotations' / f'{number:06d}.xml').unlink()
    with pytest.raises(UserError) as error:
        dataset(root)
    assert '2 more: refaug-det data check' in error.value.fix


def test_a_list_without_any_object_is_refused(root):
    for path in (root / 'VOC2007' / 'Annotations').glob('*.xml'):
        path.write_text('<annotation></annotation>')
    kept = dict(filter_cfg=dict(filter_empty_gt=True, min_size=0, bbox_min_size=0))
    with pytest.raises(UserError, match='no image of the list has an object'):
        dataset(root, **kept)
    assert len(dataset(root, test_mode=True)) == 12


def test_the_files_own_size_is_taken(root):
    change(root, '<width>96<', '<width>960<')
    made = dataset(root)
    assert made.get_data_info(0)['width'] == 96
    assert made.noted == {'wrong size': 1}
