"""An annotation in VOC's XML and its image: what training takes of them, and their faults."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from detection.check import RULES, box_fault, fault, read_image
from refaug_det.data.sources import DROPPED, Fault
from refaug_det.errors import UserError

_LARGEST = 1e6  # pixels; nan and inf are not below it either


class VOCObject(NamedTuple):
    """An object that training takes; `box` is xmin, ymin, xmax, ymax as VOC counts, from 1."""

    name: str
    difficult: bool
    box: tuple[int, int, int, int]


class Example(NamedTuple):
    """An image of a list; `size` is the image file's own, (width, height), (0, 0) if unknown."""

    image_id: str
    size: tuple[int, int]
    objects: list[VOCObject]
    faults: list[Fault]
    filename: str = ''


def read_example(image_id: str, image: Path, xml: Path, classes: Collection[str] | None = None,
                 drop_unknown: bool = False, decoded: bool = False) -> Example:
    """What training takes of an image and its annotation, and what is wrong with them.

    Args:
        image_id: as in the list.
        image, xml: the two files.
        classes: names that objects may have; None for any.
        drop_unknown: leave objects of other classes out, which is fatal otherwise.
        decoded: decode the image too; otherwise only its header is read.
    """
    size, faults = read_image(image, decoded)
    try:
        root = _parse(xml)
        written = root.find('size')
        if written is not None:
            faults += _size_faults(tuple(_whole(written, side) for side in ('width', 'height')),
                                   size, xml)
    except FileNotFoundError:
        faults.append(fault('no annotation', 'a listed image has no annotation', xml))
        return Example(image_id, size, [], faults)
    except _Malformed as error:
        faults.append(fault('bad annotation', f'malformed annotation: {error}', xml))
        return Example(image_id, size, [], faults)
    objects: list[VOCObject] = []
    for number, element in enumerate(root.findall('object'), start=1):
        item, found = _read_object(element, size, classes, drop_unknown)
        if item in objects:
            found.append(('repeated object', 'the same class and box as an object before it'))
        faults += [fault(kind, f'object {number} ({_name(element)[:60]}): {what}', xml)
                   for kind, what in found]
        if item:
            objects.append(item)
    if root.find('object') is None:
        faults.append(fault('no objects', 'no object in the annotation', xml))
    return Example(image_id, size, objects, faults, (root.findtext('filename') or '').strip())


def class_names(xml: Path) -> list[str]:
    """Names of the objects in an annotation, as `read_example` reads them.

    Raises:
        UserError: it is malformed.
    """
    try:
        names = [_name(element) for element in _parse(xml).findall('object')]
    except (_Malformed, FileNotFoundError) as error:
        raise UserError(f'malformed annotation: {error}', xml, RULES['bad annotation'][1]) from None
    return [name for name in names if name]


class _Malformed(Exception):
    """An element that cannot be read."""


def _parse(xml: Path) -> ElementTree.Element:
    try:
        data = xml.read_bytes()
        if b'<!ENTITY' in data:
            raise _Malformed('it defines entities')
        root = ElementTree.fromstring(data)
    except FileNotFoundError:
        raise
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise _Malformed(f'{type(error).__name__}: {error}') from None
    if root.tag != 'annotation':
        raise _Malformed(f'it holds <{root.tag[:40]}>, not <annotation>')
    return root


def _whole(element: ElementTree.Element, tag: str) -> int:
    text = element.findtext(tag)
    try:
        value = float(text or '')
    except ValueError:
        raise _Malformed(f'<{tag}> is {"missing" if text is None else repr(text[:40])}') from None
    if not abs(value) < _LARGEST:
        raise _Malformed(f'<{tag}> is {text!r:.60}')
    return int(value)


def _name(element: ElementTree.Element) -> str:
    return (element.findtext('name') or '').strip()


def _read_object(element: ElementTree.Element, size: tuple[int, int],
                 classes: Collection[str] | None, drop_unknown: bool,
                 ) -> tuple[VOCObject | None, list[tuple[str, str]]]:
    """The object, unless training drops it, and its faults as (kind, what)."""
    written = element.findtext('name') or ''
    name, found = _name(element), list[tuple[str, str]]()
    if name and name != written:
        found.append(('spaces in class', f'the class is written {written!r:.60}'))
    try:
        if not name:
            raise _Malformed('no class name')
        corners = element.find('bndbox')
        if corners is None:
            raise _Malformed('no <bndbox>')
        left, top, right, bottom = (_whole(corners, t) for t in ('xmin', 'ymin', 'xmax', 'ymax'))
        difficult = element.find('difficult') is not None and bool(_whole(element, 'difficult'))
    except _Malformed as error:
        return None, [('bad object', f'malformed object: {error}')]
    if classes is not None and name not in classes:
        return None, [*found, ('left-out class' if drop_unknown else 'unknown class',
                               f'class {name!r:.60} is not among the {len(classes)} known')]
    box = left, top, right, bottom
    wrong = box_fault(box, size)
    found += [wrong] if wrong else []
    dropped = wrong is not None and RULES[wrong[0]][0] == DROPPED
    return None if dropped else VOCObject(name, difficult, box), found


def _size_faults(written: tuple[int, ...], size: tuple[int, int], xml: Path) -> list[Fault]:
    if size in (written, (0, 0)):
        return []
    return [fault('wrong size', f'<size> says {written[0]} x {written[1]}, the image has '
                  f'{size[0]} x {size[1]} pixels', xml)]
