"""The toy detection set: scenes in the true layout of PASCAL VOC 2007, drawn in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES, SceneObject, draw_scene, keyed_rng, write_whole

JPEG_QUALITY = 92
SMALLEST_SIDE = 64
PORTRAIT_SHARE = 0.2
YEAR_FOLDER = 'VOC2007'


def write_voc(root: Path | str, trainval: int, test: int, size: tuple[int, int] = (192, 144),
              seed: int = 0, progress: Callable[[int, int], None] | None = None) -> bool:
    """Write `root/VOC2007/{Annotations,ImageSets/Main,JPEGImages}`.

    Every scene is drawn from (seed, subset, n) alone: trainval and test share no draws.
    About one image in five is portrait, with the two sides exchanged.

    Args:
        root: the folder above `VOC2007`; it appears whole or not at all.
        trainval: images in trainval, 2 or more; train and val are its halves.
        test: images in test, 1 or more.
        size: (width, height) of a landscape image in pixels, 64 or more each.
        seed: another seed gives other scenes.
        progress: called with (images done, images in all) after each image.

    Returns:
        True when the set was drawn, False when `root` held it already.

    Raises:
        UserError: an argument is out of range, or `root` holds something else.
    """
    if trainval < 2 or test < 1 or min(size) < SMALLEST_SIDE:
        raise UserError(
            f'a toy VOC set of {trainval} + {test} images of {size[0]} x {size[1]} pixels '
            'cannot be drawn', root, 'ask for at least two trainval images and one test image, '
            f'each side {SMALLEST_SIDE} pixels or more')
    arguments = {'set': 'voc', 'trainval': trainval, 'test': test, 'size': list(size),
                 'seed': seed}
    keys = [('trainval', n) for n in range(trainval)] + [('test', n) for n in range(test)]

    def fill(folder: Path) -> None:
        year = folder / YEAR_FOLDER
        for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
            (year / part).mkdir(parents=True)
        scenes: dict[str, list[SceneObject]] = {}
        for number, (subset, n) in enumerate(keys, start=1):
            name = f'{number:06d}'
            scenes[name] = _write_scene(year, name, ('voc', seed, subset, n), size)
            if progress:
                progress(number, len(keys))
        _write_image_sets(year / 'ImageSets' / 'Main', scenes, trainval)

    return write_whole(root, arguments, fill)


def _write_scene(year: Path, name: str, key: tuple[int | str, ...],
                 size: tuple[int, int]) -> list[SceneObject]:
    rng = keyed_rng(*key)
    width, height = size[::-1] if rng.random() < PORTRAIT_SHARE else size
    image, objects = draw_scene(rng, width, height)
    Image.fromarray(image).save(year / 'JPEGImages' / f'{name}.jpg', quality=JPEG_QUALITY)
    annotation = _annotation(f'{name}.jpg', width, height, objects)
    ElementTree.indent(annotation, '\t')
    text = ElementTree.tostring(annotation, encoding='unicode') + '\n'
    (year / 'Annotations' / f'{name}.xml').write_text(text, encoding='utf-8')
    return objects


def _annotation(filename: str, width: int, height: int,
                objects: Sequence[SceneObject]) -> ElementTree.Element:
    """The elements in the order in which VOC's own files have them."""
    root = ElementTree.Element('annotation')
    _add(root, {'folder': YEAR_FOLDER, 'filename': filename})
    _add(ElementTree.SubElement(root, 'size'), {'width': width, 'height': height, 'depth': 3})
    _add(root, {'segmented': 0})
    for item in objects:
        element = ElementTree.SubElement(root, 'object')
        _add(element, {'name': item.name, 'pose': 'Unspecified',
                       'truncated': int(item.truncated), 'difficult': int(item.difficult)})
        corners = dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), item.box, strict=True))
        _add(ElementTree.SubElement(element, 'bndbox'), corners)
    return root


def _add(parent: ElementTree.Element, values: Mapping[str, object]) -> None:
    for tag, value in values.items():
        ElementTree.SubElement(parent, tag).text = str(value)


def _write_image_sets(folder: Path, scenes: Mapping[str, Sequence[SceneObject]],
                      trainval: int) -> None:
    """The lists of image names, and for each class the lists with a flag per image."""
    names = list(scenes)
    splits = {'train': names[:trainval:2], 'val': names[1:trainval:2],
              'trainval': names[:trainval], 'test': names[trainval:]}
    for split, members in splits.items():
        _write_lines(folder / f'{split}.txt', members)
        for class_name in CLASSES:
            _write_lines(folder / f'{class_name}_{split}.txt',
                         [f'{name} {_flag(scenes[name], class_name):2d}' for name in members])


def _flag(objects: Sequence[SceneObject], class_name: str) -> int:
    """VOC's 1: the class is there, 0: only as difficult objects, -1: it is not."""
    difficult = [item.difficult for item in objects if item.name == class_name]
    return -1 if not difficult else 0 if all(difficult) else 1


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
