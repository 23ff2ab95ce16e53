"""Folders in VOC layout: `Annotations/*.xml`, `JPEGImages/*.jpg`, `ImageSets/Main/LIST.txt`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath

from detection.check import fault, read_list
from detection.voc_xml import Example, read_example
from refaug_det.data.sources import Fault, Report

LISTS = ('train', 'val', 'trainval', 'test')


def homes(root: Path) -> list[Path]:
    """The folders with a VOC layout: `root` itself, or those in it, such as `VOC2007`."""
    if (root / 'Annotations').is_dir():
        return [root]
    found = root.iterdir() if root.is_dir() else ()
    return sorted(folder for folder in found if (folder / 'Annotations').is_dir())


def list_file(home: Path, split: str) -> Path:
    return home / 'ImageSets' / 'Main' / f'{split}.txt'


def check_home(home: Path, quick: bool = False, classes: Collection[str] | None = None,
               expected: Mapping[str, int] | None = None) -> Report:
    """Look for all that is wrong with a folder in VOC layout.

    Args:
        home: the folder with `Annotations`.
        quick: do not decode the images.
        classes: names that objects may have; None for any.
        expected: list -> number of images in it; by default those of `LISTS` that are there;
            trainval has to be, and test or val.
    """
    faults: list[Fault] = []
    lists: dict[str, list[str]] = {}
    there = {split for split in LISTS if list_file(home, split).is_file()}
    needed = {'trainval'} if 'val' in there else {'trainval', 'test'}
    for split in expected or [split for split in LISTS if split in there | needed]:
        lists[split], found = read_list(list_file(home, split))
        faults += found
        if expected and len(lists[split]) != expected[split] and list_file(home, split).is_file():
            faults.append(Fault(
                f'{split} has {len(lists[split])} images, not {expected[split]}',
                str(list_file(home, split)), 'prepare the data set again', kind='wrong number'))
    ids = list(dict.fromkeys(image_id for found in lists.values() for image_id in found))
    examples = {each.image_id: each for each in _read(home, ids, classes, not quick)}
    faults += [found for each in examples.values() for found in each.faults]
    faults += _filename_faults(home, examples) + _list_faults(home, lists, examples)
    names = _names(examples.values())
    faults += [fault('similar classes', f'classes {" and ".join(map(repr, alike))} differ in '
                     'capitals or spaces only', home) for alike in _alike(names)]
    return Report('voc-folder', str(home), {split: len(found) for split, found in lists.items()},
                  len(names), faults)


def _read(home: Path, ids: Sequence[str], classes: Collection[str] | None,
          decoded: bool) -> Iterator[Example]:
    """Every image of the lists in their order; shows progress in a terminal."""
    from rich.console import Console
    from rich.progress import track

    def read(image_id: str) -> Example:
        return read_example(image_id, home / 'JPEGImages' / f'{image_id}.jpg',
                            home / 'Annotations' / f'{image_id}.xml', classes, decoded=decoded)

    console = Console(stderr=True)
    with ThreadPool() as pool:  # reading and decoding release the interpreter's lock
        yield from track(pool.imap(read, ids, chunksize=16), 'checking images', len(ids),
                         console=console, transient=True, disable=not console.is_terminal)


def _names(examples: Collection[Example]) -> set[str]:
    return {item.name for each in examples for item in each.objects}


def _alike(names: Collection[str]) -> list[list[str]]:
    """Groups of names that are equal but for capitals, spaces, hyphens and underscores."""
    groups = defaultdict(list)
    for name in sorted(names):
        groups[re.sub(r'[\s_-]', '', name).casefold()].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _filename_faults(home: Path, examples: Mapping[str, Example]) -> list[Fault]:
    """Annotations that name another image of the set; none if most do: it was renumbered."""
    others = [each for each in examples.values()
              if (stem := PureWindowsPath(each.filename).stem) != each.image_id
              and stem in examples]
    return [] if 2 * len(others) > len(examples) else [
        fault('other filename', f'the annotation says that it is of {each.filename[:80]!r}',
              home / 'Annotations' / f'{each.image_id}.xml') for each in others]


def _list_faults(home: Path, lists: Mapping[str, Sequence[str]],
                 examples: Mapping[str, Example]) -> list[Fault]:
    """What one list has and should not, or should have, because of another."""
    trained = 'trainval' if 'trainval' in lists and 'test' in lists else 'train'
    tested = 'test' if 'test' in lists else 'val'
    if not lists.get(trained) or not lists.get(tested):
        return []
    faults, path = [], list_file(home, tested)
    if both := sorted({*lists[trained]} & {*lists[tested]}):
        faults.append(fault('in two lists', f'images of {tested} that are in {trained} too: '
                            f'{len(both)}, such as {both[0]!r}', path))
    of = {split: _names([examples[image_id] for image_id in lists[split]])
          for split in (trained, tested)}
    faults += [fault('class never trained', f'class {name!r:.60} is in {tested}, not in {trained}',
                     path) for name in sorted(of[tested] - of[trained])]
    return faults
