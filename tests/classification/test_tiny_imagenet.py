"""Tiny-ImageNet: labels by sorted ids and the annotation file, and each thing that can be wrong."""

import shutil
import urllib.error
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image
from torchvision.datasets import utils as torchvision_files

from classification import tiny_imagenet
from classification.tiny_imagenet import RefAugTinyImageNet, TinyImageNetSource
from classification.train import resolve_classes
from refaug_det.data import archives
from refaug_det.data.inspection import Expected
from refaug_det.errors import UserError

FOLDER = tiny_imagenet.FOLDER
SMALL = TinyImageNetSource(3, {'train': Expected(6, 2, 2), 'val': Expected(6, 2, 2)})


@pytest.fixture
def root(tmp_path, miniatures):
    return miniatures.tiny_imagenet(tmp_path / 'data')


@pytest.fixture
def home(root):
    return root / FOLDER


@pytest.fixture
def archive(tmp_path, miniatures, monkeypatch):
    miniatures.tiny_imagenet(tmp_path / 'packed')
    made = Path(shutil.make_archive(str(tmp_path / FOLDER), 'zip', tmp_path / 'packed', FOLDER))
    monkeypatch.setattr(tiny_imagenet, 'MD5', miniatures.md5(made.read_bytes()))
    return made


@pytest.mark.parametrize('split', ['train', 'val'])
def test_labels_follow_the_sorted_ids(root, home, miniatures, split):
    listed = (home / 'wnids.txt').read_text().split()
    assert listed != sorted(listed)
    for place in (root, home):  # the folder itself, or the one that holds it
        dataset = RefAugTinyImageNet(str(place), split, [])
        assert dataset.classes == miniatures.WNIDS
        assert [label for _, label in dataset.samples] == [0, 0, 1, 1, 2, 2]
        for index in range(6):
            sample = dataset[index]
            assert sample['inputs'].shape == (3, 64, 64)
            red = sample['inputs'][0].float().mean()
            assert abs(red - miniatures.STEP * sample['label']) < 3
    if split == 'val':  # as the file says, not in the order of names
        names = [path.name for path, _ in dataset.samples]
        assert names == ['val_1.JPEG', 'val_4.JPEG', 'val_2.JPEG', 'val_5.JPEG', 'val_0.JPEG',
                         'val_3.JPEG']


def test_some_classes_in_a_given_order(root, miniatures):
    wanted = (miniatures.WNIDS[2], miniatures.WNIDS[0])
    for split in ('train', 'val'):
        dataset = RefAugTinyImageNet(str(root), split, [], classes=wanted)
        assert dataset.classes == wanted
        assert len(dataset) == 4
        red = {(s['label'], round(float(s['inputs'][0].float().mean()) / miniatures.STEP))
               for s in (dataset[i] for i in range(4))}
        assert red == {(0, 2), (1, 0)}
    with pytest.raises(UserError, match='n99999999'):
        RefAugTinyImageNet(str(root), 'val', [], classes=('n99999999',))


def test_classes_of_a_config(root, miniatures, monkeypatch):
    leaf = dict(type='RefAugTinyImageNet', data_root=str(root), split='train', pipeline=[])
    cfg = Config(dict(
        model=dict(num_classes=3), val_dataloader=dict(dataset=dict(leaf, split='val')),
        train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=leaf))))
    monkeypatch.setattr(tiny_imagenet, 'listed', None)  # cheap: it lists no images
    assert resolve_classes(cfg, None) == list(miniatures.WNIDS)
    assert cfg.train_dataloader.dataset.dataset.classes == list(miniatures.WNIDS)
    cfg.model.num_classes = 200
    with pytest.raises(UserError, match='3 classes in the data, 200 in the config') as caught:
        resolve_classes(cfg, None)
    assert caught.value.where == str(root)


def lines(home):
    return (home / 'val' / 'val_annotations.txt').read_text().splitlines()


def rewrite(home, new):
    (home / 'val' / 'val_annotations.txt').write_text('\n'.join(new) + '\n')


