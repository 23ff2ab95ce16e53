"""COCO 2017 in its own layout: prepared from its archives, and checked as mmdet reads it.

    annotations/instances_{train,val}2017.json    train2017/*.jpg    val2017/*.jpg
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath
from typing import Any

from detection.check import fault, read_image
from refaug_det.data import archives as packed
from refaug_det.data.sources import Fault, Report, refuse
from refaug_det.errors import UserError

URLS = {'train2017.zip': 'http://images.cocodataset.org/zips/train2017.zip',
        'val2017.zip': 'http://images.cocodataset.org/zips/val2017.zip',
        'annotations_trainval2017.zip':
            'http://images.cocodataset.org/annotations/annotations_trainval2017.zip'}
_PARTS = ('images', 'annotations', 'categories')
_ROUNDING = 1.0  # pixels: COCO's boxes are of polygons, rounded to hundredths


def annotation_faults(value: Any, where: object) -> list[Fault]:
    """What is wrong with a COCO annotation file.

    Args:
        value: its JSON value.
        where: the file.
    """
    if not isinstance(value, Mapping) or not all(_are_rows(value.get(part)) for part in _PARTS):
        return [fault('bad annotation', 'no COCO annotations: it lacks a list of '
                      + ', '.join(_PARTS), where)]
    faults = [fault('bad annotation', f'{count} {part} have the id of another', where)
              for part in _PARTS
              if (count := len(value[part]) - len({_id(row) for row in value[part]}))]
    images = {_id(row): row for row in value['images']}
    categories = {_id(row): row.get('name') for row in value['categories']}
    for key, row in images.items():
        name, sides = row.get('file_name'), [row.get('width'), row.get('height')]
        inside = PureWindowsPath(name if isinstance(name, str) else '..')
        if inside.anchor or '..' in inside.parts or '\0' in str(name):
            faults.append(fault('bad annotation', f'image {key}: file_name {name!r:.80} is none '
                                'in the data set', where))
        if not all(isinstance(side, int) and side > 0 for side in sides):
            faults.append(fault('bad annotation', f'image {key}: width or height is no size: '
                                f'{sides!r:.60}', where))
            row.update(width=math.inf, height=math.inf)
    for row in value['annotations']:
        kind, what = _object_fault(row, images, categories) or ('', '')
        if kind:
            faults.append(fault(kind, f'annotation {_id(row)} '
                                f'({categories.get(row.get("category_id"))}): {what}', where))
    return faults


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _id(row: Mapping[str, Any]) -> Any:
    value = row.get('id')
    return value if isinstance(value, (int, str)) else repr(value)


def _object_fault(row: Mapping[str, Any], images: Mapping[Any, Any],
                  categories: Mapping[Any, Any]) -> tuple[str, str] | None:
    """The first thing that is wrong with an annotation; what mmdet leaves out is dropped."""
    box, image = row.get('bbox'), row.get('image_id')
    if not (isinstance(box, list) and len(box) == 4 and all(map(_finite, box))):
        return 'bad object', f'the box is not four numbers: {box!r:.60}'
    if not _finite(row.get('area')) or row.get('iscrowd', 0) not in (0, 1):
        return 'bad object', 'area is no number, or iscrowd is not 0 or 1'
    if not isinstance(image, (int, str)) or image not in images:
        return 'left-out object', f'no image has the id {image!r:.60}'
    kind = row.get('category_id')
    if not isinstance(kind, (int, str)) or kind not in categories:
        return 'left-out object', f'no category has the id {kind!r:.60}'
    (left, top, width, height), size = box, (images[image]['width'], images[image]['height'])
    said, frame = f'x {left}, y {top}, {width} x {height}', f'the image of {size[0]} x {size[1]}'
    if width < 1 or height < 1 or row['area'] <= 0:
        return 'degenerate box', f'the box has no area, or less than a pixel: {said}'
    if left >= size[0] or top >= size[1] or left + width <= 0 or top + height <= 0:
        return 'box outside the image', f'the box lies outside {frame}: {said}'
    if (min(left, top) < -_ROUNDING or left + width > size[0] + _ROUNDING
            or top + height > size[1] + _ROUNDING):
        return 'box sticks out', f'the box sticks out of {frame}: {said}'
    return None


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


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

    def recognises(self, root: Path) -> bool:
        return any((root / 'annotations').glob('instances_*2017.json'))

    def check(self, root: Path, quick: bool = False) -> Report:
        counts, classes, faults = dict[str, int](), 0, list[Fault]()
        for split, expected in self.images.items():
            path = root / 'annotations' / f'instances_{split}.json'
            try:
                value = json.loads(path.read_bytes())
            except FileNotFoundError:
                faults.append(Fault('COCO is not here', str(path),
                                    f'refaug-det data prepare coco --root {root}'))
                continue
            except (ValueError, RecursionError, OSError) as error:
                faults.append(fault('bad annotation', f'not JSON ({type(error).__name__})', path))
                continue
            found = annotation_faults(value, path)
            faults += found
            if any(each.kind == 'bad annotation' for each in found):
                continue
            counts[split], names = len(value['images']), len(value['categories'])
            faults += [Fault(f'{split} has {has} {what}, not {wanted}', str(path),
                             'use the published archives', kind='wrong number')
                       for has, wanted, what in ((counts[split], expected, 'images'),
                                                 (names, self.classes, 'categories'))
                       if has != wanted]
            classes = max(classes, names)
            faults += _image_faults(root / split, value['images'], not quick)
        return Report('coco', str(root), counts, classes, faults)


def _image_faults(folder: Path, rows: Sequence[Mapping[str, Any]],
                  decoded: bool) -> Iterator[Fault]:
    """Of every image, in order; shows progress in a terminal."""
    from rich.console import Console
    from rich.progress import track

    def look(row: Mapping[str, Any]) -> list[Fault]:
        path, said = folder / row['file_name'], (row['width'], row['height'])
        size, faults = read_image(path, decoded)
        if size not in ((0, 0), said):
            faults.append(fault('wrong size', f'the annotations say {said[0]} x {said[1]}, the '
                                f'image has {size[0]} x {size[1]} pixels', path))
        return faults

    console = Console(stderr=True)
    with ThreadPool() as pool:
        for found in track(pool.imap(look, rows, chunksize=16), 'checking images', len(rows),
                           console=console, transient=True, disable=not console.is_terminal):
            yield from found


source = COCOSource({'train2017': 118_287, 'val2017': 5000}, 80)
