"""Any image folder, `root/SPLIT/CLASS/IMAGE`: prepared from an archive, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from classification.datasets import class_folders, image_files
from refaug_det.data import archives as packed
from refaug_det.data.inspection import Expected, count_faults, image_faults
from refaug_det.data.sources import Fault, Report
from refaug_det.errors import UserError

LAYOUT = 'train/CLASS/*.jpg and val/CLASS/*.jpg'


def splits_in(root: Path) -> list[str]:
    """The folders in `root` that hold class folders, train first."""
    found = [name for name in class_folders(root) if class_folders(root / name)]
    return sorted(found, key=lambda name: name != 'train')


def check_folders(data_set: str, root: Path, quick: bool = False, classes: int | None = None,
                  expected: Mapping[str, Expected] | None = None) -> Report:
    """Look for all that is wrong with class folders.

    Args:
        data_set: name, for the report.
        root: folder that holds the splits.
        quick: do not decode the images.
        classes: how many there should be; by default any number.
        expected: split -> how many images it should have; by default any splits of any size.
    """
    splits = splits_in(root) if root.is_dir() else []
    faults = [Fault(f'no split {split!r}', str(root / split), f'it takes {LAYOUT}')
              for split in expected or ('train',) if split not in splits]
    if splits == ['train'] and not expected:
        faults.append(Fault('nothing to test on: train is the only split', str(root),
                            'add val/CLASS or test/CLASS'))
    images = {}
    names = {split: class_folders(root / split) for split in splits}
    known = sorted({name for found in names.values() for name in found})
    for split in splits:
        faults += [Fault(f'{split} lacks the class {name}, which another split has',
                         str(root / split / name), 'add images of it, or remove the class')
                   for name in known if name not in names[split]]
        files = {name: image_files(root / split / name) for name in names[split]}
        faults += [Fault('no images for a class', str(root / split / name),
                         'add images, or remove the folder')
                   for name, found in files.items() if not found]
        images[split] = sum(map(len, files.values()))
        if split in (expected or {}):
            counts = {name: len(found) for name, found in files.items()}
            faults += count_faults(split, root / split, counts, classes or len(known),
                                   expected[split])
        faults += image_faults([path for found in files.values() for path in found], quick)
    return Report(data_set, str(root), images, len(known), faults)


class ImageFolderSource:
    """Prepares and checks any image folder (`refaug_det.data.sources.Source`)."""

    about = f'class folders of your own: {LAYOUT}'

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        if root.is_dir() and splits_in(root):
            return f'there are class folders in {root} already: {", ".join(splits_in(root))}'
        if root.is_dir() and any(root.iterdir()):
            raise UserError('the folder holds something else than class folders', root,
                            f'name an empty or new folder; it becomes {LAYOUT}')
        if not archives:
            raise UserError('there is nothing to prepare an image folder from', root,
                            f'pass --from ARCHIVE, a tar or zip of {LAYOUT}')
        with packed.aside(root) as partial:
            count = sum(packed.extract(archive, partial) for archive in archives)
            inside = [path for path in partial.iterdir() if path.name != '__MACOSX']
            wrapped = len(inside) == 1 and (inside[0] / 'train').is_dir()
            filled = inside[0] if wrapped else partial
            if not (filled / 'train').is_dir():
                raise UserError('the archive has no folder train', archives[0],
                                f'it should hold {LAYOUT}')
            if not class_folders(filled / 'train'):
                raise UserError('the folder train of the archive has no class folders',
                                archives[0], f'it should hold {LAYOUT}')
            if root.is_dir():
                root.rmdir()  # empty; a rename onto it works on POSIX only
            filled.rename(root)
        return f'extracted {count} files to {root}: {", ".join(splits_in(root))}'

    def recognises(self, root: Path) -> bool:
        return (root / 'train').is_dir() and bool(class_folders(root / 'train'))

    def check(self, root: Path, quick: bool = False) -> Report:
        return check_folders('image-folder', root, quick)


source = ImageFolderSource()