FAULTS = {  # how to spoil it, what is said of it, of which file, in which split
    'no annotation file': (lambda home: (home / 'val' / 'val_annotations.txt').unlink(),
                           'labels of the validation images are missing', 'val_annotations.txt'),
    'an image without a line': (lambda home: rewrite(home, lines(home)[1:]),
                                'an image without a label', 'val_0.JPEG'),
    'a line without an image': (lambda home: (home / 'val' / 'images' / 'val_4.JPEG').unlink(),
                                'a label without an image', 'val_4.JPEG'),
    'an unknown class': (lambda home: rewrite(home, ['val_0.JPEG\tn00000007', *lines(home)[1:]]),
                         "'n00000007', which wnids.txt lacks", 'val_annotations.txt'),
    'a torn line': (lambda home: rewrite(home, ['val_0.JPEG', *lines(home)[1:]]),
                    "'val_0.JPEG' is of the class ''", 'val_annotations.txt'),
    'two labels': (lambda home: rewrite(home, [*lines(home), 'val_0.JPEG\tn01443537']),
                   'has two labels', 'val_annotations.txt'),
    'a class without images': (lambda home: shutil.rmtree(home / 'train' / 'n01629819'),
                               'no images for a class', 'images'),
    'a folder too many': (lambda home: (home / 'train' / 'n00000007').mkdir(),
                          'a class that wnids.txt lacks', 'n00000007'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_what_training_and_check_refuse(root, home, name):
    spoil, what, file = FAULTS[name]
    split = 'train' if 'folder' in name or 'without images' in name else 'val'
    RefAugTinyImageNet(str(root), split, [])
    assert SMALL.check(root).faults == []
    spoil(home)
    with pytest.raises(UserError) as caught:
        RefAugTinyImageNet(str(root), split, [])
    assert what in caught.value.what
    assert Path(caught.value.where).name == file
    assert 'prepare' in caught.value.fix
    assert (caught.value.what, caught.value.where, caught.value.fix) in [
        fault[:3] for fault in SMALL.check(root).faults]


def test_images_of_unknown_classes_are_not_counted(root, home):
    FAULTS['an unknown class'][0](home)
    report = SMALL.check(root)
    assert report.images == {'train': 6, 'val': 5}
    assert 'val has 5 images, not 6' in [fault.what for fault in report.faults]


def test_a_label_that_points_elsewhere_reads_nothing(root, home):
    Image.new('RGB', (64, 64)).save(home / 'elsewhere.JPEG', 'JPEG')
    rewrite(home, [*lines(home), '../../elsewhere.JPEG\tn01443537'])
    found, faults = tiny_imagenet.listed(root, 'val', ['n01443537'])
    assert all(path.parent == home / 'val' / 'images' for path, _ in found)
    assert any('without an image' in fault.what for fault in faults)


@pytest.mark.parametrize(('spoil', 'what'), [
    (lambda home: shutil.rmtree(home), 'not here'),
    (lambda home: (home / 'wnids.txt').write_text('n01443537\n../../etc\n'), 'no WordNet id')])
def test_without_classes_there_is_nothing(root, home, spoil, what):
    spoil(home)
    with pytest.raises(UserError, match=what) as caught:
        RefAugTinyImageNet(str(root), 'train', [])
    assert caught.value.where == str(home / 'wnids.txt')
    assert [fault.where for fault in SMALL.check(root).faults] == [str(home / 'wnids.txt')]


def test_the_test_split_has_no_labels(root):
    with pytest.raises(UserError, match="'test' with labels"):
        RefAugTinyImageNet(str(root), 'test', [])


def test_check(root, home):
    report = SMALL.check(root)
    assert (report.images, report.classes, report.faults) == ({'train': 6, 'val': 6}, 3, [])
    whats = [fault.what for fault in tiny_imagenet.source.check(root).faults]  # the real numbers
    assert 'train has 3 classes, not 200' in whats
    assert 'val has 6 images, not 10000' in whats
    images = home / 'train' / 'n01443537' / 'images'
    whole = (images / 'n01443537_0.JPEG').read_bytes()
    (images / 'n01443537_0.JPEG').write_bytes(whole[:-30])
    Image.new('RGB', (64, 60)).save(images / 'n01443537_1.JPEG')
    (home / 'words.txt').unlink()
    found = {(fault.what, Path(fault.where).name) for fault in SMALL.check(root).faults}
    assert found == {('a file of the data set is missing', 'words.txt'),
                     ('the JPEG breaks off', 'n01443537_0.JPEG'),
                     ('the image has 64 x 60 pixels, not 64 x 64', 'n01443537_1.JPEG')}
    quick = {Path(fault.where).name for fault in SMALL.check(root, quick=True).faults}
    assert quick == {'words.txt', 'n01443537_1.JPEG'}


def test_prepare(archive, tmp_path, monkeypatch):
    root = tmp_path / 'data'
    assert 'extracted' in SMALL.prepare(root, [archive])
    assert SMALL.check(root).faults == []
    assert len(RefAugTinyImageNet(str(root), 'val', [])) == 6
    assert 'already' in SMALL.prepare(root, [])
    assert 'already' in SMALL.prepare(root / FOLDER, [])
    (root / FOLDER / 'words.txt').unlink()
    with pytest.raises(UserError, match='missing'):
        SMALL.prepare(root, [])
    monkeypatch.setattr(tiny_imagenet, 'MD5', 'another')
    with pytest.raises(UserError, match='md5'):
        SMALL.prepare(tmp_path / 'other', [archive])
    assert not (tmp_path / 'other').exists()


def test_prepare_that_raises_leaves_nothing_and_can_be_repeated(archive, tmp_path, monkeypatch):
    root, real = tmp_path / 'data', archives.extract

    def halfway(archive, folder):
        real(archive, folder)
        (folder / FOLDER / 'val' / 'val_annotations.txt').unlink()
        return 1

    with monkeypatch.context() as patch:
        patch.setattr(archives, 'extract', halfway)
        with pytest.raises(UserError, match='labels of the validation'):
            SMALL.prepare(root, [archive])
    assert list(root.iterdir()) == []
    SMALL.prepare(root, [archive])
    assert [path.name for path in root.iterdir()] == [FOLDER]


def test_prepare_without_a_network(tmp_path, monkeypatch):
    def download(url, *args, **kwargs):
        raise urllib.error.URLError('no route')

    monkeypatch.setattr(torchvision_files, 'download_url', download)
    with pytest.raises(UserError, match='cannot download') as caught:
        SMALL.prepare(tmp_path, [])
    assert caught.value.where == tiny_imagenet.URL
    assert '--from' in caught.value.fix
