"""CIFAR prepared from its archive or by download, resumed after a kill, and checked."""

import urllib.error
from pathlib import Path

import pytest
from torchvision.datasets import CIFAR10
from torchvision.datasets import utils as torchvision_files

from classification import cifar
from classification.cifar import CIFARSource, RefAugCIFAR
from refaug_det.data import archives
from refaug_det.data.inspection import Expected
from refaug_det.errors import UserError

FOLDER = CIFAR10.base_folder
TEN = CIFARSource('cifar10', 'CIFAR-10', 10,
                  {'train': Expected(50, 5, 5), 'test': Expected(10, 1, 1)})


@pytest.fixture
def root(tmp_path, monkeypatch, miniatures):
    return miniatures.cifar(tmp_path / 'data', monkeypatch)


@pytest.fixture
def archive(tmp_path, monkeypatch, miniatures):
    return miniatures.cifar_archive(tmp_path, monkeypatch)


def test_prepare_from_an_archive_and_again(archive, tmp_path):
    root = tmp_path / 'data'
    assert 'extracted' in TEN.prepare(root, [archive])
    assert TEN.check(root).faults == []
    assert len(RefAugCIFAR(str(root), 'train', [])) == 50
    archive.unlink()
    assert 'already' in TEN.prepare(root, [])
    assert [path.name for path in root.iterdir()] == [FOLDER]


def test_prepare_finds_the_archive_in_the_folder(archive):
    assert 'extracted' in TEN.prepare(archive.parent, [])
    assert TEN.check(archive.parent).faults == []


@pytest.mark.parametrize('spoil', [lambda data: data[:-9], lambda data: data + b'x'])
def test_prepare_refuses_another_archive(archive, tmp_path, spoil):
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(UserError, match='md5') as caught:
        TEN.prepare(tmp_path / 'data', [archive])
    assert caught.value.where == str(archive)
    assert not (tmp_path / 'data').exists()


def test_prepare_killed_halfway_then_run_again(archive, tmp_path, monkeypatch):
    root, real = tmp_path / 'data', archives.extract

    def killed(archive, folder):
        real(archive, folder)
        (folder / FOLDER / 'test_batch').unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives, 'extract', killed)
        patch.setattr(archives.shutil, 'rmtree', lambda *args, **kwargs: None)  # as kill -9
        with pytest.raises(KeyboardInterrupt):
            TEN.prepare(root, [archive])
    assert [path.name for path in root.iterdir()] == [archives.beside(root / FOLDER).name]
    assert [fault.what for fault in TEN.check(root).faults] == ['cifar10 is not here']
    TEN.prepare(root, [archive])
    assert TEN.check(root).faults == []
    assert [path.name for path in root.iterdir()] == [FOLDER]


def test_prepare_leaves_a_damaged_folder_to_the_user(archive, root):
    (root / FOLDER / 'test_batch').write_bytes(b'mine')
    with pytest.raises(UserError, match='md5') as caught:
        TEN.prepare(root, [archive])
    assert 'move' in caught.value.fix
    assert (root / FOLDER / 'test_batch').read_bytes() == b'mine'


@pytest.mark.parametrize('error', [urllib.error.URLError('no route'), RuntimeError('corrupted')])
def test_prepare_without_a_network(tmp_path, monkeypatch, error):
    def download(url, *args, **kwargs):
        raise error

    monkeypatch.setattr(torchvision_files, 'download_url', download)
    with pytest.raises(UserError, match='cannot download') as caught:
        TEN.prepare(tmp_path / 'data', [])
    assert caught.value.where == CIFAR10.url
    assert '--from' in caught.value.fix
    assert len(str(caught.value).splitlines()) == 3


def test_prepare_with_a_network(archive, tmp_path, monkeypatch):
    def download(url, root, name, md5):
        assert (url, name, md5) == (CIFAR10.url, CIFAR10.filename, CIFAR10.tgz_md5)
        Path(root).mkdir(parents=True)
        (Path(root) / name).write_bytes(archive.read_bytes())

    monkeypatch.setattr(torchvision_files, 'download_url', download)
    assert 'extracted' in TEN.prepare(tmp_path / 'data', [])
    assert TEN.check(tmp_path / 'data').faults == []


def test_check(root):
    report = TEN.check(root)
    assert (report.images, report.classes, report.faults) == ({'train': 50, 'test': 10}, 10, [])
    assert report.summary().endswith('train 50, test 10 images, 10 classes: no faults')
    whats = [fault.what for fault in cifar.cifar10.check(root).faults]  # the real numbers
    assert 'train has 50 images, not 50000' in whats
    assert 'class truck of test has 1 images, not 1000' in whats
    assert len(whats) == 2 * (1 + 10)


def test_check_names_every_file(root):
    (root / FOLDER / 'data_batch_1').unlink()
    (root / FOLDER / 'test_batch').write_bytes(b'')
    assert [(fault.what, Path(fault.where).name) for fault in TEN.check(root).faults] == [
        ('a file of the data set is missing', 'data_batch_1'),
        ('the file is not the published one (md5)', 'test_batch')]
