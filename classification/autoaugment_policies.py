"""The policies of AutoAugment (Cubuk et al. 2019), as data."""

from __future__ import annotations

from refaug_det.errors import UserError

# one sub-policy a line: operation, probability, magnitude in [0, 10] where it has a meaning
# (Cubuk et al. 2019, tables 7 to 9 of the appendix; the 95 are those of its TensorFlow code)
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
    'cifar10-95': '''
        Invert 0.1, Contrast 0.2 6
        Rotate 0.7 2, TranslateX 0.3 9
        Sharpness 0.8 1, Sharpness 0.9 3
        ShearY 0.5 8, TranslateY 0.7 9
        AutoContrast 0.5, Equalize 0.9
        Solarize 0.4 5, AutoContrast 0.9
        TranslateY 0.9 9, TranslateY 0.7 9
        AutoContrast 0.9, Solarize 0.8 3
        Equalize 0.8, Invert 0.1
        TranslateY 0.7 9, AutoContrast 0.9
        Solarize 0.4 5, AutoContrast 0.0
        TranslateY 0.7 9, TranslateY 0.7 9
        AutoContrast 0.9, Solarize 0.4 3
        Equalize 0.7, Invert 0.1
        TranslateY 0.7 9, TranslateY 0.7 9
        Solarize 0.4 5, AutoContrast 0.9
        TranslateY 0.8 9, TranslateY 0.9 9
        AutoContrast 0.8, TranslateY 0.7 9
        TranslateY 0.2 7, Color 0.9 6
        Equalize 0.7, Color 0.4 9
        ShearY 0.2 7, Posterize 0.3 7
        Color 0.4 3, Brightness 0.6 7
        Sharpness 0.3 9, Brightness 0.7 9
        Equalize 0.6, Equalize 0.5
        Contrast 0.6 7, Sharpness 0.6 5
        Brightness 0.3 7, AutoContrast 0.5
        AutoContrast 0.9, AutoContrast 0.5
        Solarize 0.3 5, Equalize 0.6
        TranslateY 0.2 4, Sharpness 0.3 3
        Brightness 0.0 8, Color 0.8 8
        Solarize 0.2 6, Color 0.8 6
        Solarize 0.2 6, AutoContrast 0.8
        Solarize 0.4 1, Equalize 0.6
        Brightness 0.0 0, Solarize 0.5 2
        AutoContrast 0.9, Brightness 0.5 3
        Contrast 0.7 5, Brightness 0.0 2
        Solarize 0.2 8, Solarize 0.1 5
        Contrast 0.5 1, TranslateY 0.2 9
        AutoContrast 0.6, TranslateY 0.0 9
        AutoContrast 0.9, Equalize 0.8
        Brightness 0.0 7, Equalize 0.4
        Solarize 0.2 5, Equalize 0.7
        Equalize 0.6, Color 0.6 2
        Color 0.3 7, Color 0.2 4
        AutoContrast 0.5, Solarize 0.7 2
        AutoContrast 0.2, Equalize 0.1
        ShearY 0.6 5, Equalize 0.6
        Brightness 0.9 3, AutoContrast 0.4
        Equalize 0.8, Equalize 0.7
        Equalize 0.7, Solarize 0.5 0
        Equalize 0.8, TranslateY 0.8 9
        TranslateY 0.8 9, TranslateY 0.6 9
        TranslateY 0.9 0, TranslateY 0.5 9
        AutoContrast 0.5, Solarize 0.3 4
        Solarize 0.5 3, Equalize 0.4
        Color 0.7 7, TranslateX 0.5 8
        Equalize 0.3, AutoContrast 0.4
        TranslateY 0.4 3, Sharpness 0.2 6
        Brightness 0.9 6, Color 0.2 8
        Solarize 0.5 2, Invert 0.0
        AutoContrast 0.1, Brightness 0.0 0
        Cutout 0.2 4, Equalize 0.1
        Equalize 0.7, AutoContrast 0.6
        Color 0.1 8, ShearY 0.2 3
        ShearY 0.4 2, Rotate 0.7 0
        ShearY 0.1 3, AutoContrast 0.9
        TranslateY 0.3 6, Cutout 0.3 3
        Equalize 0.5, Solarize 0.6 6
        AutoContrast 0.3, Rotate 0.2 7
        Equalize 0.8, Invert 0.4
        Equalize 0.9, Color 0.7 0
        Equalize 0.1, ShearY 0.1 3
        AutoContrast 0.7, Equalize 0.7
        Brightness 0.5 1, Contrast 0.1 7
        Contrast 0.1 4, Solarize 0.6 5
        Solarize 0.2 3, ShearX 0.0 0
        TranslateX 0.3 0, TranslateX 0.6 0
        Equalize 0.5, TranslateY 0.6 7
        ShearX 0.1 0, Sharpness 0.5 1
        Equalize 0.8, Invert 0.3
        AutoContrast 0.3, Cutout 0.5 3
        ShearX 0.4 4, AutoContrast 0.9
        ShearX 0.0 3, Posterize 0.0 3
        Solarize 0.4 3, Color 0.2 4
        Equalize 0.1, Equalize 0.7
        Equalize 0.3, AutoContrast 0.4
        Solarize 0.6 4, AutoContrast 0.7
        AutoContrast 0.2, Brightness 0.4 8
        Equalize 0.1, Equalize 0.0
        Equalize 0.8, Equalize 0.0
        Equalize 0.5, AutoContrast 0.1
        Solarize 0.5 5, AutoContrast 0.9
        AutoContrast 0.6, AutoContrast 0.7
        Equalize 0.2, AutoContrast 0.1
        Equalize 0.6, Equalize 0.4
    ''',
}
Operation = tuple[str, float, int]


def sub_policies(policy: str) -> list[tuple[Operation, Operation]]:
    """The sub-policies of a policy: pairs of (operation, probability, magnitude).

    Args:
        policy: `cifar10` (also meant for CIFAR-100), `imagenet` or `svhn`, of 25
            sub-policies each, or `cifar10-95`: the original code's, of 95.

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
