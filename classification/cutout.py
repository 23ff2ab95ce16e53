"""Cutout (DeVries & Taylor 2017): a square of every image is covered."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.registry import TRANSFORMS

from refaug_det.errors import UserError

CIFAR_MEAN = (125, 123, 114)  # the mean colour of CIFAR-10's training images


def colour(fill: float | Sequence[float]) -> tuple[int, int, int]:
    """Three whole grey levels from a number or an RGB colour.

    Raises:
        UserError: not in [0, 255], or not three.
    """
    values = tuple(fill) if isinstance(fill, Sequence) else (fill,) * 3
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise UserError(f'fill {fill!r}', 'pipeline', 'a number or three, in [0, 255]')
    return tuple(round(value) for value in values)


def cutout(image: torch.Tensor, size: int, centre: tuple[int, int],
           fill: Sequence[int]) -> torch.Tensor:
    """Cover a square, clipped at the border.

    Args:
        image: (3, H, W) uint8; not changed.
        size: side in pixels, before it is clipped.
        centre: (y, x) in the image; the square begins size // 2 above and to the left.
        fill: RGB.

    Source: DeVries & Taylor 2017, section 3.2.
    """
    top, left = centre[0] - size // 2, centre[1] - size // 2
    covered = image.clone()
    covered[:, max(top, 0):max(top + size, 0), max(left, 0):max(left + size, 0)] = (
        torch.tensor(fill, dtype=image.dtype, device=image.device).view(3, 1, 1))
    return covered


@TRANSFORMS.register_module()
class RefAugCutout:
    """Cutout as an augmentation: off in the refinement phase.

    Args:
        size: side of the square in pixels: 16 on CIFAR, 32 on Tiny-ImageNet.
            The centre is uniform in the image, so that some of the square may
            lie outside.
        fill: a number or an RGB colour, in [0, 255]. By default CIFAR's mean
            colour, which the original's zeros after normalisation are; pass
            the mean of your data, or 128 for grey.

    Raises:
        UserError: no size, or no colour.
    """

    is_augmentation = True

    def __init__(self, size: int = 16, fill: float | Sequence[float] = CIFAR_MEAN) -> None:
        if size < 1:
            raise UserError(f'size {size}', type(self).__name__, 'at least 1 pixel')
        self.size, self.fill = size, colour(fill)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(3, H, W) uint8 -> the same, with the square; the centre comes from torch's generator."""
        height, width = image.shape[-2:]
        centre = int(torch.randint(height, ())), int(torch.randint(width, ()))
        return cutout(image, self.size, centre, self.fill)
