"""ImageNet from its archives to class folders: the right classes, resumable, nothing escapes."""

import shutil
from pathlib import Path

import pytest

from classification import image_folder, imagenet
from classification.datasets import RefAugImageFolder
from classification.imagenet import ImageNetSource
from refaug_det.data import archives
from refaug_det.data.inspection import Expected
from refaug_det.errors import UserError

SMALL = ImageNetSource(3, {'train': Expected(6, 2, 2), 'val': Expected(6, 2, 2)})


@pytest.fixture
def packed(tmp_path, miniatures, monkeypatch):
    return miniatures.imagenet_archives(tmp_path / 'archives', monkeypatch)


@pytest.fixture
def republish(monkeypatch, miniatures):
    """Makes the md5 of an archive, as it is now, the published one."""
    def publish(key, path):
        known = dict(imagenet.imagenet.ARCHIVE_META)
        known[key] = (path.name, miniatures.md5(path.read_bytes()))
        monkeypatch.setattr(imagenet.imagenet, 'ARCHIVE_META', known)
    return publish


def test_from_archives_to_class_folders(packed, tmp_path, miniatures):
    root = tmp_path / 'imagenet'
    said = SMALL.prepare(root, list(packed.values()))
    assert 'train 3 classes' in said
    assert 'val 6 images' in said
    assert sorted(path.name for path in root.iterdir()) == ['train', 'val']
    assert SMALL.check(root).faults == []
    for split in ('train', 'val'):
        dataset = RefAugImageFolder(str(root), split, [])
        assert dataset.classes == miniatures.WNIDS
        assert len(dataset) == 6
        for index in range(6):  # validation labels too: the pixels say the class
            sample = dataset[index]
            red = float(sample['inputs'][0].float().mean()) / miniatures.STEP
            assert round(red) == sample['label']
    for path in packed.values():
        path.unlink()
    assert 'already' in SMALL.prepare(root, [])


def test_archives_may_lie_in_the_folder(packed, tmp_path):
    SMALL.prepare(tmp_path / 'archives', [])
    assert SMALL.check(tmp_path / 'archives').faults == []


def test_it_is_never_downloaded(packed, tmp_path):
    with pytest.raises(UserError) as caught:
        SMALL.prepare(tmp_path / 'imagenet', [packed['train'], packed['devkit']])
    assert 'ILSVRC2012_img_val.tar' in caught.value.what
    assert 'ILSVRC2012_img_train.tar' not in caught.value.what
    assert 'image-net.org' in caught.value.fix
    assert not (tmp_path / 'imagenet').exists()


@pytest.mark.parametrize('key', ['train', 'val', 'devkit'])
def test_other_archives_are_refused(packed, tmp_path, key):
    packed[key].write_bytes(packed[key].read_bytes()[:-1] + b'x')
    with pytest.raises(UserError, match='md5') as caught:
        SMALL.prepare(tmp_path / 'imagenet', list(packed.values()))
    assert caught.value.where == str(packed[key])


def test_train_goes_on_where_it_was_killed(packed, tmp_path, monkeypatch, miniatures):
    root, real, seen = tmp_path / 'imagenet', archives.extract_tar, []

    def killed_in_the_second(tar, folder, where):
        seen.append(where)
        count = real(tar, folder, where)
        if len(seen) == 2:
            next(folder.iterdir()).unlink()
            raise KeyboardInterrupt
        return count

    with monkeypatch.context() as patch:
        patch.setattr(archives, 'extract_tar', killed_in_the_second)
        patch.setattr(archives.shutil, 'rmtree', lambda *args, **kwargs: None)  # as kill -9
        with pytest.raises(KeyboardInterrupt):
            SMALL.prepare(root, list(packed.values()))
    partial = archives.beside(root / 'train')
    first, second, third = miniatures.LAST_WNID_FIRST
    assert {path.name for path in partial.iterdir()} == {
        first, archives.beside(partial / second).name}
    assert not (root / 'train').exists()
    seen.clear()
    monkeypatch.setattr(archives, 'extract_tar', lambda tar, folder, where: (
        seen.append(str(where)), real(tar, folder, where))[1])
    SMALL.prepare(root, list(packed.values()))
    assert not any(f'{first}.tar' in where for where in seen)  # the first was done
    assert [sum(f'{name}.tar' in where for where in seen) for name in (second, third)] == [1, 1]
    assert SMALL.check(root).faults == []
    assert sorted(path.name for path in root.iterdir()) == ['train', 'val']


@pytest.mark.parametrize('name', ['../n01443537.tar', '/n01443537.tar', 'n01443537.zip',
                                  'n01443537/n01443537.tar'])
def test_an_archive_of_something_else_is_refused(packed, tmp_path, miniatures, republish, name):
    miniatures.write_tar(packed['train'], {name: b'x'})
    republish('train', packed['train'])
    with pytest.raises(UserError, match='no archive of a class'):
        SMALL.prepare(tmp_path / 'imagenet', list(packed.values()))
    assert not (tmp_path / 'n01443537').exists()


@pytest.mark.parametrize(('inner', 'says'), [
    ({'../../../escaped.JPEG': b'x'}, 'outside'), (None, 'damaged')])
def test_a_class_archive_that_is_hostile_or_torn(packed, tmp_path, miniatures, republish, inner,
                                                 says):
    data = b'no tar archive'
    if inner:
        data = miniatures.write_tar(tmp_path / 'inner.tar', inner).read_bytes()
    miniatures.write_tar(packed['train'], {'n01443537.tar': data})
    republish('train', packed['train'])
    with pytest.raises(UserError, match=says):
        SMALL.prepare(tmp_path / 'imagenet', list(packed.values()))
    assert not list(tmp_path.rglob('escaped.JPEG'))
    assert not (tmp_path / 'imagenet' / 'train').exists()


def test_fewer_validation_images_than_labels(packed, tmp_path, miniatures, republish):
    miniatures.write_tar(packed['val'], {'ILSVRC2012_val_00000001.JPEG': miniatures.jpeg(0)})
    republish('val', packed['val'])
    with pytest.raises(UserError, match='1 validation images for 6 labels'):
        SMALL.prepare(tmp_path / 'imagenet', list(packed.values()))
    assert [path.name for path in (tmp_path / 'imagenet').iterdir()] == ['train']


def test_check_knows_the_real_numbers(packed, tmp_path):
    root = tmp_path / 'imagenet'
    SMALL.prepare(root, list(packed.values()))
    whats = [fault.what for fault in imagenet.source.check(root).faults]
    assert 'train has 6 images, not 1281167' in whats
    assert 'val has 3 classes, not 1000' in whats
    assert 'class n01443537 of train has 2 images, not 732 to 1300' in whats
    shutil.rmtree(root / 'val')
    assert [(fault.what, Path(fault.where)) for fault in SMALL.check(root).faults] == [
        ("no split 'val'", root / 'val')]
    assert [fault.what for fault in SMALL.check(tmp_path / 'nowhere').faults] == [
        "no split 'train'", "no split 'val'"]
    assert image_folder.splits_in(root) == ['train']
