"""Image data for stage 1: file -> uint8 image (3, H, W) and label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from classification.transforms import Pipeline
from refaug_det.errors import UserError
from refaug_det.images import decode

IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.ppm'}


@DATASETS.register_module()
class RefAugImageFolder(Dataset):
    """`data_root/split/CLASS/IMAGE`, the layout of ImageNet and of torchvision's ImageFolder.

    Args:
        data_root: folder that holds the splits.
        split: name of the split's folder, such as `train` or `val`; several
            names are taken in the order in which they exist (`('val', 'test')`).
        pipeline: configs of per-image transforms (`classification.transforms`).
        classes: names, in label order; by default the class folders, sorted.

    Raises:
        UserError: no such folder, no classes, no images, or classes that differ.
    """

    def __init__(self, data_root: str, split: str | Sequence[str], pipeline: Sequence[dict],
                 classes: Sequence[str] | None = None) -> None:
        self.folder = split_folder(data_root, split)
        found = sorted(p.name for p in self.folder.iterdir()
                       if p.is_dir() and not p.name.startswith('.'))
        self.classes = tuple(classes or found)
        if not found or not set(self.classes) <= set(found):
            missing = sorted(set(self.classes) - set(found))[:3]
            raise UserError(f'no folder for the classes {missing}' if found else
                            'no class folders', self.folder, 'one folder of images per class')
        self.samples = [(path, label) for label, name in enumerate(self.classes)
                        for path in sorted((self.folder / name).rglob('*'))
                        if path.suffix.lower() in IMAGE_SUFFIXES]
        if not self.samples:
            raise UserError('no images in the class folders', self.folder,
                            f'files end in {", ".join(sorted(IMAGE_SUFFIXES))}')
        self.pipeline = Pipeline(pipeline)
        self.epoch = 0  # of the sample being drawn; set with every sample
        self.strength: Callable[[int], float] | None = None

    @property
    def metainfo(self) -> dict[str, Any]:
        return dict(classes=self.classes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index` as it is seen in epoch `self.epoch`.

        Returns:
            `inputs` uint8 (3, H, W), `label` int, `index` int, and `augmented`:
            whether an augmentation acted on this very image.
        """
        path, label = self.samples[index]
        strength = 1.0 if self.strength is None else self.strength(self.epoch)
        image, augmented = self.pipeline(_to_tensor(decode(path)), strength)
        return dict(inputs=image, label=label, index=index, augmented=augmented)

    def full_init(self) -> None:
        """Nothing: asked for by mmengine's dataset wrappers."""


def split_folder(data_root: str | Path, split: str | Sequence[str]) -> Path:
    """The folder of a split.

    Raises:
        UserError: it does not exist; says where it was looked for.
    """
    tried = [Path(data_root) / name for name in ([split] if isinstance(split, str) else split)]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise UserError('the data set is not here', ' or '.join(map(str, tried)),
                    'pass --data-root DIR with DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg '
                    '(ImageNet: image-net.org, ILSVRC2012 extracted into class folders)')


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()
