"""Image folders of one's own: prepared from an archive, and every fault of them named."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classification.datasets import RefAugImageFolder
from classification.image_folder import source
from refaug_det.errors import UserError


def picture(kind='PNG'):
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


@pytest.fixture
def root(tmp_path):
    """Two classes in train and val, two images each."""
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / 'own' / split / name).mkdir(parents=True)
            (tmp_path / 'own' / split / name / '0.png').write_bytes(picture())
            (tmp_path / 'own' / split / name / '1.jpg').write_bytes(picture('JPEG'))
    return tmp_path / 'own'


def test_a_whole_folder(root):
    (root / 'train' / 'cat' / 'notes.txt').write_text('not an image, and not called one')
    (root / 'train' / '.cache').mkdir()
    (root / '.git' / 'objects').mkdir(parents=True)
    report = source.check(root)
    assert (report.images, report.classes, report.faults) == ({'train': 4, 'val': 4}, 2, [])
    assert report.summary() == (f'image-folder in {root}: train 4, val 4 images, 2 classes: '
                                'no faults')


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


FAULTS = {  # how to spoil it -> what is said, of which path, whether a quick check sees it
    'no folder': (shutil.rmtree, "no split 'train'", 'train', True),
    'no train': (lambda root: shutil.rmtree(root / 'train'), "no split 'train'", 'train', True),
    'train only': (lambda root: shutil.rmtree(root / 'val'), 'nothing to test on', '', True),
    'a class in train only': (lambda root: write(root / 'train' / 'bird' / '0.png', picture()),
                              'val lacks the class bird', 'val/bird', True),
    'a class in val only': (lambda root: write(root / 'val' / 'bird' / '0.png', picture()),
                            'train lacks the class bird', 'train/bird', True),
    'an empty class': (lambda root: [path.unlink() for path in (root / 'val' / 'cat').iterdir()],
                       'no images for a class', 'val/cat', True),
    'no image': (lambda root: write(root / 'val' / 'cat' / 'a.jpg', b'<html>Not found</html>'),
                 'no image, whatever its name says', 'val/cat/a.jpg', True),
    'an empty file': (lambda root: write(root / 'val' / 'cat' / 'a.png', b''),
                      'no image, whatever its name says', 'val/cat/a.png', True),
    'a folder named as an image': (lambda root: (root / 'val' / 'cat' / 'a.png').mkdir(),
                                   'cannot read the image', 'val/cat/a.png', True),
    'a JPEG that breaks off': (lambda root: write(root / 'val' / 'cat' / '1.jpg',
                                                  picture('JPEG')[:-9]),
                               'the JPEG breaks off', 'val/cat/1.jpg', False),
    'a PNG that breaks off': (lambda root: write(root / 'val' / 'cat' / '0.png', picture()[:-99]),
                              'cannot decode the image', 'val/cat/0.png', False),
}


@pytest.mark.parametrize('name', FAULTS)
def test_every_fault_is_named(root, name):
    spoil, what, where, at_once = FAULTS[name]
    spoil(root)
    for quick in (False, True):
        faults = source.check(root, quick=quick).faults
        assert len(faults) == (at_once or not quick)
        for fault in faults:
            assert what in fault.what
            assert Path(fault.where) == root / where
            assert fault.fix
            assert '\n' not in ''.join(fault)


@pytest.mark.parametrize(('kind', 'wrapped'), [('zip', False), ('gztar', False), ('tar', True)])
def test_prepare_from_an_archive(root, tmp_path, kind, wrapped):
    where = (tmp_path, 'own') if wrapped else (root, '.')
    archive = Path(shutil.make_archive(str(tmp_path / 'packed'), kind, *where))
    target = tmp_path / 'deep' / 'data'
    assert source.prepare(target, [archive]) == f'extracted 8 files to {target}: train, val'
    assert source.check(target).faults == []
    assert len(RefAugImageFolder(str(target), 'val', [])) == 4
    assert 'already' in source.prepare(target, [archive])
    assert [path.name for path in target.parent.iterdir()] == ['data']


def test_prepare_from_an_archive_a_split(root, tmp_path):
    archives = [Path(shutil.make_archive(str(tmp_path / name), 'tar', root, name))
                for name in ('train', 'val')]
    (tmp_path / 'data').mkdir()  # empty: it may be there
    source.prepare(tmp_path / 'data', archives)
    assert source.check(tmp_path / 'data').images == {'train': 4, 'val': 4}


def test_what_prepare_refuses(root, tmp_path):
    with pytest.raises(UserError, match='nothing to prepare') as caught:
        source.prepare(tmp_path / 'data', [])
    assert '--from' in caught.value.fix
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'thesis.tex').write_text('mine')
    with pytest.raises(UserError, match='something else'):
        source.prepare(tmp_path / 'other', [])
    archive = Path(shutil.make_archive(str(tmp_path / 'val'), 'tar', root, 'val'))
    with pytest.raises(UserError, match='no folder train'):
        source.prepare(tmp_path / 'data', [archive])
    torn = tmp_path / 'torn.tgz'
    torn.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(UserError, match='damaged or breaks off') as caught:
        source.prepare(tmp_path / 'data', [torn])
    assert caught.value.where == str(torn)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'other', 'own', 'torn.tgz', 'val.tar']
