"""PASCAL VOC 2007, 2012 and both, and any folder in VOC layout: prepared and checked by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from detection.voc_folders import check_home, homes
from refaug_det.data import archives as packed
from refaug_det.data.sources import Fault, Report, refuse
from refaug_det.errors import UserError

CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor')
LAYOUT = 'VOC2007/{Annotations/*.xml,JPEGImages/*.jpg,ImageSets/Main/{trainval,test}.txt}'


class Year(NamedTuple):
    """Images in each list, and the archives by torchvision's names."""

    images: Mapping[str, int]
    archives: Sequence[str]


YEARS = {
    'VOC2007': Year(dict(train=2501, val=2510, trainval=5011, test=4952), ('2007', '2007-test')),
    'VOC2012': Year(dict(train=5717, val=5823, trainval=11540), ('2012',))}


@dataclass(frozen=True)
class VOCSource:
    """Prepares and checks years of PASCAL VOC (`refaug_det.data.sources.Source`)."""

    name: str
    about: str
    years: Mapping[str, Year]
    classes: Sequence[str] = CLASSES

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        """As `Source.prepare`; the test archive of 2007 is merged into the other's folder."""
        from torchvision.datasets.voc import DATASET_YEAR_DICT

        known = {key: DATASET_YEAR_DICT[key] for y in self.years.values() for key in y.archives}
        names = [each['filename'] for each in known.values()]
        for archive in archives:
            if archive.name not in names:
                raise UserError('this is no archive of the data set', archive,
                                f'it takes {", ".join(names)}')
        return '; '.join(self._year(root / year, [known[key] for key in self.years[year].archives],
                                    archives) for year in self.years)

    def _year(self, folder: Path, wanted: Sequence[Mapping[str, str]],
              archives: Sequence[Path]) -> str:
        if folder.exists():
            refuse(self._check(folder, quick=True).faults)
            return f'{folder.name} is already in {folder}'
        found = []
        for each in wanted:
            name, md5 = each['filename'], each['md5']
            found.append(packed.find(name, archives, folder.parent)
                         or packed.download(each['url'], folder.parent, name, md5))
            packed.verify_md5(found[-1], md5)
        with packed.aside(folder) as partial:
            count = 0
            for archive in found:
                count += packed.extract(archive, partial / archive.stem)
                merge(partial / archive.stem / 'VOCdevkit' / folder.name, partial / folder.name,
                      archive)
            refuse(self._check(partial / folder.name, quick=True).faults)
            (partial / folder.name).rename(folder)
        return f'extracted {count} files to {folder}'

    def lies_in(self, root: Path) -> bool:
        lists = {year: root / year / 'ImageSets' / 'Main' / 'trainval.txt' for year in self.years}
        return all(lists[year].is_file() and lists[year].read_bytes().count(b'\n')
                   == self.years[year].images['trainval'] for year in self.years)

    def check(self, root: Path, quick: bool = False) -> Report:
        return joined(self.name, root, [self._check(root / year, quick) for year in self.years])

    def _check(self, folder: Path, quick: bool) -> Report:
        if not (folder / 'Annotations').is_dir():
            return Report(self.name, str(folder), faults=[Fault(
                'the data set is not here', str(folder),
                f'refaug-det data prepare {self.name} --root {folder.parent}')])
        return check_home(folder, quick, self.classes, self.years[folder.name].images)


class VOCFolderSource:
    """Prepares and checks any folder in VOC layout (`refaug_det.data.sources.Source`)."""

    about = f'detection data of your own: {LAYOUT}'

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        if homes(root):
            return f'there is a VOC layout in {root} already'
        if not archives:
            raise UserError('there is nothing to prepare a VOC folder from', root,
                            f'pass --from ARCHIVE, a tar or zip of {LAYOUT}')
        target = root / 'VOC2007'  # where the configs look
        with packed.aside(target) as partial:
            count = sum(packed.extract(archive, partial) for archive in archives)
            inside = [path.parent for path in partial.rglob('Annotations') if path.is_dir()]
            if len(inside) != 1:
                raise UserError(f'the archive has {len(inside)} folders Annotations, not one',
                                archives[0], f'it should hold {LAYOUT}')
            refuse(check_home(inside[0], quick=True).faults)
            inside[0].rename(target)
        return f'extracted {count} files to {target}'

    def recognises(self, root: Path) -> bool:
        return bool(homes(root))

    def check(self, root: Path, quick: bool = False) -> Report:
        found = homes(root)
        if not found:
            return Report('voc-folder', str(root), faults=[Fault(
                'no folder with Annotations here', str(root), f'it takes {LAYOUT}')])
        return joined('voc-folder', root, [check_home(home, quick) for home in found])


def joined(name: str, root: Path, reports: Sequence[Report]) -> Report:
    """Reports of several folders as one; their lists are named by the folder, if several."""
    if len(reports) == 1:
        return replace(reports[0], data_set=name, root=str(root))
    return Report(name, str(root), {f'{Path(each.root).name} {split}': count for each in reports
                                    for split, count in each.images.items()},
                  max(each.classes for each in reports),
                  [found for each in reports for found in each.faults])


def merge(source: Path, target: Path, where: object) -> None:
    """Move every file of a folder to the same place in another.

    Raises:
        UserError: no such folder, or a file is there with other contents.
    """
    if not source.is_dir():
        raise UserError(f'the archive has no folder {"/".join(source.parts[-2:])}', where,
                        'use the published archive')
    for path in sorted(path for path in source.rglob('*') if path.is_file()):
        place = target / path.relative_to(source)
        if place.is_file() and place.read_bytes() != path.read_bytes():
            raise UserError(f'two archives differ in {place.relative_to(target)}', where,
                            'use the published archives')
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


voc2007 = VOCSource('voc2007', 'PASCAL VOC 2007, trainval and test: '
                    'http://host.robots.ox.ac.uk/pascal/VOC/voc2007', {'VOC2007': YEARS['VOC2007']})
voc2012 = VOCSource('voc2012', 'PASCAL VOC 2012, trainval: '
                    'http://host.robots.ox.ac.uk/pascal/VOC/voc2012', {'VOC2012': YEARS['VOC2012']})
voc0712 = VOCSource('voc0712', 'PASCAL VOC 2007 and 2012, to train on both', YEARS)
folder = VOCFolderSource()
