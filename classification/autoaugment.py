"""AutoAugment (Cubuk et al. 2019): its policies, with the original code's magnitudes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from mmengine.registry import TRANSFORMS
from torchvision.transforms.v2 import functional

from classification.cutout import CIFAR_MEAN, colour
from classification.transforms import torchvision_transform
from refaug_det.errors import UserError

MAGNITUDES = ('tensorflow', 'torchvision')
SIGNED = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')
MEAN_COLOURS = {'cifar10': CIFAR_MEAN, 'imagenet': (124, 116, 104), 'svhn': (112, 113, 121)}
# one sub-policy a line: operation, probability, magnitude in [0, 10] where it has a meaning
# (Cubuk et al. 2019, tables 7 to 9 of the appendix)
_TABLES = {
    'cifar10': '''
        Invert 0.1, Contrast 0.2 6
        Rotate 0.7 2, TranslateX 0.3 9
        Sharpness 0.8 1, Sharpness 0.9 3
        ShearY 0.5 8, TranslateY 0.7 9
        AutoContrast 0.5, Equalize 0.9
        ShearY 0.2 7, Posterize 0.3 7
        Color 0.4 3, Brightness 0.6 7
        Sharpness 0.3 9, Brightness 0.7 9
        Equalize 0.6, Equalize 0.5
        Contrast 0.6 7, Sharpness 0.6 5
        Color 0.7 7, TranslateX 0.5 8
        Equalize 0.3, AutoContrast 0.4
        TranslateY 0.4 3, Sharpness 0.2 6
        Brightness 0.9 6, Color 0.2 8
        Solarize 0.5 2, Invert 0.0
        Equalize 0.2, AutoContrast 0.6
        Equalize 0.2, Equalize 0.6
        Color 0.9 9, Equalize 0.6
        AutoContrast 0.8, Solarize 0.2 8
        Brightness 0.1 3, Color 0.7 0
        Solarize 0.4 5, AutoContrast 0.9
        TranslateY 0.9 9, TranslateY 0.7 9
        AutoContrast 0.9, Solarize 0.8 3
        Equalize 0.8, Invert 0.1
        TranslateY 0.7 9, AutoContrast 0.9
    ''',
    'imagenet': '''
        Posterize 0.4 8, Rotate 0.6 9
        Solarize 0.6 5, AutoContrast 0.6
        Equalize 0.8, Equalize 0.6
        Posterize 0.6 7, Posterize 0.6 6
        Equalize 0.4, Solarize 0.2 4
        Equalize 0.4, Rotate 0.8 8
        Solarize 0.6 3, Equalize 0.6
        Posterize 0.8 5, Equalize 1.0
        Rotate 0.2 3, Solarize 0.6 8
        Equalize 0.6, Posterize 0.4 6
        Rotate 0.8 8, Color 0.4 0
        Rotate 0.4 9, Equalize 0.6
        Equalize 0.0, Equalize 0.8
        Invert 0.6, Equalize 1.0
        Color 0.6 4, Contrast 1.0 8
        Rotate 0.8 8, Color 1.0 2
        Color 0.8 8, Solarize 0.8 7
        Sharpness 0.4 7, Invert 0.6
        ShearX 0.6 5, Equalize 1.0
        Color 0.4 0, Equalize 0.6
        Equalize 0.4, Solarize 0.2 4
        Solarize 0.6 5, AutoContrast 0.6
        Invert 0.6, Equalize 1.0
        Color 0.6 4, Contrast 1.0 8
        Equalize 0.8, Equalize 0.6
    ''',
    'svhn': '''
        ShearX 0.9 4, Invert 0.2
        ShearY 0.9 8, Invert 0.7
        Equalize 0.6, Solarize 0.6 6
        Invert 0.9, Equalize 0.6
        Equalize 0.6, Rotate 0.9 3
        ShearX 0.9 4, AutoContrast 0.8
        ShearY 0.9 8, Invert 0.4
        ShearY 0.9 5, Solarize 0.2 6
        Invert 0.9, AutoContrast 0.8
        Equalize 0.6, Rotate 0.9 3
        ShearX 0.9 4, Solarize 0.3 3
        ShearY 0.8 8, Invert 0.7
        Equalize 0.9, TranslateY 0.6 6
        Invert 0.9, Equalize 0.6
        Contrast 0.3 3, Rotate 0.8 4
        Invert 0.8, TranslateY 0.0 2
        ShearY 0.7 6, Solarize 0.4 8
        Invert 0.6, Rotate 0.8 4
        ShearY 0.3 7, TranslateX 0.9 3
        ShearX 0.1 6, Invert 0.6
        Solarize 0.7 2, TranslateY 0.6 7
        ShearY 0.8 4, Invert 0.8
        ShearX 0.7 9, TranslateY 0.8 3
        ShearY 0.8 5, AutoContrast 0.7
        ShearX 0.7 2, Invert 0.1
    ''',
}
Operation = tuple[str, float, int]


def sub_policies(policy: str) -> list[tuple[Operation, Operation]]:
    """The 25 sub-policies of a policy: pairs of (operation, probability, magnitude).

    Args:
        policy: `cifar10` (also meant for CIFAR-100), `imagenet` or `svhn`.

    Raises:
        UserError: no such policy.
    """
    if policy not in _TABLES:
        raise UserError(f'policy {policy!r}', 'RefAugAutoAugment',
                        f'it is one of {", ".join(_TABLES)}')

    def operation(text: str) -> Operation:
        name, probability, *magnitude = text.split()
        return name, float(probability), int(magnitude[0]) if magnitude else 0

    lines = _TABLES[policy].strip().splitlines()
    return [tuple(map(operation, line.split(','))) for line in lines]


def tensorflow_argument(name: str, magnitude: int, side: int = 32) -> float:
    """What an operation's magnitude in [0, 10] means in the original TensorFlow code.

    Args:
        side: of the image, in pixels, along which it is translated. The code
            knows 32 px only, and 1 px a unit there; other images keep that share.

    Returns:
        A factor (Color, Contrast, Brightness, Sharpness), degrees (Rotate), a
        slope (Shear), pixels (Translate), bits that are kept (Posterize), or
        the grey level from which pixels are inverted (Solarize).
    """
    if name in ('Color', 'Contrast', 'Brightness', 'Sharpness'):
        return 1.8 * magnitude / 10 + 0.1
    if name == 'Rotate':
        return int(30 * magnitude / 10)
    if name in ('ShearX', 'ShearY'):
        return 0.3 * magnitude / 10
    if name in ('TranslateX', 'TranslateY'):
        return int(magnitude * side / 32)
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
        policy: `cifar10` (CIFAR-100 and Tiny-ImageNet too), `imagenet` or `svhn`.
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
            image = operate(name, image, argument, self.fill)
        return image
