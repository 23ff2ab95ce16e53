"""Archives of data sets: found or downloaded, verified, extracted whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import socket
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from refaug_det.errors import UserError
from refaug_det.runs.files import TEMPORARY_SUFFIX, name_if_full

SMALL = 1 << 20  # bytes of a member for which the disk is not asked: of a network it is slow
_SUFFIX = f'.refaug-det{TEMPORARY_SUFFIX}'  # a folder called so is no one else's
TIMEOUT_S = 30  # without one, a network that swallows packets holds a download for minutes
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
            EOFError, RuntimeError)  # RuntimeError: an encrypted zip, or an unknown compression


def verify_md5(archive: Path, md5: str) -> None:
    """Refuse an archive that is not the published one.

    Raises:
        UserError: no such file, or another digest.
    """
    from rich import progress
    from rich.console import Console

    if not archive.is_file():
        raise UserError('no such archive', archive, 'name the file with --from')
    console, found = Console(stderr=True), hashlib.md5(usedforsecurity=False)
    with progress.open(archive, 'rb', description=f'md5 of {archive.name}', console=console,
                       transient=True, disable=not console.is_terminal) as file:
        while data := file.read(1 << 20):
            found.update(data)
    if found.hexdigest() != md5:
        raise UserError(f'the archive is not the published one: md5 {found.hexdigest()}, not {md5}',
                        archive, 'a download that broke off, or another file: get it again')


def find(name: str, archives: Sequence[Path], root: Path) -> Path | None:
    """The archive called `name` among those given, or else in `root`, if there is one."""
    return next((path for path in [*archives, root / name]
                 if path.name == name and path.is_file()), None)


def download(url: str, root: Path, name: str, md5: str) -> Path:
    """`root/name`, downloaded by torchvision unless it is there, and verified.

    Raises:
        UserError: no network, or not the published file.
    """
    from torchvision.datasets import utils

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        utils.download_url(url, root, name, md5)
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        raise UserError(f'cannot download {name} ({str(error)[:200]})', url,
                        f'get it elsewhere, then pass --from {name} or put it into {root}'
                        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return root / name


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, to be filled and renamed; removed at the end.

    What a killed run left in it is removed first.
    """
    folder = beside(target)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(target: Path) -> Path:
    """The temporary name of `target`."""
    target = target.absolute()  # else `.` has no name
    return target.with_name(f'.{target.name}{_SUFFIX}')


def sweep(root: Path) -> None:
    """Remove what killed runs left beside data that is in place, in a folder or beside it.

    What lies there without its target is kept: ImageNet's extraction goes on in it.
    """
    for left in [*root.glob(f'.*{_SUFFIX}'), beside(root)]:
        if left.with_name(left.name[1:].removesuffix(_SUFFIX)).exists():
            shutil.rmtree(left, ignore_errors=True)


def extract(archive: Path, folder: Path) -> int:
    """Extract a tar (compressed or not) or zip archive; returns the number of files.

    Raises:
        UserError: it is damaged, or a member is no plain file or would lie outside `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with readable(archive, folder):
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                return extract_tar(tar, folder, archive)
        with zipfile.ZipFile(archive) as packed:
            refuse_larger(sum(info.file_size for info in packed.infolist()), folder, archive)
            for info in packed.infolist():
                link = stat.S_ISLNK(info.external_attr >> 16)
                refuse_escape(info.filename, not link, folder, archive)
                packed.extract(info, folder)
            return sum(not info.is_dir() for info in packed.infolist())


def extract_tar(tar: tarfile.TarFile, folder: Path, where: object) -> int:
    """Extract an open tar archive; as `extract`."""
    # stricter than the filter, which old Pythons lack: no links at all
    tar.extraction_filter = getattr(tarfile, 'data_filter', lambda member, path: member)
    count = 0
    for member in tar:
        refuse_escape(member.name, member.isfile() or member.isdir(), folder, where)
        if member.size > SMALL:
            refuse_larger(member.size, folder, where)
        tar.extract(member, folder)
        count += member.isfile()
    # tarfile takes one that is cut off between two members for whole: its end is a block of zeros
    if tar.fileobj is not None and tar.fileobj.tell() < tar.offset + tarfile.BLOCKSIZE:
        raise EOFError('the end of the archive is missing')
    return count


def refuse_larger(size: int, folder: Path, where: object) -> None:
    """Refuse what would fill the disk.

    Raises:
        UserError: `size` bytes are more than are free.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f'the archive unpacks to {size:,} bytes, {free:,} are free', where,
                        'free space, if that is its size')


def refuse_escape(name: str, plain: bool, folder: Path, where: object) -> None:
    """Refuse a member that is no plain file or folder, lies outside, or comes twice.

    Raises:
        UserError: it is one of these.
    """
    path = PureWindowsPath(name)  # sees / and \\ alike, and drives
    what = ('is a link or a device' if not plain else
            'lies outside its folder' if path.anchor or '..' in path.parts else
            'comes twice' if (folder / name).is_file() else None)
    if what:
        raise UserError(f'a member of the archive {what}: {name[:200]!r}', where,
                        'nothing was kept of it; use the published archive')


@contextmanager
def readable(archive: object, folder: Path | None = None) -> Iterator[None]:
    """Turns what a damaged archive or a full disk raises into a `UserError`.

    Args:
        folder: where it is extracted, whose disk may be full.
    """
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f'the archive is damaged or breaks off ({str(error)[:200]})', archive,
                        'get it again; it is a tar or zip archive') from None
    except OSError as error:
        if folder is not None:
            name_if_full(error, folder)
        raise UserError(f'cannot extract the archive: {error.strerror or error}',
                        error.filename or archive, 'free space, or mend the permissions') from None
