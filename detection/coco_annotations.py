"""An annotation file in COCO's JSON and its images: what training takes of them; their faults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath
from typing import Any

from detection.check import fault, read_image
from refaug_det.data.sources import Fault

_PARTS = ('images', 'annotations', 'categories')
_DISTINCT = (('images', 'id', 'file_name'), ('annotations', 'id'), ('categories', 'id', 'name'))
_LARGEST = 1e12  # nan and inf are not below it either
_ROUNDING = 1.0  # pixels: COCO's boxes are of polygons, rounded to hundredths


@dataclass(frozen=True)
class Split:
    """An annotation file; all is empty but the faults where it cannot be read.

    Attributes:
        images: by rising id, `width` and `height` the image file's own where that is known.
        categories: id -> name.
        objects: image's id -> its annotations in the file's order, each with the kind of its
            fault, or ''; those of no image or of no category are not among them.
        faults: of the file, its images and its objects.
    """

    images: Sequence[dict[str, Any]] = ()
    categories: Mapping[Any, str] = field(default_factory=dict)
    objects: Mapping[Any, list[tuple[dict[str, Any], str]]] = field(default_factory=dict)
    faults: Sequence[Fault] = ()


def read(path: Path, folder: Path, decoded: bool = False) -> Split:
    """Read an annotation file and look at its images.

    Args:
        path: the JSON file.
        folder: where the images lie.
        decoded: decode the images too; otherwise only their headers and ends are read.
    """
    value, faults = parse(path)
    if value is None:
        return Split(faults=faults)
    images, looked = [], list[Fault]()
    rows = sorted(value['images'], key=lambda row: (isinstance(row['id'], str), row['id']))
    for row, size, found in _look(folder, rows, decoded):
        looked += found
        images.append(row if size == (0, 0) else dict(row, width=size[0], height=size[1]))
    sizes = {row['id']: (row['width'], row['height']) for row in images}
    categories = {row['id']: row['name'] for row in value['categories']}
    objects: dict[Any, list[tuple[dict[str, Any], str]]] = {key: [] for key in sizes}
    for row in value['annotations']:
        kind, what = _object_fault(row, sizes, categories) or ('', '')
        if kind:
            faults.append(fault(kind, f'annotation {_id(row)} '
                                f'({_name(row, categories)}): {what}', path))
        if kind not in ('bad object', 'left-out object'):
            objects[row['image_id']].append((row, kind))
    return Split(images, categories, objects, faults + looked)


def parse(path: Path) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The JSON value of an annotation file, None if it is no such file, and its faults.

    The two last read are kept until `forget`, so leave the value as it is. Segmentations, the
    greater part of a file, are not in it.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        found = path.stat()
        value, faults = _parsed(path, found.st_mtime_ns, found.st_size, found.st_ino)
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        return None, [fault('bad annotation', f'not JSON ({type(error).__name__})', path)]
    return value, [*faults]


@lru_cache(maxsize=2)  # a run looks into its two files for the classes, the faults and the data
def _parsed(path: Path, *_version: int) -> tuple[dict[str, Any] | None, list[Fault]]:
    value = json.loads(path.read_bytes(), object_hook=_without_segmentation)
    faults = annotation_faults(value, path)
    return (None if faults else value), faults


def _without_segmentation(row: dict[str, Any]) -> dict[str, Any]:
    row.pop('segmentation', None)
    return row


def forget() -> None:
    """Let go of the values that `parse` has kept."""
    _parsed.cache_clear()


def annotation_faults(value: Any, where: object) -> list[Fault]:
    """What is wrong with a COCO annotation file as a whole; of its objects, see `read`.

    Args:
        value: its JSON value.
        where: the file.
    """
    if not isinstance(value, Mapping) or not all(_are_rows(value.get(part)) for part in _PARTS):
        return [fault('bad annotation', 'no COCO annotations: it lacks a list of '
                      + ', '.join(_PARTS), where)]
    faults = []
    for part, *keys in _DISTINCT:
        repeated = {key: len(value[part]) - len({_id(row, key) for row in value[part]})
                    for key in keys}
        faults += [fault('bad annotation', f'{count} {part} have the {key} of another', where)
                   for key, count in repeated.items() if count][:1]
    faults += [fault('bad annotation', f'{part} with an id that is no number or text', where)
               for part in ('images', 'categories')
               if not all(isinstance(row.get('id'), (int, str)) for row in value[part])]
    if not all(isinstance(row.get('name'), str) and row['name'] for row in value['categories']):
        faults.append(fault('bad annotation', 'a category has no name', where))
    if not value['images']:
        faults.append(fault('bad annotation', 'it lists no image', where))
    for row in value['images']:
        name, sides = row.get('file_name'), [row.get('width'), row.get('height')]
        inside = PureWindowsPath(name if isinstance(name, str) else '..')
        if inside.anchor or '..' in inside.parts or '\0' in str(name):
            faults.append(fault('bad annotation', f'image {_id(row)}: file_name {name!r:.80} is '
                                'none in the data set', where))
        if not all(isinstance(side, int) and side > 0 for side in sides):
            faults.append(fault('bad annotation', f'image {_id(row)}: width or height is no size: '
                                f'{sides!r:.60}', where))
    return faults


def class_names(value: Mapping[str, Any]) -> set[str]:
    """Names of the categories of which an annotation file has objects."""
    names = {row['id']: row['name'] for row in value['categories']}
    return {_name(row, names) for row in value['annotations']} - {None}


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _id(row: Mapping[str, Any], key: str = 'id') -> Any:
    value = row.get(key)
    return value if isinstance(value, (int, str)) else repr(value)


def _name(row: Mapping[str, Any], categories: Mapping[Any, str]) -> str | None:
    return categories.get(_id(row, 'category_id'))


def _object_fault(row: Mapping[str, Any], sizes: Mapping[Any, tuple[int, int]],
                  categories: Mapping[Any, str]) -> tuple[str, str] | None:
    """The first thing that is wrong with an annotation; what mmdet leaves out is dropped."""
    box, image = row.get('bbox'), row.get('image_id')
    if not (isinstance(box, list) and len(box) == 4 and all(map(_finite, box))):
        return 'bad object', f'the box is not four numbers: {box!r:.60}'
    if not _finite(row.get('area')) or row.get('iscrowd', 0) not in (0, 1):
        return 'bad object', 'area is no number, or iscrowd is not 0 or 1'
    if not isinstance(image, (int, str)) or image not in sizes:
        return 'left-out object', f'no image has the id {image!r:.60}'
    if _name(row, categories) is None:
        return 'left-out object', f'no category has the id {row.get("category_id")!r:.60}'
    (left, top, width, height), size = box, sizes[image]
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
    return isinstance(value, (int, float)) and abs(value) < _LARGEST


def _look(folder: Path, rows: Sequence[dict[str, Any]], decoded: bool,
          ) -> Iterator[tuple[dict[str, Any], tuple[int, int], list[Fault]]]:
    """Every image in order, the size of its file, its faults; shows progress in a terminal."""
    from rich.console import Console
    from rich.progress import track

    def look(row: dict[str, Any]) -> tuple[dict[str, Any], tuple[int, int], list[Fault]]:
        path, said = folder / row['file_name'], (row['width'], row['height'])
        size, faults = read_image(path, decoded)
        if size not in ((0, 0), said):
            faults.append(fault('wrong size', f'the annotations say {said[0]} x {said[1]}, the '
                                f'image has {size[0]} x {size[1]} pixels', path))
        return row, size, faults

    console = Console(stderr=True)
    with ThreadPool() as pool:
        yield from track(pool.imap(look, rows, chunksize=16), 'checking images', len(rows),
                         console=console, transient=True, disable=not console.is_terminal)
