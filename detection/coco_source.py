"""COCO 2017, and any folder in its layout: prepared from its archives, and checked by name.

    annotations/instances_{train,val}2017.json    train2017/*.jpg    val2017/*.jpg
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detection import coco_annotations, shared_images
from detection.check import fault
from refaug_det.data import archives as packed
from refaug_det.data.sources import FATAL, Fault, Report, refuse
from refaug_det.errors import UserError

URLS = {'train2017.zip': 'http://images.cocodataset.org/zips/train2017.zip',
        'val2017.zip': 'http://images.cocodataset.org/zips/val2017.zip',
        'annotations_trainval2017.zip':
            'http://images.cocodataset.org/annotations/annotations_trainval2017.zip'}
SPLITS = ('train2017', 'val2017')
LAYOUT = 'annotations/instances_{train,val}2017.json, train2017/ and val2017/'


@dataclass(frozen=True)
class COCOSource:
    """Prepares and checks COCO 2017 (`refaug_det.data.sources.Source`).

    Attributes:
        images: split -> how many images it has.
        classes: how many categories it has.
    """

    images: Mapping[str, int]
    classes: int
    about: str = f'COCO 2017, train and val: {", ".join(URLS.values())}'

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        done = []
        for name, url in URLS.items():
            folder = root / name.partition('_')[0].removesuffix('.zip')
            if folder.is_dir():
                done.append(f'{folder.name} is already there')
                continue
            archive = packed.find(name, archives, root)
            if archive is None:
                raise UserError(f'{folder.name} is not here, and no archive of it', folder,
                                f'get {url} and pass --from {name}')
            with packed.aside(folder) as partial:
                count = packed.extract(archive, partial)
                if not (partial / folder.name).is_dir():
                    raise UserError(f'the archive has no folder {folder.name}', archive,
                                    f'use the published one: {url}')
                (partial / folder.name).rename(folder)
            done.append(f'extracted {count} files to {folder}')
        refuse(self.check(root, quick=True).faults)
        return '; '.join(done)

    def lies_in(self, root: Path) -> bool:
        return all(annotation_file(root, split).is_file() for split in self.images)

    def check(self, root: Path, quick: bool = False) -> Report:
        report = check_root('coco', root, quick, list(self.images))
        faults = [
            Fault(f'{split} has {has} {what}, not {wanted}', str(annotation_file(root, split)),
                  'use the published archives', kind='wrong number')
            for split, count in report.images.items()
            for has, wanted, what in ((count, self.images[split], 'images'),
                                      (report.classes, self.classes, 'categories'))
            if has != wanted]
        return replace(report, faults=[*report.faults, *faults])


class COCOFolderSource:
    """Checks any folder in COCO's layout (`refaug_det.data.sources.Source`)."""

    about = f'detection data of your own: {LAYOUT}'

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        if self.recognises(root):
            return f'there is a COCO layout in {root} already'
        raise UserError('a COCO folder is not made from archives', root, f'put in place {LAYOUT}')

    def recognises(self, root: Path) -> bool:
        return any((root / 'annotations').glob('instances_*2017.json'))

    def check(self, root: Path, quick: bool = False) -> Report:
        return check_root('coco-folder', root, quick)


def annotation_file(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}.json'


def check_root(name: str, root: Path, quick: bool, splits: Sequence[str] = SPLITS) -> Report:
    """Look for all that is wrong with a folder in COCO's layout.

    Args:
        name: of the data set.
        root: the folder.
        quick: do not decode the images.
        splits: those that have to be there.
    """
    counts, classes, faults = dict[str, int](), 0, list[Fault]()
    images = list[list[Path]]()  # of each split, those that can be read
    for split in splits:
        path = annotation_file(root, split)
        try:
            found = coco_annotations.read(path, root / split, decoded=not quick)
        except FileNotFoundError:
            faults.append(Fault('COCO is not here', str(path),
                                f'refaug-det data prepare coco --root {root}'))
            continue
        faults += found.faults
        if found.images:
            counts[split], classes = len(found.images), max(classes, len(found.categories))
        broken = {each.where for each in found.faults if each.level == FATAL}
        paths = [root / split / row['file_name'] for row in found.images]
        images.append([each for each in paths if str(each) not in broken])
    if len(images) == 2 and (both := shared_images.also_in(images[1], images[0])):
        faults.append(fault('in two lists', f'images of {splits[1]} that are in {splits[0]} too, '
                            f'under this or another name: {len(both)}, such as {both[0].name!r}',
                            annotation_file(root, splits[1])))
    return Report(name, str(root), counts, classes, faults)


source = COCOSource({'train2017': 118_287, 'val2017': 5000}, 80)
folder = COCOFolderSource()
