"""Tiny-ImageNet-200, in the folder layout of its archive.

    tiny-imagenet-200/wnids.txt                 the 200 classes, WordNet ids
                      words.txt                 what they mean
                      train/WNID/images/*.JPEG
                      val/images/*.JPEG, val/val_annotations.txt

Labels follow the sorted ids, as class folders do; the order of wnids.txt is another one.
Its test split has no public labels and is not read.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from classification.datasets import ImageFiles, chosen, class_folders
from refaug_det.data import archives as packed
from refaug_det.data.inspection import Expected, count_faults, image_faults
from refaug_det.data.sources import Fault, Report, refuse
from refaug_det.errors import UserError

FOLDER = 'tiny-imagenet-200'
URL, MD5 = f'http://cs231n.stanford.edu/{FOLDER}.zip', '90528d7ca1a48142e341f4ef8d21d0de'
SPLITS = ('train', 'val')
SIZE = (64, 64)
_SUFFIX = '.JPEG'
_WNID = re.compile(r'n\d{8}')
_AGAIN = 'move tiny-imagenet-200 away and run refaug-det data prepare tiny-imagenet'
Listed = list[tuple[Path, str]]  # an image and its class


@DATASETS.register_module()
class RefAugTinyImageNet(ImageFiles):
    """Tiny-ImageNet-200, 64 px; its classes are WordNet ids, labels follow their sorted order.

    Args:
        data_root: the folder `tiny-imagenet-200`, or the one that holds it.
        split: `train` or `val`.
        pipeline: configs of per-image transforms (`classification.transforms`).
        classes: names, in label order; by default all, sorted.

    Raises:
        UserError: a file or folder is not there, an image has no label or a label no
            image, or no such split or class.
    """

    def __init__(self, data_root: str, split: str, pipeline: Sequence[dict],
                 classes: Sequence[str] | None = None) -> None:
        known = class_names(data_root)
        names = chosen(known, classes, home(data_root))
        found, faults = listed(data_root, split, known)
        refuse(faults)
        label = {name: number for number, name in enumerate(names)}
        super().__init__([(path, label[name]) for path, name in found if name in label],
                         names, pipeline)

    @classmethod
    def names_in(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        root = config['data_root']
        return chosen(class_names(root), config.get('classes'), home(root))


def home(data_root: str | Path) -> Path:
    """The folder of the data set: `data_root` itself, or `tiny-imagenet-200` in it."""
    root = Path(data_root)
    return root if (root / 'wnids.txt').is_file() else root / FOLDER


def class_names(data_root: str | Path) -> tuple[str, ...]:
    """The WordNet ids in wnids.txt, sorted.

    Raises:
        UserError: no such file, or a line of it is none.
    """
    path = home(data_root) / 'wnids.txt'
    if not path.is_file():
        raise UserError('Tiny-ImageNet-200 is not here', path, 'pass the folder with '
                        f'{FOLDER}, or run refaug-det data prepare tiny-imagenet --root DIR')
    names = path.read_text(encoding='utf-8', errors='replace').split()
    for name in names:
        if not _WNID.fullmatch(name):
            raise UserError(f'{name[:40]!r} is no WordNet id', path, _AGAIN)
    return tuple(sorted(set(names)))


def listed(data_root: str | Path, split: str, names: Sequence[str]) -> tuple[Listed, list[Fault]]:
    """Every image of a split with its class, sorted by class and name, and what is wrong.

    Raises:
        UserError: no such split.
    """
    if split not in SPLITS:
        raise UserError(f'Tiny-ImageNet has no split {split!r} with labels', 'split',
                        'it is train or val')
    folder = home(data_root) / split
    return (_train if split == 'train' else _val)(folder, set(names))


def _train(folder: Path, names: set[str]) -> tuple[Listed, list[Fault]]:
    there = set(class_folders(folder)) if folder.is_dir() else set()
    faults = [Fault('a folder of a class that wnids.txt lacks', str(folder / name), _AGAIN)
              for name in sorted(there - names)]
    found = []
    for name in sorted(names):
        inside = folder / name / 'images'
        images = sorted(_images(inside))
        found += [(inside / image, name) for image in images]
        if not images:
            faults.append(Fault('no images for a class', str(inside), _AGAIN))
    return found, faults


def _val(folder: Path, names: set[str]) -> tuple[Listed, list[Fault]]:
    path = folder / 'val_annotations.txt'
    if not path.is_file():
        return [], [Fault('the labels of the validation images are missing', str(path), _AGAIN)]
    text = path.read_text(encoding='utf-8', errors='replace')
    lines = [line.split('\t') for line in text.splitlines() if line.strip()]
    label, faults = {}, []
    for line in lines:
        image, name = line[0], line[1] if len(line) > 1 else ''
        if name not in names:
            faults.append(Fault(f'{image[:40]!r} is of the class {name[:40]!r}, which wnids.txt '
                                'lacks', str(path), _AGAIN))
        if label.setdefault(image, name) != name:
            faults.append(Fault(f'{image[:40]!r} has two labels', str(path), _AGAIN))
    inside = folder / 'images'
    images = set(_images(inside))
    faults += [Fault('an image without a label in val_annotations.txt', str(inside / image), _AGAIN)
               for image in sorted(images - {*label})]
    faults += [Fault('a label without an image', str(inside / Path(image).name), _AGAIN)
               for image in sorted({*label} - images)]
    found = sorted((label[image], image) for image in images & {*label} if label[image] in names)
    return [(inside / image, name) for name, image in found], faults


def _images(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(_SUFFIX)
            and not name.startswith('.')] if folder.is_dir() else []


@dataclass(frozen=True)
class TinyImageNetSource:
    """Prepares and checks Tiny-ImageNet-200 (`refaug_det.data.sources.Source`)."""

    classes: int
    expected: Mapping[str, Expected]
    about: str = f'Tiny-ImageNet-200: {URL} (md5 {MD5})'

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        folder = home(root)
        if folder.exists():
            refuse(self.check(root, quick=True).faults)
            return f'Tiny-ImageNet-200 is already in {folder}'
        if len(archives) > 1:
            raise UserError(f'{len(archives)} archives given', '--from', 'Tiny-ImageNet is one')
        archive = archives[0] if archives else packed.download(URL, root, f'{FOLDER}.zip', MD5)
        packed.verify_md5(archive, MD5)
        with packed.aside(folder) as partial:
            count = packed.extract(archive, partial)
            refuse(self.check(partial, quick=True).faults)
            (partial / FOLDER).rename(folder)
        return f'extracted {count} files of {archive} to {folder}'

    def recognises(self, root: Path) -> bool:
        return (home(root) / 'wnids.txt').is_file()

    def check(self, root: Path, quick: bool = False) -> Report:
        try:
            names = class_names(root)
        except UserError as error:
            return Report('tiny-imagenet', str(root),
                          faults=[Fault(error.what, error.where, error.fix)])
        images, faults = {}, []
        words = home(root) / 'words.txt'
        if not words.is_file():
            faults.append(Fault('a file of the data set is missing', str(words), _AGAIN))
        for split in SPLITS:
            found, wrong = listed(root, split, names)
            counts = Counter(name for _, name in found)
            images[split] = len(found)
            faults += [*wrong, *count_faults(split, home(root) / split, counts, self.classes,
                                             self.expected[split])]
            faults += image_faults([path for path, _ in found], quick, SIZE)
        return Report('tiny-imagenet', str(root), images, len(names), faults)


source = TinyImageNetSource(200, {'train': Expected(100_000, 500, 500),
                                  'val': Expected(10_000, 50, 50)})
