"""The toy classification set: one folder of images per class, drawn in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES, draw_object_image, keyed_rng, write_whole

JPEG_QUALITY = 92
SMALLEST_SIZE = 32


def write_image_folder(root: Path | str, train_per_class: int, val_per_class: int,
                       size: int = 64, seed: int = 0,
                       progress: Callable[[int, int], None] | None = None) -> bool:
    """Write `root/train/<class>/<n>.jpg` and `root/val/<class>/<n>.jpg`.

    Every image is drawn from (seed, split, class, n) alone: train and val share no draws, and
    a larger set begins with the images of a smaller one.

    Args:
        root: the data set's folder; it appears whole or not at all.
        train_per_class: images of each class in train, 1 or more.
        val_per_class: images of each class in val, 1 or more.
        size: side of the square images in pixels, 32 or more.
        seed: another seed gives other images.
        progress: called with (images done, images in all) after each image.

    Returns:
        True when the set was drawn, False when `root` held it already.

    Raises:
        UserError: an argument is out of range, or `root` holds something else.
    """
    if min(train_per_class, val_per_class) < 1 or size < SMALLEST_SIZE:
        raise UserError(
            f'a toy image folder of {train_per_class} + {val_per_class} images per class '
            f'with side {size} cannot be drawn', root,
            f'ask for at least one image per class and split, with side {SMALLEST_SIZE} or more')
    counts = {'train': train_per_class, 'val': val_per_class}
    arguments = {'set': 'image_folder', **counts, 'size': size, 'seed': seed}

    def fill(folder: Path) -> None:
        done, total = 0, len(CLASSES) * sum(counts.values())
        for split, count in counts.items():
            for index, name in enumerate(CLASSES):
                (folder / split / name).mkdir(parents=True)
                for n in range(count):
                    rng = keyed_rng('image_folder', seed, split, name, n)
                    image = Image.fromarray(draw_object_image(rng, index, size))
                    image.save(folder / split / name / f'{n:05d}.jpg', quality=JPEG_QUALITY)
                    done += 1
                    if progress:
                        progress(done, total)

    return write_whole(root, arguments, fill)
