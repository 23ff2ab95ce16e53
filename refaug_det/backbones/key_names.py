"""What each known source calls its keys, its pixels and its channel order.

torchvision's names are the target. A new source is one more entry of `KNOWN`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refaug_det.backbones.resnets import IMAGENET_MEAN, IMAGENET_STD
from refaug_det.errors import UserError

if TYPE_CHECKING:
    import torch

ANCHORS = ('conv1.weight', 'layer1.0.conv1.weight')  # every ResNet by torchvision's names has them


@dataclass(frozen=True)
class Pixels:
    """How a network wants its input: see `BackboneSpec`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str = 'RGB'


IMAGENET = Pixels(IMAGENET_MEAN, IMAGENET_STD)


@dataclass(frozen=True)
class KeyNames:
    """How a source names the tensors of its backbone.

    Attributes:
        name: what `--format` calls it.
        prefix: regular expression that the backbone's keys begin with.
        used_by: who writes such files.
        pixels: what its networks were trained on; None where only the single
            file can say.
        renames: (regular expression, replacement) after the prefix is gone,
            one after the other, to torchvision's names.
    """

    name: str
    prefix: str
    used_by: str
    pixels: Pixels | None = IMAGENET
    renames: tuple[tuple[str, str], ...] = ()

    def torchvision(self, key: str) -> str | None:
        """torchvision's name of a key; None for one outside the backbone."""
        found = re.match(self.prefix, key)
        if not found:
            return None
        key = key[found.end():]
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key

    def mapping(self, keys: Iterable[str], source: object) -> dict[str, str]:
        """torchvision's name -> key in the file, for every key of the backbone.

        Raises:
            UserError: two keys have one name.
        """
        found: dict[str, str] = {}
        for key in keys:
            name = self.torchvision(key)
            if name is not None and found.setdefault(name, key) != key:
                raise UserError(f'{found[name]} and {key} are both {name}', source,
                                'pass the --prefix of the network that is meant')
        return found


KNOWN = (
    KeyNames('torchvision', '', 'torchvision, timm; VICReg, Barlow Twins, DINO as published'),
    KeyNames('data-parallel', r'module\.', 'CutMix-PyTorch, SwAV, PyTorch\'s ImageNet example'),
    KeyNames('moco', r'module\.encoder_q\.', 'MoCo v1, v2'),
    KeyNames('moco-v3', r'module\.base_encoder\.', 'MoCo v3'),
    KeyNames('simsiam', r'module\.encoder\.', 'SimSiam'),
    KeyNames('barlow-twins', r'module\.backbone\.', 'Barlow Twins, VICReg in training'),
    KeyNames('dino', r'teacher\.(module\.)?backbone\.', 'DINO in training; its teacher'),
    KeyNames('openmmlab', r'backbone\.', 'mmdet, mmpretrain and their like', pixels=None),
    KeyNames('detectron2', r'(backbone\.(bottom_up\.)?|roi_heads\.)?(?=stem\.|res[2-5]\.)',
             'detectron2, C4 and FPN; torchvision and MoCo converted for it', pixels=None,
             renames=((r'^stem\.', ''), (r'^res2\.', 'layer1.'), (r'^res3\.', 'layer2.'),
                      (r'^res4\.', 'layer3.'), (r'^res5\.', 'layer4.'),
                      (r'\bconv([123])\.norm\.', r'bn\1.'),
                      (r'\bshortcut\.norm\.', 'downsample.1.'),
                      (r'\bshortcut\.', 'downsample.0.'))),
    KeyNames('refaug-det', r'(network\.)?net\.', 'this project\'s runs', pixels=None),
)


def named(name: str) -> KeyNames:
    """The format of that name.

    Raises:
        UserError: there is none.
    """
    for names in KNOWN:
        if names.name == name:
            return names
    raise UserError(f'unknown format {name!r}', '--format',
                    f'one of {", ".join(names.name for names in KNOWN)}')


def with_prefix(prefix: str) -> KeyNames:
    """The format whose keys begin so; of an unknown one, torchvision's names come after it."""
    known = (names for names in KNOWN if re.fullmatch(names.prefix, prefix))
    return next(known, KeyNames('prefix', re.escape(prefix), 'an unknown source', pixels=None))


def recognise(keys: Iterable[str], source: object,
              anchors: Sequence[str] = ANCHORS) -> KeyNames:
    """The one format under which the file holds a backbone.

    Args:
        keys: of the file.
        source: what errors call it.
        anchors: keys that the backbone must have; `_` and `.` are one, as timm's
            feature extractors write them.

    Raises:
        UserError: no format fits, or more than one.
    """
    keys = list(keys)
    fitting = []
    for names in KNOWN:
        found = {(names.torchvision(key) or '').replace('_', '.') for key in keys}
        if found.issuperset(anchor.replace('_', '.') for anchor in anchors):
            fitting.append(names)
    if not fitting:
        raise UserError('no known format fits the keys of this file', source, advice(keys))
    if len(fitting) > 1:
        raise UserError(f'the file holds more than one backbone: it fits '
                        f'{" and ".join(names.name for names in fitting)}', source,
                        f'choose one with --format {fitting[0].name}')
    return fitting[0]


def architecture_of(tensors: dict[str, torch.Tensor], source: object) -> str:
    """Architecture of a ResNet by its tensors, with torchvision's names.

    The depth counts the layers with weights: those of the blocks, the first
    convolution and the classifier.

    Raises:
        UserError: not a ResNet of four stages.
    """
    blocks = {found[0] for key in tensors if (found := re.match(r'layer\d+\.\d+\.', key))}
    stages = {block.split('.')[0] for block in blocks}
    if ANCHORS[0] not in tensors or stages != {f'layer{i}' for i in (1, 2, 3, 4)}:
        raise UserError(f'not a ResNet of four stages: it has {len(stages)}', source,
                        'pass --architecture if it is a network of timm' if stages else
                        advice(list(tensors)))
    depth = 2 + len(blocks) * (3 if is_bottleneck(tensors) else 2)
    return f'resnet{depth}'


def width_of(tensors: dict[str, torch.Tensor]) -> int:
    """Channels of a ResNet's first convolution; those of the published where it has none."""
    first = tensors.get(ANCHORS[0])
    return 64 if first is None or first.ndim != 4 else int(first.shape[0])


def is_bottleneck(tensors: dict[str, torch.Tensor]) -> bool:
    """Whether a ResNet's blocks are 1x1, 3x3, 1x1, where the stride has two possible places."""
    return 'layer1.0.conv3.weight' in tensors


def advice(keys: list[str]) -> str:
    """What to do about a file that no format fits."""
    if any(key.endswith('res2_0_branch2a_w') for key in keys):
        return ('it is a Caffe2 file: its blocks have their stride in the 1x1 convolution, which '
                'no detector here has; use weights in torchvision\'s layout')
    prefixes = [key.removesuffix(ANCHORS[0]) for key in keys if key.endswith('.' + ANCHORS[0])]
    likely = [prefix for prefix in prefixes if prefix + ANCHORS[1] in keys]
    if likely:
        return (f'a ResNet is under {" and ".join(map(repr, likely[:3]))}: pass that as --prefix, '
                'with --mean --std --channel-order')
    return f'its first key is {keys[0]!r}; pass --prefix, or --architecture for one of timm'
