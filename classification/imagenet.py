"""ImageNet-1k (ILSVRC2012): from its published tar archives to class folders, which
`RefAugImageFolder` reads: root/{train,val}/WNID/*.JPEG.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torchvision.datasets import imagenet

from classification.image_folder import check_folders
from refaug_det.data import archives as packed
from refaug_det.data.inspection import Expected
from refaug_det.data.sources import Report
from refaug_det.errors import UserError

_CLASS_ARCHIVE = re.compile(r'n\d{8}\.tar')


def extract_train(archive: Path, folder: Path) -> int:
    """Extract the tar of one tar per class to `folder/WNID/*.JPEG`; returns the number of classes.

    A class appears whole or not at all, and one that is there is passed over: a
    run that was killed goes on where it was.

    Raises:
        UserError: the archive is damaged or hostile, or holds something else.
    """
    from rich.console import Console
    from rich.progress import track

    folder.mkdir(parents=True, exist_ok=True)
    console, count = Console(stderr=True), 0
    with packed.readable(archive, folder), tarfile.open(archive) as outer:
        for member in track(outer, 'classes of ImageNet', 1000, console=console, transient=True,
                            disable=not console.is_terminal):
            if not (member.isfile() and _CLASS_ARCHIVE.fullmatch(member.name)):
                raise UserError(f'no archive of a class: {member.name[:200]!r}', archive,
                                'use ILSVRC2012_img_train.tar as published')
            target = folder / PurePosixPath(member.name).stem
            count += 1
            if target.is_dir():
                continue
            with packed.aside(target) as partial:
                with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                    packed.extract_tar(inner, partial, f'{archive}, {member.name}')
                partial.rename(target)
    return count


def extract_val(archive: Path, devkit: Path, target: Path) -> int:
    """Extract the validation images to `target/WNID/*.JPEG`; returns their number.

    The classes come from the development kit, in the order of the images' names.

    Raises:
        UserError: an archive is damaged or hostile, or they do not fit together.
    """
    with tempfile.TemporaryDirectory() as place, packed.readable(devkit):
        imagenet.parse_devkit_archive(place, str(devkit.resolve()))  # verifies its md5
        classes = imagenet.load_meta_file(place)[1]
    with packed.aside(target) as partial:
        packed.extract(archive, partial)
        images = sorted(partial.iterdir())
        if len(images) != len(classes) or not all(path.is_file() for path in images):
            raise UserError(f'{len(images)} validation images for {len(classes)} labels', archive,
                            'use ILSVRC2012_img_val.tar as published')
        for path, name in zip(images, classes, strict=True):
            (partial / name).mkdir(exist_ok=True)
            path.rename(partial / name / path.name)
        partial.rename(target)
    return len(images)


@dataclass(frozen=True)
class ImageNetSource:
    """Prepares and checks ImageNet (`refaug_det.data.sources.Source`); it is never downloaded."""

    classes: int
    expected: Mapping[str, Expected]
    about: str = ('ImageNet, ILSVRC2012 (the archives of Task 1 and 2 and the development kit): '
                  'https://image-net.org/download, after registration')

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        wanted = [key for key in ('train', 'val') if not (root / key).is_dir()]
        for key in {'train', 'val'} - set(wanted):
            found = sum(path.is_dir() for path in (root / key).iterdir())
            if found != self.classes:
                raise UserError(f'{found} class folders instead of {self.classes}', root / key,
                                'move the folder away, or see refaug-det data check imagenet')
        if not wanted:
            return f'ImageNet is already in {root}: train, val'
        published = {key: imagenet.ARCHIVE_META[key]
                     for key in (*wanted, *(['devkit'] if 'val' in wanted else []))}
        found = {key: packed.find(name, archives, root) for key, (name, _) in published.items()}
        missing = [published[key][0] for key, path in found.items() if path is None]
        if missing:
            raise UserError(f'neither given nor in the folder: {", ".join(missing)}', root,
                            f'pass them with --from; they are not downloaded: {self.about}')
        done = []
        for key in wanted:
            archive = found[key]
            packed.verify_md5(archive, published[key][1])
            if key == 'train':
                partial = packed.beside(root / 'train')
                done.append(f'train {extract_train(archive, partial)} classes')
                partial.rename(root / 'train')
            else:
                packed.verify_md5(found['devkit'], published['devkit'][1])
                done.append(f'val {extract_val(archive, found["devkit"], root / "val")} images')
        return f'extracted ImageNet to {root}: {", ".join(done)}'

    def lies_in(self, root: Path) -> bool:
        return (root / 'train' / 'n01440764').is_dir()  # tench, its first class

    def check(self, root: Path, quick: bool = False) -> Report:
        return check_folders('imagenet', root, quick, self.classes, self.expected)


source = ImageNetSource(1000, {'train': Expected(1_281_167, 732, 1300),
                               'val': Expected(50_000, 50, 50)})
