"""Ways to spoil a small data set in VOC layout, and what is to be said of each."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

ID = '000002'  # the image of trainval that is spoilt
XML, JPG = f'Annotations/{ID}.xml', f'JPEGImages/{ID}.jpg'
TRAINVAL, TEST = (f'ImageSets/Main/{name}.txt' for name in ('trainval', 'test'))
ROTATE = 0x0112


class Case(NamedTuple):
    """`spoil(home)`, the kind of fault, the file named, and whether stock mmdet is silent."""

    spoil: Callable[[Path], object]
    kind: str
    file: str
    silent: bool = False


def text(value: str | bytes, file: str = XML) -> Callable[[Path], object]:
    data = value if isinstance(value, bytes) else value.encode()
    return lambda home: (home / file).write_bytes(data)


def sub(pattern: str, new: str, file: str = XML) -> Callable[[Path], object]:
    """Replace the first match; it has to be there."""
    def spoil(home: Path) -> None:
        old = (home / file).read_text()
        changed, count = re.subn(pattern, new, old, count=1, flags=re.DOTALL)
        assert count == 1
        assert changed != old
        (home / file).write_text(changed)
    return spoil


def box(xmin: object, ymin: object, xmax: object, ymax: object) -> Callable[[Path], object]:
    """Give the first object this box."""
    values = dict(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
    return sub('<bndbox>.*?</bndbox>', '<bndbox>' + ''.join(
        f'<{key}>{value}</{key}>' for key, value in values.items()) + '</bndbox>')


def add(line: str, file: str = TRAINVAL) -> Callable[[Path], object]:
    return lambda home: (home / file).write_text((home / file).read_text() + line + '\n')


def remove(file: str) -> Callable[[Path], object]:
    return lambda home: (home / file).unlink()


def image(kind: str = 'JPEG', mode: str = 'RGB', rotated: int = 0,
          cut: int = 0) -> Callable[[Path], object]:
    """Write the image anew, in another way."""
    def spoil(home: Path) -> None:
        with Image.open(home / JPG) as old:
            new, data = old.convert(mode), io.BytesIO()
        exif = Image.Exif()
        if rotated:
            exif[ROTATE] = rotated
        new.save(data, kind, exif=exif)
        (home / JPG).write_bytes(data.getvalue()[:-cut or None])
    return spoil


def twice(home: Path) -> None:
    found = re.search('<object>.*?</object>', (home / XML).read_text(), re.DOTALL)
    sub('</annotation>', found.group() + '</annotation>')(home)


def renamed(home: Path) -> None:
    (home / JPG).rename(home / JPG.replace('.jpg', '.png'))


def bare(home: Path) -> None:
    (home / XML).write_text(re.sub('<object>.*</object>', '', (home / XML).read_text(),
                                   flags=re.DOTALL))


_NOTHING = f'Annotations/{ID}.jpg.xml'
BOMB = ('<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]>'
        '<annotation><object><name>&c;</name></object></annotation>')
FATAL = {
    'empty XML': Case(text(''), 'bad annotation', XML),
    'XML cut off': Case(text('<annotation><object>'), 'bad annotation', XML),
    'JSON for XML': Case(text('{"objects": []}'), 'bad annotation', XML),
    'HTML for XML': Case(text('<html><body/></html>'), 'bad annotation', XML),
    'entities': Case(text(BOMB), 'bad annotation', XML),
    'bytes of no encoding': Case(text(b'<annotation>\xff</annotation>'), 'bad annotation', XML),
    'unknown encoding': Case(text('<?xml version="1.0" encoding="klingon"?><annotation/>'),
                             'bad annotation', XML),
    'width of letters': Case(sub('<width>.*?<', '<width>x<'), 'bad annotation', XML),
    'size without height': Case(sub('<height>.*?</height>', ''), 'bad annotation', XML),
    'no XML': Case(remove(XML), 'no annotation', XML),
    'object without name': Case(sub('<name>.*?</name>', ''), 'bad object', XML),
    'empty name': Case(sub('<name>.*?</name>', '<name> </name>'), 'bad object', XML),
    'object without box': Case(sub('<bndbox>.*?</bndbox>', ''), 'bad object', XML),
    'box without xmax': Case(sub('<xmax>.*?</xmax>', ''), 'bad object', XML),
    'empty ymin': Case(sub('<ymin>.*?<', '<ymin><'), 'bad object', XML),
    'letters in a box': Case(box(1, 2, 'abc', 4), 'bad object', XML),
    'nan in a box': Case(box(1, 2, 'nan', 4), 'bad object', XML),
    'infinity in a box': Case(box(1, 2, '1e999', 4), 'bad object', XML),
    'difficult: yes': Case(sub('<difficult>.*?<', '<difficult>yes<'), 'bad object', XML),
    'unknown class': Case(sub('<name>.*?<', '<name>unicorn<'), 'unknown class', XML, True),
    'no image': Case(remove(JPG), 'no image', JPG),
    'image of another suffix': Case(renamed, 'no image', JPG),
    'HTML for an image': Case(text('<html>', JPG), 'bad image', JPG),
    'empty image': Case(text('', JPG), 'bad image', JPG),
    'PNG cut off': Case(image('PNG', cut=900), 'bad image', JPG),
    'no list': Case(remove(TRAINVAL), 'no list', TRAINVAL),
    'empty list': Case(text('\n \n', TRAINVAL), 'bad list', TRAINVAL),
    'binary list': Case(text(b'\x89PNG\xff\xfe', TRAINVAL), 'bad list', TRAINVAL),
    'id that leads out': Case(add('../../secret'), 'bad list', TRAINVAL),
    'absolute id': Case(add('/etc/passwd'), 'bad list', TRAINVAL),
    'drive in an id': Case(add('C:\\secret'), 'bad list', TRAINVAL),
    'id with its suffix': Case(add(f'{ID}.jpg'), 'no annotation', _NOTHING),
    'id and flag': Case(add(f'{ID} 1'), 'no annotation', f'Annotations/{ID} 1.xml'),
}
DROPPED = {
    'zero area': Case(box(9, 9, 9, 20), 'degenerate box', XML, True),
    'zero height': Case(box(9, 9, 20, 9), 'degenerate box', XML),
    'inverted box': Case(box(20, 20, 9, 9), 'degenerate box', XML, True),
    'box outside': Case(box(900, 900, 950, 950), 'box outside the image', XML, True),
    'box left of the image': Case(box(-20, 5, 1, 20), 'box outside the image', XML),
    'duplicate id': Case(add(ID), 'repeated id', TRAINVAL, True),
}
NOTES = {
    'box sticks out': Case(box(9, 9, 400, 20), 'box sticks out', XML, True),
    'box from 0': Case(box(0, 9, 20, 20), 'box from 0', XML),
    'space in a class': Case(sub('</name>', ' </name>'), 'spaces in class', XML, True),
    'wrong size': Case(sub('<width>.*?<', '<width>1234<'), 'wrong size', XML, True),
    'size of zero': Case(sub('<height>.*?<', '<height>0<'), 'wrong size', XML),
    'EXIF rotation': Case(image(rotated=6), 'rotation', JPG, True),
    'JPEG cut off': Case(image(cut=200), 'breaks off', JPG, True),
    'CMYK': Case(image(mode='CMYK'), 'colours', JPG),
    'object twice': Case(twice, 'repeated object', XML, True),
    'no object': Case(bare, 'no objects', XML),
    'name of another image': Case(sub('<filename>.*?<', '<filename>000001.jpg<'),
                                  'other filename', XML),
    'in train and test': Case(add(ID, TEST), 'in two lists', TEST, True),
}
CASES = FATAL | DROPPED | NOTES
SILENT = [name for name, case in CASES.items() if case.silent]
