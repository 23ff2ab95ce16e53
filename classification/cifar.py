"""CIFAR-10 and CIFAR-100, from the files that torchvision reads.

Nothing is unpickled before its md5 was found to be that of the published file.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from classification.datasets import LabelledImages, chosen
from refaug_det.data import archives as packed
from refaug_det.data.inspection import Expected, count_faults
from refaug_det.data.sources import Fault, Report, refuse
from refaug_det.errors import UserError

KINDS = {'cifar10': CIFAR10, 'cifar100': CIFAR100}
SPLITS = ('train', 'test')


@DATASETS.register_module()
class RefAugCIFAR(LabelledImages):
    """CIFAR-10 or CIFAR-100, 32 px, kept in memory as one array (N, 3, 32, 32).

    Args:
        data_root: folder that holds `cifar-10-batches-py` or `cifar-100-python`.
        split: `train` or `test`.
        pipeline: configs of per-image transforms (`classification.transforms`).
        name: `cifar10` or `cifar100` (its 100 fine classes).
        classes: names, in label order; by default those of the data set, in its order.

    Raises:
        UserError: a file is not there or not the published one, or no such split or class.
    """

    def __init__(self, data_root: str, split: str, pipeline: Sequence[dict],
                 name: str = 'cifar10', classes: Sequence[str] | None = None) -> None:
        known = class_names(data_root, name)
        names = chosen(known, classes, Path(data_root))
        self.images, labels = load(data_root, split, name)
        if names != known:
            number = np.array([names.index(n) if n in names else -1 for n in known])
            labels = number[labels]
            self.images, labels = self.images[labels >= 0], labels[labels >= 0]
        self.labels = labels
        self.folder = Path(data_root) / KINDS[name].base_folder
        super().__init__(names, pipeline)

    @classmethod
    def names_in(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        known = class_names(config['data_root'], config.get('name', 'cifar10'))
        return chosen(known, config.get('classes'), config['data_root'])

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.images[index].copy()), int(self.labels[index])

    def where(self, index: int) -> object:
        return f'{self.folder}, image {index}'

    def __len__(self) -> int:
        return len(self.images)


def class_names(data_root: str | Path, name: str) -> tuple[str, ...]:
    """The classes of a CIFAR in label order, from its small meta file.

    Raises:
        UserError: no such data set, or the file is not there or not the published one.
    """
    kind = _kind(name)
    path = Path(data_root) / kind.base_folder / kind.meta['filename']
    data = path.read_bytes() if path.is_file() else b''
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != kind.meta['md5']:
        refuse(file_faults(data_root, name))
    return tuple(pickle.loads(data, encoding='latin1')[kind.meta['key']])


def load(data_root: str | Path, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 3, 32, 32), and labels, int64 (N,), of a split.

    Raises:
        UserError: as `RefAugCIFAR`.
    """
    kind = _kind(name)
    if split not in SPLITS:
        raise UserError(f'CIFAR has no split {split!r}', 'split', 'it is train or test')
    try:
        read = kind(str(data_root), train=split == 'train')
    except RuntimeError:  # it does not say which file
        refuse(file_faults(data_root, name))
        raise
    return np.ascontiguousarray(read.data.transpose(0, 3, 1, 2)), np.array(read.targets)


def file_faults(data_root: str | Path, name: str) -> list[Fault]:
    """The files that are not there, or not the published ones."""
    kind = _kind(name)
    folder = Path(data_root) / kind.base_folder
    if not folder.is_dir():
        return [Fault(f'{name} is not here', str(folder),
                      f'refaug-det data prepare {name} --root {data_root}')]
    fix = f'move {folder} away and run refaug-det data prepare {name} --root {data_root}'
    files = [*kind.train_list, *kind.test_list, (kind.meta['filename'], kind.meta['md5'])]
    return [Fault('a file of the data set is missing' if not (folder / file).is_file() else
                  'the file is not the published one (md5)', str(folder / file), fix)
            for file, md5 in files if not check_integrity(folder / file, md5)]


@dataclass(frozen=True)
class CIFARSource:
    """Prepares and checks a CIFAR (`refaug_det.data.sources.Source`)."""

    name: str
    about: str
    classes: int
    expected: Mapping[str, Expected]

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        kind = KINDS[self.name]
        folder = root / kind.base_folder
        if folder.exists():
            refuse(file_faults(root, self.name))
            return f'{self.name} is already in {folder}, whole'
        if len(archives) > 1:
            raise UserError(f'{len(archives)} archives given', '--from', f'{self.name} is one')
        archive = archives[0] if archives else packed.download(
            kind.url, root, kind.filename, kind.tgz_md5)
        packed.verify_md5(archive, kind.tgz_md5)
        with packed.aside(folder) as partial:
            packed.extract(archive, partial)
            refuse(file_faults(partial, self.name))
            (partial / folder.name).rename(folder)
        return f'extracted {archive} to {folder}, every file as published'

    def lies_in(self, root: Path) -> bool:
        return (root / KINDS[self.name].base_folder).is_dir()

    def check(self, root: Path, quick: bool = False) -> Report:
        faults = file_faults(root, self.name)
        if faults:
            return Report(self.name, str(root), faults=faults)
        names, images = class_names(root, self.name), {}
        for split in SPLITS:
            _, labels = load(root, split, self.name)
            images[split] = len(labels)
            counts = Counter(names[label] for label in labels)
            faults += count_faults(split, root, counts, self.classes, self.expected[split])
        return Report(self.name, str(root), images, len(names), faults)


def _kind(name: str) -> Any:
    if name not in KINDS:
        raise UserError(f'no CIFAR {name!r}', 'name', 'it is cifar10 or cifar100')
    return KINDS[name]


cifar10 = CIFARSource(
    'cifar10', 'CIFAR-10, python version: https://www.cs.toronto.edu/~kriz/cifar.html', 10,
    {'train': Expected(50_000, 5000, 5000), 'test': Expected(10_000, 1000, 1000)})
cifar100 = CIFARSource(
    'cifar100', 'CIFAR-100, python version: https://www.cs.toronto.edu/~kriz/cifar.html', 100,
    {'train': Expected(50_000, 500, 500), 'test': Expected(10_000, 100, 100)})
