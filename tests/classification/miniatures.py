"""Published data sets with few images, in their true layouts: the fixture `miniatures`.

An image is of one colour that says its class: red is 20 x label, in the data set's own
order of labels. Tests give the checksums of what is written here to the code they test.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

CIFAR10_NAMES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship',
                 'truck')
CIFAR100_NAMES = tuple(f'fine_{number:02d}' for number in range(12))
WNIDS = ('n01443537', 'n01629819', 'n02058221')  # sorted, as labels are
LAST_WNID_FIRST = (WNIDS[2], WNIDS[0], WNIDS[1])  # as wnids.txt is not
STEP = 20  # of red, from one label to the next


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def jpeg(label: int, size: int = 64) -> bytes:
    """A square JPEG whose red is 20 x label."""
    data = io.BytesIO()
    Image.new('RGB', (size, size), (STEP * label, 90, 90)).save(data, 'JPEG', quality=95)
    return data.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes] | Sequence[tarfile.TarInfo]) -> Path:
    """A tar archive (compressed if its name says so) of files, or of bare headers."""
    mode = 'w:gz' if path.suffix in ('.gz', '.tgz') else 'w'
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member)
            info.size = len(members[member])
            tar.addfile(info, io.BytesIO(members[member]))
    return path


def cifar(root: Path, patch, name: str = 'cifar10') -> Path:
    """`root` with a CIFAR: 5 training images and 1 test image a class; torchvision knows its md5.

    The top left pixel's green is 255, the top right one's blue is.
    """
    kind, names = ((CIFAR10, CIFAR10_NAMES) if name == 'cifar10' else (CIFAR100, CIFAR100_NAMES))
    key = 'labels' if name == 'cifar10' else 'fine_labels'
    folder = root / kind.base_folder
    folder.mkdir(parents=True)

    def write(file: str, value: object) -> str:
        data = pickle.dumps(value, protocol=2)
        (folder / file).write_bytes(data)
        return md5(data)

    def batch(file: str, copies: int, backwards: bool) -> list[str]:
        labels = list(range(len(names))) * copies
        labels = labels[::-1] if backwards else labels
        images = np.full((len(labels), 3, 32, 32), 90, np.uint8)
        images[:, 0] = STEP * np.array(labels)[:, None, None]
        images[:, 1, 0, 0] = images[:, 2, 0, 31] = 255
        return [file, write(file, {'batch_label': file, key: labels, 'filenames': [],
                                   'data': images.reshape(len(labels), -1)})]

    train = [batch(file, 5 // len(kind.train_list), True) for file, _ in kind.train_list]
    patch.setattr(kind, 'train_list', train)
    patch.setattr(kind, 'test_list', [batch(kind.test_list[0][0], 1, False)])
    meta = write(kind.meta['filename'], {kind.meta['key']: list(names)})
    patch.setattr(kind, 'meta', dict(kind.meta, md5=meta))
    return root


def cifar_archive(root: Path, patch, name: str = 'cifar10') -> Path:
    """The archive of such a CIFAR in `root`; torchvision knows its md5."""
    kind = CIFAR10 if name == 'cifar10' else CIFAR100
    cifar(root / 'packed', patch, name)
    made = shutil.make_archive(str(root / 'cifar'), 'gztar', root / 'packed', kind.base_folder)
    archive = Path(made).rename(root / kind.filename)
    patch.setattr(kind, 'tgz_md5', md5(archive.read_bytes()))
    return archive


def tiny_imagenet(root: Path) -> Path:
    """`root` with a Tiny-ImageNet-200 of 3 classes, 2 training and 2 validation images each."""
    folder = root / 'tiny-imagenet-200'
    lines = []
    for split in ('train', 'val', 'test'):
        (folder / split / 'images').mkdir(parents=True)
    (folder / 'train' / 'images').rmdir()
    (folder / 'test' / 'images' / 'test_0.JPEG').write_bytes(jpeg(0))
    for place, name in enumerate(LAST_WNID_FIRST):
        images = folder / 'train' / name / 'images'
        images.mkdir(parents=True)
        (images.parent / f'{name}_boxes.txt').write_text(f'{name}_0.JPEG\t0\t0\t62\t62\n')
        for number in range(2):
            data = jpeg(WNIDS.index(name))
            (images / f'{name}_{number}.JPEG').write_bytes(data)
            image = f'val_{3 * number + place}.JPEG'
            (folder / 'val' / 'images' / image).write_bytes(data)
            lines.append(f'{image}\t{name}\t0\t0\t62\t62\n')
    (folder / 'val' / 'val_annotations.txt').write_text(''.join(lines))
    (folder / 'wnids.txt').write_text('\n'.join(LAST_WNID_FIRST) + '\n')
    (folder / 'words.txt').write_text(''.join(f'{name}\tan animal\n' for name in WNIDS))
    return root


def imagenet_archives(root: Path, patch) -> dict[str, Path]:
    """ImageNet's train, val and devkit archives: 3 classes, 2 + 2 images each."""
    from scipy.io import savemat
    from torchvision.datasets import imagenet

    def tar_of(name: str) -> bytes:
        path = write_tar(root / 'inner.tar', {f'{name}_{n}.JPEG': jpeg(WNIDS.index(name))
                                              for n in range(2)})
        data = path.read_bytes()
        path.unlink()
        return data

    ids = [3, 1, 2]  # ILSVRC2012_ID of the sorted WordNet ids; 4 is no leaf
    kinds = [('ILSVRC2012_ID', 'i4'), ('WNID', 'O'), ('words', 'O'), ('gloss', 'O'),
             ('num_children', 'i4')]
    synsets = np.array([(i, name, 'a, b', 'g', 0) for i, name in zip(ids, WNIDS, strict=True)]
                       + [(4, 'n00001740', 'entity', 'g', 3)], dtype=kinds)
    meta = io.BytesIO()
    savemat(meta, {'synsets': synsets})
    truth = [2, 3, 1, 3, 1, 2]
    kit = 'ILSVRC2012_devkit_t12/data'
    contents = {
        'train': {f'{name}.tar': tar_of(name) for name in LAST_WNID_FIRST},
        'val': {f'ILSVRC2012_val_{n:08d}.JPEG': jpeg(ids.index(i))
                for n, i in reversed(list(enumerate(truth, 1)))},
        'devkit': {f'{kit}/meta.mat': meta.getvalue(),
                   f'{kit}/ILSVRC2012_validation_ground_truth.txt':
                       ''.join(f'{i}\n' for i in truth).encode()}}
    made = {key: write_tar(root / imagenet.ARCHIVE_META[key][0], members)
            for key, members in contents.items()}
    patch.setattr(imagenet, 'ARCHIVE_META', {
        key: (path.name, md5(path.read_bytes())) for key, path in made.items()})
    return made
