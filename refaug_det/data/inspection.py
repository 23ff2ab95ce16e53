"""What is wrong with image files, and with their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from refaug_det.data.sources import Fault
from refaug_det.errors import UserError
from refaug_det.images import decode, is_truncated


class Expected(NamedTuple):
    """How many images a split has: in all, and at least and at most in each of its classes."""

    images: int
    least: int
    most: int


def count_faults(split: str, where: object, counts: Mapping[str, int], classes: int,
                 expected: Expected) -> list[Fault]:
    """What is wrong with the number of images in a split.

    Args:
        split: its name.
        where: its folder.
        counts: class name -> number of images.
        classes: how many classes there should be.
        expected: how many images there should be.
    """
    faults = []
    if len(counts) != classes:
        faults.append(Fault(f'{split} has {len(counts)} classes, not {classes}', str(where),
                            'prepare the data set again'))
    if sum(counts.values()) != expected.images:
        faults.append(Fault(f'{split} has {sum(counts.values())} images, not {expected.images}',
                            str(where), 'prepare the data set again'))
    least, most = expected.least, expected.most
    wanted = str(least) if least == most else f'{least} to {most}'
    faults += [Fault(f'class {name} of {split} has {count} images, not {wanted}', str(where),
                     'prepare the data set again')
               for name, count in counts.items() if not least <= count <= most]
    return faults


def image_faults(paths: Sequence[Path], quick: bool = False,
                 size: tuple[int, int] | None = None) -> list[Fault]:
    """What is wrong with image files, in their order; shows progress in a terminal.

    Args:
        paths: the files.
        quick: read headers only.
        size: (width, height) in pixels that every image has.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    with ThreadPool() as pool:  # reading and decoding release the interpreter's lock
        found = pool.imap(lambda path: image_fault(path, quick, size), paths, chunksize=64)
        return [fault for fault in track(
            found, 'checking images', len(paths), console=console, transient=True,
            disable=not console.is_terminal) if fault]


def image_fault(path: Path, quick: bool = False,
                size: tuple[int, int] | None = None) -> Fault | None:
    """The first thing that is wrong with an image file, or None; as `image_faults`."""
    fix = 'restore the file, or remove it'
    try:
        with Image.open(path) as image:
            found = image.size
    except UnidentifiedImageError:
        return Fault('no image, whatever its name says', str(path), fix)
    except Exception as error:  # a hostile header can raise anything
        return Fault(f'cannot read the image ({type(error).__name__})', str(path), fix)
    if size is not None and found != size:
        return Fault(f'the image has {found[0]} x {found[1]} pixels, not {size[0]} x {size[1]}',
                     str(path), fix)
    if quick:
        return None
    try:
        decode(path)
    except UserError as error:
        return Fault(error.what, str(path), fix)
    if is_truncated(path):
        return Fault('the JPEG breaks off', str(path), fix)
    return None
