"""Image data for stage 1: file -> uint8 image (3, H, W) and label."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from classification.transforms import Pipeline
from refaug_det.errors import UserError
from refaug_det.images import decode

IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.ppm'}


class LabelledImages(Dataset):
    """What becomes of a sample, wherever it comes from.

    A subclass implements `names_in`, `read`, `where` and `__len__`.

    Args:
        classes: names, in label order.
        pipeline: configs of per-image transforms (`classification.transforms`).
    """

    def __init__(self, classes: Sequence[str], pipeline: Sequence[dict]) -> None:
        self.classes = tuple(classes)
        self.pipeline = Pipeline(pipeline)
        self.epoch = 0  # of the sample being drawn; set with every sample
        self.strength: Callable[[int], float] | None = None

    @classmethod
    def names_in(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Class names, in label order, of the data set that a config asks for; reads no image.

        Raises:
            UserError: the data is not there, or has no class of such a name.
        """
        raise NotImplementedError

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Image `index`, uint8 (3, H, W), which the caller may change, and its label."""
        raise NotImplementedError

    def where(self, index: int) -> object:
        """Where image `index` lies, for an error to name."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def metainfo(self) -> dict[str, Any]:
        return dict(classes=self.classes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index` as it is seen in epoch `self.epoch`.

        Returns:
            `inputs` uint8 (3, H, W), `label` int, `index` int, and `augmented`:
            whether an augmentation acted on this very image.

        Raises:
            UserError: the image cannot be decoded, or a transform refuses it.
        """
        pixels, label = self.read(index)
        strength = 1.0 if self.strength is None else self.strength(self.epoch)
        shape = tuple(pixels.shape)
        try:
            image, augmented = self.pipeline(pixels, strength)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f'a transform refuses an image of shape {shape}: {str(error)[:200]}',
                            self.where(index), 'mend the pipeline') from None
        return dict(inputs=image, label=label, index=index, augmented=augmented)

    def full_init(self) -> None:
        """Nothing: asked for by mmengine's dataset wrappers."""


class ImageFiles(LabelledImages):
    """Images that are files of their own.

    Args:
        samples: (file, label) of every image, listed once.
        classes, pipeline: as in `LabelledImages`.
    """

    def __init__(self, samples: Sequence[tuple[Path, int]], classes: Sequence[str],
                 pipeline: Sequence[dict]) -> None:
        super().__init__(classes, pipeline)
        self.samples = samples

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        return torch.from_numpy(decode(path)).permute(2, 0, 1).contiguous(), label

    def where(self, index: int) -> object:
        return self.samples[index][0]

    def __len__(self) -> int:
        return len(self.samples)


@DATASETS.register_module()
class RefAugImageFolder(ImageFiles):
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
        names = class_names(self.folder, classes)
        samples = [(path, label) for label, name in enumerate(names)
                   for path in _some_images(self.folder / name)]
        super().__init__(samples, names, pipeline)

    @classmethod
    def names_in(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return class_names(split_folder(config['data_root'], config['split']),
                           config.get('classes'))


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


def class_folders(folder: Path) -> list[str]:
    """The names of the class folders of a split, sorted; hidden ones are passed over."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))


def class_names(folder: Path, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """The classes of a split in label order: those wanted, or all that have a folder, sorted.

    Raises:
        UserError: no class folders, none for a class that is wanted, or one wanted twice.
    """
    found = class_folders(folder)
    if not found:
        raise UserError('no class folders', folder, 'one folder of images per class')
    return chosen(found, wanted, folder)


def chosen(known: Sequence[str], wanted: Sequence[str] | None, where: object) -> tuple[str, ...]:
    """The classes that are wanted of those that the data has, in the order wanted; by default all.

    Raises:
        UserError: a class that the data lacks, or one wanted twice.
    """
    names = tuple(wanted or known)
    missing = [name for name in names if name not in known]
    if missing or len(set(names)) < len(names):
        near = difflib.get_close_matches(missing[0], known, 1) if missing else []
        raise UserError(f'the data has no classes {missing[:3]}' if missing else
                        f'a class occurs twice in {", ".join(names)[:200]}', where,
                        f'did you mean {near[0]!r}?' if near else
                        f'the classes are {", ".join(known)[:200]}')
    return names


def image_files(folder: Path) -> list[Path]:
    """The images of a class, at any depth, sorted by path; hidden files are passed over."""
    return sorted(path for path in folder.rglob('*')
                  if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.'))


def _some_images(folder: Path) -> list[Path]:
    found = image_files(folder)
    if not found:
        raise UserError('no images for a class', folder,
                        f'files end in {", ".join(sorted(IMAGE_SUFFIXES))}')
    return found
