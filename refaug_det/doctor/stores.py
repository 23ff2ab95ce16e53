"""What lies on the disk: backbones, data sets, and what killed runs have left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from refaug_det.doctor.findings import FAULT, OK, WARNING, Finding, Places, first_line
from refaug_det.errors import UserError
from refaug_det.runs import files, locks, records

DIGESTED = 1 << 30  # bytes of weights whose digest is computed: a second or two
MOST_FILES = 50_000  # of a folder of runs; the rest is not looked at
MOST_FOLDERS = 50  # in the folder of data
OLD_S = 86_400  # seconds after which no one is still writing a temporary file
SHOWN = 5


def zoo(places: Places) -> Iterator[Finding]:
    """Whether the zoo can be used, and every backbone in it."""
    from refaug_det.backbones import zoo as backbones

    folder = backbones.zoo_dir()
    if not folder.exists():
        yield Finding('zoo', OK, f'no backbones yet in {folder}; tools/train_cls.py registers them')
        return
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        yield Finding('zoo', FAULT, f'cannot be read: {folder}',
                      'change its rights, or set REFAUG_DET_ZOO to another folder')
        return
    names, left = backbones.names(), DIGESTED
    wrong = []
    for name in names:
        weights = folder / name / backbones.WEIGHTS
        left -= weights.stat().st_size if weights.is_file() else 0
        if finding := backbone(name, digest=left >= 0):
            wrong.append(finding)
    yield from wrong
    if not os.access(folder, os.W_OK):
        yield Finding('zoo', WARNING, f'nothing can be registered in {folder}: it is read-only',
                      'change its rights, or set REFAUG_DET_ZOO to another folder')
    elif not wrong:
        yield Finding('zoo', OK, f'{len(names)} backbones in {folder}, whole' + (
            '' if left >= 0 else f' by their headers; digests of {DIGESTED >> 30} GiB were '
            'computed, refaug-det backbone verify takes all'))


def backbone(name: str, *, digest: bool) -> Finding | None:
    """What is wrong with a backbone of the zoo; None if nothing is.

    Args:
        digest: compute that of its weights; else their header alone is read.
    """
    from safetensors import SafetensorError, safe_open

    from refaug_det.backbones import zoo as backbones

    try:
        if digest:
            backbones.verify(name)
            return None
        card = backbones.card(name)
        with safe_open(backbones.zoo_dir() / card.name / backbones.WEIGHTS, framework='np'):
            return None  # opening compares the length of the file with its header's
    except UserError as error:
        return Finding(f'backbone {name}', FAULT, f'{error.what}: {error.where}', error.fix)
    except (OSError, SafetensorError) as error:
        return Finding(f'backbone {name}', FAULT, f'its weights cannot be read: '
                       f'{first_line(error)}', 'register the backbone again, with --overwrite')


def data_sets(places: Places) -> Iterator[Finding]:
    """Which data sets lie in the folder of data, or in a folder in it."""
    from refaug_det.data import sources

    root = places.data_root
    if root is None:
        yield Finding('data sets', OK, 'not looked for: --data-root DIR looks')
        return
    if not root.is_dir():
        yield Finding('data sets', FAULT, f'no such folder: {root}', 'name the folder of the data')
        return
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    closed = [str(path) for path in inside if not os.access(path, os.R_OK | os.X_OK)]
    folders = [root, *[path for path in inside if str(path) not in closed][:MOST_FOLDERS]]
    there: dict[str, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    for name in sources.names():
        try:
            source = sources.source(name)
            lies_in = getattr(source, 'lies_in', None) or getattr(source, 'recognises', None)
            for folder in folders:
                with open_or_in(closed):
                    if lies_in and lies_in(folder):
                        there.setdefault(str(folder), []).append(name)
        except Exception as error:  # someone else's package, or one that this one asks for
            unknown.setdefault(f'{type(error).__name__}: {first_line(error)}', []).append(name)
    if closed:
        yield Finding('data sets', WARNING, f'cannot be looked into: {some(closed)}',
                      'change their rights, if data lie there')
    for said, names in unknown.items():
        yield Finding('data sets', FAULT, f'{", ".join(names)} cannot be looked for: {said}',
                      'mend the faults above it first; else install what offers them again')
    if known := [*filter(lambda name: name not in chain(*unknown.values()), sources.names())]:
        yield found_data(there, known, root)


@contextmanager
def open_or_in(closed: list[str]) -> Iterator[None]:
    """Add to `closed` what may not be read, unless it lies in one that is in there."""
    try:
        yield
    except PermissionError as error:
        path = Path(str(error.filename))
        if not {str(path), *map(str, path.parents)} & {*closed}:
            closed.append(str(path))


def found_data(there: Mapping[str, Sequence[str]], known: Sequence[str], root: Path) -> Finding:
    """Which data sets are there.

    Args:
        there: folder -> names of data sets that seem to lie in it.
        known: all names.
    """
    missing = [name for name in known if not any(name in names for names in there.values())]
    told = '; '.join(f'{", ".join(names)} in {folder}' for folder, names in there.items())
    if not told:
        return Finding('data sets', WARNING, f'none of {", ".join(known)} lies in {root}',
                       f'refaug-det data prepare NAME --root {root}')
    return Finding('data sets', OK, f'{told}; not there: {", ".join(missing) or "none"}',
                   'refaug-det data check FOLDER looks at every file')


def left_behind(places: Places) -> Iterator[Finding]:
    """Runs that were killed, and files of writers that were."""
    from refaug_det.backbones import zoo as backbones

    runs, partial, broken = [], [], []
    paths, cut, unread = below(places.work_dirs, MOST_FILES)
    in_zoo, _, unread_zoo = below(backbones.zoo_dir(), MOST_FILES)
    for path in paths:
        if path.name == records.FILE_NAME:
            try:
                record = records.read(path)
            except UserError as error:
                broken.append(f'{path} ({error.what})')
                continue
            with suppress(OSError):  # one may not lock what one may not write: someone else's
                if record.status == 'running' and not locks.is_held(path.parent / locks.FILE_NAME):
                    runs.append(str(path.parent))
        elif orphaned(path):
            partial.append(str(path))
    partial += [str(path) for path in in_zoo if orphaned(path)]
    unread += unread_zoo
    for name, found, fix in (
            ('killed runs', runs, 'give the same command again with --resume, or remove them'),
            ('run records', broken, 'restore them, or run the jobs again'),
            ('temporary files', partial, 'remove them: whoever wrote them was killed')):
        if found:
            yield Finding(name, WARNING, some(found), fix)
        elif not unread:  # else there may be some
            yield Finding(name, OK, f'none bad in {places.work_dirs}' if name == 'run records'
                          else 'none left')
    if unread:
        yield Finding('leftovers', WARNING, f'cannot be looked into: {some(unread)}',
                      'change their rights, or name another folder')
    if cut:
        yield Finding('runs', WARNING, f'more than {MOST_FILES} files in {places.work_dirs}; the '
                      'others were not looked at', 'name a part of it: --work-dirs DIR')


def some(found: Sequence[str]) -> str:
    """How many there are, and the first."""
    return f'{len(found)}: {", ".join(found[:SHOWN])}' + (' ...' if len(found) > SHOWN else '')


def below(folder: Path, most: int) -> tuple[list[Path], bool, list[str]]:
    """Run records, and temporary files and folders, in or below a folder.

    Args:
        most: files to look at.

    Returns:
        They, whether there were too many files, and the folders that cannot be looked into.
    """
    found: list[Path] = []
    errors: list[OSError] = []
    seen = 0
    for place, folders, names in os.walk(folder, onerror=errors.append):
        seen += len(names)
        if seen > most:
            break
        found += [Path(place, name) for name in [*folders, *names]
                  if name == records.FILE_NAME or name.endswith(files.TEMPORARY_SUFFIX)]
        folders[:] = [name for name in folders if not name.endswith(files.TEMPORARY_SUFFIX)]
    # a folder that is not there, or is gone meanwhile, holds nothing
    unread = [str(error.filename) for error in errors if not isinstance(error, FileNotFoundError)]
    return sorted(found), seen > most, unread


def orphaned(path: Path) -> bool:
    """Whether the writer of a temporary file has ended: it is no process here, or a day went by."""
    if not path.name.endswith(files.TEMPORARY_SUFFIX):
        return False
    if files.of_dead(path.name):
        return True
    with suppress(FileNotFoundError):  # it is finished meanwhile
        return time.time() - path.stat().st_mtime > OLD_S
    return False
