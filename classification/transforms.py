"""Per-image transforms, in the workers: torchvision's, by name, in two roles.

A *transform* always acts. An *augmentation* is part of the augmented phase
only: refinement takes it out of the pipeline.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.registry import TRANSFORMS
from torchvision.transforms import v2

from refaug_det.errors import UserError


def torchvision_transform(name: str, **kwargs: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """A transform of `torchvision.transforms.v2`; `policy` may be its enum's value.

    Raises:
        UserError: no such transform, or wrong arguments.
    """
    cls = getattr(v2, name, None)
    if not (isinstance(cls, type) and issubclass(cls, v2.Transform)):
        known = [n for n in dir(v2) if n[:1].isupper()]
        near = difflib.get_close_matches(name, known, 1)
        raise UserError(f'torchvision.transforms.v2 has no transform {name!r}', 'pipeline',
                        f'did you mean {near[0]!r}?' if near else 'see its documentation')
    try:
        if isinstance(kwargs.get('policy'), str):
            kwargs['policy'] = v2.AutoAugmentPolicy(kwargs['policy'])
        return cls(**kwargs)
    except (TypeError, ValueError) as error:
        raise UserError(f'{name}: {error}', 'pipeline', 'mend its arguments') from None


@TRANSFORMS.register_module()
class RefAugTransform:
    """Any transform of torchvision v2: `dict(type='RefAugTransform', name='RandomCrop', ...)`."""

    is_augmentation = False

    def __init__(self, name: str, **kwargs: Any) -> None:
        self.transform = torchvision_transform(name, **kwargs)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return self.transform(image)


@TRANSFORMS.register_module()
class RefAugAugmentation(RefAugTransform):
    """The same, as an augmentation: off in the refinement phase."""

    is_augmentation = True


class Pipeline:
    """A list of transforms of which some are augmentations.

    Args:
        transforms: configs of `TRANSFORMS`. One whose class has
            `is_augmentation = True` is switched off by refinement.

    Attributes:
        in_refinement: the pipeline that takes over where the strength is 0; by
            default this one, without its augmentations.
    """

    def __init__(self, transforms: Sequence[dict]) -> None:
        self.transforms = [TRANSFORMS.build(cfg) for cfg in transforms]
        self.in_refinement: Pipeline | None = None

    def __call__(self, image: torch.Tensor, strength: float = 1.0) -> tuple[torch.Tensor, bool]:
        """Transform one image, (3, H, W) uint8; also says whether it was augmented.

        Args:
            strength: probability in [0, 1] that this image is augmented at all.
        """
        if strength <= 0 and self.in_refinement is not None:
            return self.in_refinement(image, strength)
        augment = strength > 0 and random.random() < strength
        augmented = False
        for transform in self.transforms:
            if getattr(transform, 'is_augmentation', False):
                if not augment:
                    continue
                augmented = True
            image = transform(image)
        return image, augmented
