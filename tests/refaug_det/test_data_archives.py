"""Archives: those that are hostile, torn or other ones are refused, and nothing is left of them."""

import errno
import io
import os
import socket
import stat
import tarfile
import zipfile

import pytest
from torchvision.datasets import utils as torchvision_files

from refaug_det.data import archives
from refaug_det.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'inside').mkdir()
    return tmp_path / 'inside'


def tar(path, *members):
    """A tar archive of a good file and of members (name, type or None for a file, link)."""
    with tarfile.open(path, 'w:gz') as made:
        for name, kind, link in (('good/a.txt', None, ''), *members):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind or tarfile.REGTYPE, link
            info.size = 0 if kind else 4
            made.addfile(info, io.BytesIO(b'data'))
    return path


def zipped(path, *members):
    with zipfile.ZipFile(path, 'w') as made:
        for name, mode in (('good/a.txt', 0o644), *members):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            made.writestr(info, 'data')
    return path


def outside(tmp_path):
    """Names of all that lies beside the folder and the archive."""
    return {path.name for path in tmp_path.iterdir()} - {'inside', 'a.tgz', 'a.zip'}


def test_good_archives(tmp_path, folder):
    made = [tar(tmp_path / 'a.tgz', ('deep', tarfile.DIRTYPE, ''), ('deep/b', None, '')),
            zipped(tmp_path / 'a.zip', ('deep/', 0o40755), ('deep/c', 0o644))]
    assert archives.extract(made[0], folder) == 2
    assert (folder / 'good' / 'a.txt').read_bytes() == b'data'
    assert (folder / 'deep' / 'b').read_bytes() == b'data'
    (folder / 'good' / 'a.txt').unlink()
    assert archives.extract(made[1], folder) == 2
    assert (folder / 'deep' / 'c').read_bytes() == b'data'


@pytest.mark.parametrize(('name', 'kind', 'link', 'says'), [
    ('../out', None, '', 'outside'), ('good/../../out', None, '', 'outside'),
    ('/out', None, '', 'outside'), ('..', tarfile.DIRTYPE, '', 'outside'),
    ('..\\out', None, '', 'outside'), ('C:\\out', None, '', 'outside'),
    ('link', tarfile.SYMTYPE, '../..', 'link'), ('link', tarfile.SYMTYPE, 'good/a.txt', 'link'),
    ('link', tarfile.LNKTYPE, 'good/a.txt', 'link'), ('pipe', tarfile.FIFOTYPE, '', 'device'),
    ('good/a.txt', None, '', 'twice')])
def test_hostile_tar(tmp_path, folder, name, kind, link, says):
    archive = tar(tmp_path / 'a.tgz', (name, kind, link))
    with pytest.raises(UserError, match=says) as caught:
        archives.extract(archive, folder)
    assert caught.value.where == str(archive)
    assert not outside(tmp_path)
    assert os.listdir(folder) == ['good']


def test_a_link_cannot_be_written_through(tmp_path, folder):
    archive = tar(tmp_path / 'a.tgz', ('door', tarfile.SYMTYPE, '..'), ('door/out', None, ''))
    with pytest.raises(UserError, match='link'):
        archives.extract(archive, folder)
    assert not outside(tmp_path)
    with tarfile.open(archive) as made:  # what an unguarded extraction does
        made.extraction_filter = lambda member, path: member
        made.extractall(folder)
    assert outside(tmp_path) == {'out'}


@pytest.mark.parametrize(('name', 'mode', 'says'), [
    ('../out', 0o644, 'outside'), ('/out', 0o644, 'outside'), ('..\\out', 0o644, 'outside'),
    ('link', stat.S_IFLNK | 0o777, 'link'), ('good/a.txt', 0o644, 'twice')])
@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_hostile_zip(tmp_path, folder, name, mode, says):
    archive = zipped(tmp_path / 'a.zip', (name, mode))
    with pytest.raises(UserError, match=says):
        archives.extract(archive, folder)
    assert not outside(tmp_path)
    assert os.listdir(folder) == ['good']


@pytest.mark.parametrize('make', [tar, zipped])
def test_torn_archives(tmp_path, folder, make):
    archive = make(tmp_path / 'a.tgz')
    whole = archive.read_bytes()
    for length in (0, 10, len(whole) // 2):
        archive.write_bytes(whole[:length])
        with pytest.raises(UserError, match='damaged or breaks off') as caught:
            archives.extract(archive, folder)
        assert len(str(caught.value).splitlines()) == 3
    archive.write_bytes(whole)
    for path in folder.rglob('a.txt'):
        path.unlink()
    assert archives.extract(archive, folder) == 1


def test_a_full_disk_is_no_damage(tmp_path, folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, 'extract', full)
    with pytest.raises(UserError, match='No space left') as caught:
        archives.extract(tar(tmp_path / 'a.tgz'), folder)
    assert 'free space' in caught.value.fix


def test_aside_is_empty_and_does_not_stay(tmp_path):
    target = tmp_path / 'data' / 'set'
    (archives.beside(target) / 'left').mkdir(parents=True)  # by a run that was killed

    def interrupted():
        with archives.aside(target) as folder:
            assert list(folder.iterdir()) == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / 'data').iterdir()) == []
    with archives.aside(target) as folder:
        (folder / 'a').mkdir()
        folder.rename(target)
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['set']
    assert (target / 'a').is_dir()


def test_md5(tmp_path):
    (tmp_path / 'a').write_bytes(b'data' * 10**6)
    archives.verify_md5(tmp_path / 'a', torchvision_files.calculate_md5(tmp_path / 'a'))
    with pytest.raises(UserError, match='not the published one'):
        archives.verify_md5(tmp_path / 'a', '0' * 32)
    with pytest.raises(UserError, match='no such archive'):
        archives.verify_md5(tmp_path / 'b', '0' * 32)


def test_find_prefers_what_is_given(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    for path in (tmp_path / 'a.tar', tmp_path / 'elsewhere' / 'a.tar'):
        assert archives.find('a.tar', [], tmp_path) == (
            None if path.parent == tmp_path else tmp_path / 'a.tar')
        path.write_bytes(b'')
    given = [tmp_path / 'elsewhere' / 'b.tar', tmp_path / 'elsewhere' / 'a.tar']
    assert archives.find('a.tar', given, tmp_path) == given[1]
    assert archives.find('b.tar', given, tmp_path) is None


def test_a_download_does_not_wait_for_ever(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(torchvision_files, 'download_url',
                        lambda *args: seen.append(socket.getdefaulttimeout()))
    before = socket.getdefaulttimeout()
    assert archives.download('https://x', tmp_path, 'a.tar', '0') == tmp_path / 'a.tar'
    assert seen == [archives.TIMEOUT_S]
    assert socket.getdefaulttimeout() == before != archives.TIMEOUT_S


def test_only_large_members_ask_the_disk(tmp_path, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(archives, 'refuse_larger', lambda size, *_: asked.append(size))
    names = [(f'{number}', None, '') for number in range(9)]
    assert archives.extract(tar(tmp_path / 'a.tgz', *names), folder) == 10
    assert asked == []
    monkeypatch.setattr(archives, 'SMALL', 3)
    archives.extract(tar(tmp_path / 'a.tgz', *names), tmp_path / 'again')
    assert asked == [4] * 10


def test_sweeping_takes_no_folder_of_anyone_else(tmp_path):
    left, at_work = archives.beside(tmp_path / 'set'), archives.beside(tmp_path / 'train')
    for path in (tmp_path / 'set', tmp_path / '.set.partial', left, at_work):
        path.mkdir()
    archives.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {'set', '.set.partial', at_work.name}
