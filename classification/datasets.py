"""Image data for stage 1: file -> uint8 image (3, H, W) and label."""

from __future__ import annotations

import difflib
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
        UserError: no such folder, no classes, a class without images, or classes that differ.
    """

    def __init__(self, data_root: str, split: str | Sequence[str], pipeline: Sequence[dict],
                 classes: Sequence[str] | None = None) -> None:
        self.folder = split_folder(data_root, split)
        self.classes = class_names(self.folder, classes)
        self.samples = [(path, label) for label, name in enumerate(self.classes)
                        for path in _images(self.folder / name)]
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

        Raises:
            UserError: the image cannot be decoded, or a transform refuses it.
        """
        path, label = self.samples[index]
        strength = 1.0 if self.strength is None else self.strength(self.epoch)
        pixels = _to_tensor(decode(path))
        try:
            image, augmented = self.pipeline(pixels, strength)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f'a transform refuses an image of shape {tuple(pixels.shape)}: '
                            f'{str(error)[:200]}', path, 'mend the pipeline') from None
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


def class_names(folder: Path, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """The classes of a split in label order: those wanted, or all that have a folder, sorted.

    Raises:
        UserError: no class folders, none for a class that is wanted, or one wanted twice.
    """
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))
    if not found:
        raise UserError('no class folders', folder, 'one folder of images per class')
    names = tuple(wanted or found)
    missing = [name for name in names if name not in found]
    if missing or len(set(names)) < len(names):
        near = difflib.get_close_matches(missing[0], found, 1) if missing else []
        raise UserError(f'no folder for the classes {missing[:3]}' if missing else
                        f'a class occurs twice in {", ".join(names)[:200]}', folder,
                        f'did you mean {near[0]!r}?' if near else
                        f'the folders are {", ".join(found)[:200]}')
    return names


def _images(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob('*')
                   if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.'))
    if not found:
        raise UserError('no images for a class', folder,
                        f'files end in {", ".join(sorted(IMAGE_SUFFIXES))}')
    return found


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()
