"""AutoAugment (Cubuk et al. 2019): its policies, with the original code's magnitudes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from mmengine.registry import TRANSFORMS
from torchvision.transforms.v2 import functional

from classification.autoaugment_policies import sub_policies
from classification.cutout import CIFAR_MEAN, colour, cutout
from classification.transforms import torchvision_transform
from refaug_det.errors import UserError

MAGNITUDES = ('tensorflow', 'torchvision')
SIGNED = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')
MEAN_COLOURS = {'cifar10': CIFAR_MEAN, 'cifar10-95': CIFAR_MEAN, 'imagenet': (124, 116, 104),
                'svhn': (112, 113, 121)}


def tensorflow_argument(name: str, magnitude: int, side: int = 32) -> float:
    """What an operation's magnitude in [0, 10] means in the original TensorFlow code.

    Args:
        side: of the image, in pixels, along which it is translated or cut. The
            code knows 32 px only; other images keep the shares they have there.

    Returns:
        A factor (Color, Contrast, Brightness, Sharpness), degrees (Rotate), a
        slope (Shear), pixels (Translate, Cutout), bits that are kept
        (Posterize), or the grey level from which pixels are inverted (Solarize).
    """
    if name in ('Color', 'Contrast', 'Brightness', 'Sharpness'):
        return 1.8 * magnitude / 10 + 0.1
    if name == 'Rotate':
        return int(30 * magnitude / 10)
    if name in ('ShearX', 'ShearY'):
        return 0.3 * magnitude / 10
    if name in ('TranslateX', 'TranslateY'):
        return int(magnitude * side / 32)
    if name == 'Cutout':
        return int(2 * magnitude * side / 32)
    if name == 'Posterize':
        return 4 - int(4 * magnitude / 10)
    return 256 - int(256 * magnitude / 10) if name == 'Solarize' else 0


def operate(name: str, image: torch.Tensor, argument: float,
            fill: Sequence[int]) -> torch.Tensor:
    """One operation of AutoAugment, as Pillow does it: nearest neighbour, factor 1 the identity.

    Args:
        name: such as `ShearX`; the policies have them all.
        image: (3, H, W) uint8; not changed.
        argument: see `tensorflow_argument`; those of `SIGNED` may be negative.
        fill: RGB of pixels from outside. The original marks them instead, and
            colours those still marked after the second operation.
    """
    adjust = {'Color': functional.adjust_saturation, 'Contrast': functional.adjust_contrast,
              'Brightness': functional.adjust_brightness,
              'Sharpness': functional.adjust_sharpness, 'Posterize': functional.posterize}
    plain = {'AutoContrast': functional.autocontrast, 'Equalize': functional.equalize,
             'Invert': functional.invert}
    if name in adjust:
        return adjust[name](image, argument)
    if name in plain:
        return plain[name](image)
    if name == 'Solarize':  # torchvision refuses 256, which inverts no pixel
        return functional.solarize(image, argument) if argument <= 255 else image
    if name == 'Rotate':
        return functional.rotate(image, argument, fill=list(fill))
    along_x, shear = name.endswith('X'), name.startswith('Shear')
    moved = [math.degrees(math.atan(argument)) if shear else -argument, 0]
    moved = moved if along_x else moved[::-1]
    return functional.affine(
        image, angle=0, translate=[0, 0] if shear else moved, scale=1,
        shear=moved if shear else [0, 0], fill=list(fill), center=[0, 0])


@TRANSFORMS.register_module()
class RefAugAutoAugment:
    """AutoAugment as an augmentation: off in the refinement phase.

    Args:
        policy: `cifar10` (CIFAR-100 and Tiny-ImageNet too), `imagenet`, `svhn`,
            or `cifar10-95`, all sub-policies of the original code.
        magnitudes: `tensorflow`, the original code's, or `torchvision`, that
            of torchvision's own AutoAugment (see the differences in its table).
        fill: of pixels from outside, a number or an RGB colour in [0, 255]. By
            default the mean colour of the policy's data; with `torchvision`, black.

    The order is the pipeline's: after the crop and the flip and before Cutout
    in the paper; before the crop in the original code.

    Raises:
        UserError: no such policy, magnitudes or colour.
    """

    is_augmentation = True

    def __init__(self, policy: str = 'cifar10', magnitudes: str = 'tensorflow',
                 fill: float | Sequence[float] | None = None) -> None:
        if magnitudes not in MAGNITUDES:
            raise UserError(f'magnitudes {magnitudes!r}', type(self).__name__,
                            f'one of {", ".join(MAGNITUDES)}')
        self.sub_policies = sub_policies(policy)
        self.fill = colour(MEAN_COLOURS[policy] if fill is None else fill)
        self.transform = None
        if magnitudes == 'torchvision' and policy == 'cifar10-95':
            raise UserError('torchvision has no policy of 95 sub-policies', type(self).__name__,
                            "policy cifar10, or magnitudes 'tensorflow'")
        if magnitudes == 'torchvision':
            self.transform = torchvision_transform(
                'AutoAugment', policy=policy, fill=None if fill is None else list(self.fill))

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(3, H, W) uint8 -> the same; draws come from `random` (torchvision's: from torch)."""
        if self.transform is not None:
            return self.transform(image)
        for name, probability, magnitude in random.choice(self.sub_policies):
            if random.random() >= probability:
                continue
            side = image.shape[-1 if name.endswith('X') else -2]
            argument = tensorflow_argument(name, magnitude, side)
            if name in SIGNED and random.random() > 0.5:
                argument = -argument
            if name == 'Cutout':
                centre = random.randrange(image.shape[-2]), random.randrange(image.shape[-1])
                image = cutout(image, int(argument), centre, self.fill)
            else:
                image = operate(name, image, argument, self.fill)
        return image
