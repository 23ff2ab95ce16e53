"""What can be wrong with detection data: one judgement, for the check and for training alike.

A fault is *fatal* (training refuses), *dropped* (training leaves the box or line out, and
counts it) or a *note* (training goes on, and says what it does).
"""

from __future__ import annotations

import math
from pathlib import Path, PureWindowsPath

from PIL import Image

from refaug_det.data.sources import DROPPED, FATAL, NOTE, Fault
from refaug_det.errors import UserError
from refaug_det.images import decode, is_truncated

_MEND = 'mend the annotation, or take its image out of the lists'
_OUT = 'restore the file, or take its id out of the lists'
_BOX = 'mend its four numbers, or remove the object'
RULES = {  # kind of fault -> its level, the remedy
    'no list': (FATAL, 'write a file with one image id in each line'),
    'bad list': (FATAL, 'one image id in each line, without .jpg, as UTF-8 text'),
    'no annotation': (FATAL, 'add the XML, or take its id out of the lists'),
    'bad annotation': (FATAL, _MEND),
    'bad object': (FATAL, _MEND),
    'no image': (FATAL, 'add the file (.jpg), or take its id out of the lists'),
    'bad image': (FATAL, _OUT),
    'unknown class': (FATAL, 'mend the name; or train with --classes auto, or with the names'),
    'left-out object': (DROPPED, 'mend the id, or remove the annotation'),
    'left-out class': (DROPPED, 'name it in --classes to train on it'),
    'degenerate box': (DROPPED, _BOX),
    'box outside the image': (DROPPED, _BOX),
    'repeated id': (DROPPED, 'remove the line: the image is taken once'),
    'box sticks out': (NOTE, 'mend it; training clips it to the image'),
    'box from 0': (NOTE, 'add 1 to all coordinates if the tool that wrote them counts from 0'),
    'repeated object': (NOTE, 'remove one of the two: the second can only count as missed'),
    'spaces in class': (NOTE, 'remove the spaces: the name is read without them'),
    'wrong size': (NOTE, "correct <size>, and see that the boxes fit; the image's own is taken"),
    'rotation': (NOTE, 'save the image upright without the tag, and see that the boxes fit'),
    'colours': (NOTE, 'save it as RGB: the conversion may shift its colours'),
    'breaks off': (NOTE, 'restore the file: it is decoded as far as it goes'),
    'other filename': (NOTE, 'see that the annotation is of this image'),
    'no objects': (NOTE, 'none, if that is meant: training leaves it out, tests keep it'),
    'in two lists': (NOTE, 'take it out of one: what is trained on is no test'),
    'class never trained': (NOTE, 'see that its name is spelt as meant'),
    'similar classes': (NOTE, 'write them alike, if they are one class'),
}
_LONGEST = 250  # bytes of a file's name, less the suffix
_PLAIN_MODES = ('RGB', 'L')
_ORIENTATION, _TURNS = 0x0112, range(2, 9)


def fault(kind: str, what: str, where: object) -> Fault:
    """A fault with the level and the remedy of its kind (`RULES`)."""
    return Fault(what, str(where), RULES[kind][1], RULES[kind][0], kind)


def read_list(path: Path) -> tuple[list[str], list[Fault]]:
    """The image ids in a list, each once and in order, and what is wrong with the list."""
    if not path.is_file():
        return [], [fault('no list', 'there is no such list of images', path)]
    try:
        lines = [line.strip() for line in path.read_text(encoding='utf-8-sig').splitlines()]
    except (UnicodeDecodeError, OSError) as error:
        return [], [fault('bad list', f'cannot read the list ({type(error).__name__})', path)]
    ids, faults = dict[str, int](), []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        inside = PureWindowsPath(line)  # sees / and \\ alike, and drives
        if inside.anchor or '..' in inside.parts or '\0' in line or len(line) > _LONGEST:
            faults.append(fault('bad list', f'line {number} names no image of the data set: '
                                f'{line[:80]!r}', path))
        elif line in ids:
            faults.append(fault('repeated id', f'line {number} repeats the id {line!r} of line '
                                f'{ids[line]}', path))
        else:
            ids[line] = number
    if not ids and not faults:
        faults.append(fault('bad list', 'the list is empty', path))
    return list(ids), faults


def box_fault(box: tuple[int, int, int, int],
              size: tuple[int, int]) -> tuple[str, str] | None:
    """What is wrong with a box: (kind, what), or None.

    Training takes xmin - 1 to xmax - 1 and clips to the image; a box without area then
    makes the loss NaN, so it is dropped.

    Args:
        box: xmin, ymin, xmax, ymax as VOC counts, from 1.
        size: (width, height) in pixels; (0, 0) if unknown: nothing is outside then.
    """
    left, top, right, bottom = box
    width, height = size if size != (0, 0) else (math.inf, math.inf)
    said = f'x {left} to {right}, y {top} to {bottom}'
    frame = f'the image of {width} x {height}'
    if right < left or bottom < top:
        return 'degenerate box', f'the box is inverted: {said}'
    if right == left or bottom == top:
        return 'degenerate box', f'the box has no area: {said}'
    if left > width or top > height or right <= 1 or bottom <= 1:
        return 'box outside the image', f'the box lies outside {frame}: {said}'
    if left < 0 or top < 0 or right > width or bottom > height:
        return 'box sticks out', f'the box sticks out of {frame}: {said}'
    if left == 0 or top == 0:
        return 'box from 0', f'the box begins at 0, VOC counts from 1: {said}'
    return None


def read_image(path: Path, decoded: bool) -> tuple[tuple[int, int], list[Fault]]:
    """(width, height) of an image file, and what is wrong with it; (0, 0) if it is none.

    Args:
        path: the file.
        decoded: decode it too; otherwise only its header and its end are read.
    """
    if not path.is_file():
        return (0, 0), [fault('no image', 'a listed image is not there', path)]
    try:
        with Image.open(path) as image:
            size, mode = image.size, image.mode
            # only where there is some: of a PNG, getexif would decode the pixels
            turned = image.getexif().get(_ORIENTATION) if 'exif' in image.info else None
        if decoded:
            decode(path)
    except UserError as error:
        return (0, 0), [fault('bad image', error.what, path)]
    except Exception as error:  # a hostile header can raise anything
        return (0, 0), [fault('bad image', f'no readable image ({type(error).__name__})', path)]
    faults = []
    if turned in _TURNS:
        faults.append(fault('rotation', f'EXIF asks to turn the image (orientation {turned}); it '
                            'is taken as stored', path))
    if mode not in _PLAIN_MODES:
        faults.append(fault('colours', f'the image is {mode}, not RGB', path))
    if is_truncated(path):
        faults.append(fault('breaks off', 'the JPEG breaks off', path))
    return size, faults
