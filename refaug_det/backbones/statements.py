"""What a weights file says of the input and the style of its network, read as text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refaug_det.backbones.formats import Checkpoint
from refaug_det.backbones.key_names import IMAGENET, KeyNames, Pixels, is_bottleneck
from refaug_det.backbones.resnets import IMAGENET_MEAN
from refaug_det.errors import UserError

if TYPE_CHECKING:
    import torch

PYTORCH, CAFFE = 'pytorch', 'caffe'
_NUMBERS = r'=\s*[\[(]([-+\d.eE,\s]+)[\])]'


@dataclass(frozen=True)
class Statement:
    """What is known of a network beside its weights.

    Attributes:
        pixels: None where nothing says.
        style: where a bottleneck block has its stride, in OpenMMLab's words:
            `pytorch` in the 3x3, `caffe` in the first 1x1 convolution; None
            where nothing says.
        by: who says so.
    """

    pixels: Pixels | None
    style: str | None
    by: str


def of(names: KeyNames, checkpoint: Checkpoint) -> Statement:
    """What the format, or the file where the format cannot, says."""
    if names.name == 'openmmlab':
        return _of_openmmlab(checkpoint)
    if names.name == 'detectron2':
        return _of_detectron2(checkpoint)
    return Statement(names.pixels, PYTORCH, f'{"as all of" if names.pixels else "it is of"} '
                     f'{names.used_by}')


def settle(said: Statement, mean: Sequence[float] | None, std: Sequence[float] | None,
           channel_order: str | None, where: str) -> Pixels:
    """The pixels: what is given, and for the rest what is said.

    Raises:
        UserError: something is neither given nor said, or is not possible.
    """
    if channel_order not in (None, 'RGB', 'BGR'):
        raise UserError(f'channel order {channel_order!r}', '--channel-order', 'RGB or BGR')
    pixels = said.pixels
    if pixels is None:
        if mean is None or std is None or channel_order is None:
            raise UserError(f'nothing says which pixels these weights were trained on ({said.by})',
                            where, 'pass --mean --std --channel-order')
        pixels = Pixels(tuple(mean), tuple(std), channel_order)
    made = Pixels(tuple(mean or pixels.mean), tuple(std or pixels.std),
                  channel_order or pixels.channel_order)
    if not all(map(math.isfinite, (*made.mean, *made.std))) or min(made.std) <= 0:
        raise UserError(f'std {made.std} must be positive, mean {made.mean} finite', '--std',
                        'of pixels in 0-255')
    return made


def refuse_caffe(bare: dict[str, torch.Tensor], said: Statement, style: str | None,
                 pixels_given: bool, where: str) -> None:
    """Bottleneck blocks have their stride in the 3x3 here; the tensors cannot tell where.

    Args:
        bare: the backbone, by torchvision's key names.
        said: by the source.
        style: as given.
        pixels_given: whether mean, std and channel order are all given.

    Raises:
        UserError: caffe style, or nothing says which.
    """
    if style not in (None, PYTORCH, CAFFE):
        raise UserError(f'style {style!r}', '--style', 'pytorch or caffe')
    if not is_bottleneck(bare):
        return
    if (style or said.style) == CAFFE:
        raise UserError('the network is of caffe style: its bottleneck blocks have the stride in '
                        'the 1x1 convolution, those of the detectors here in the 3x3', where,
                        'use weights of pytorch style')
    if _folded(bare) and not (style and pixels_given):
        raise UserError('its batch norms are folded, as converters from Caffe leave them: nothing '
                        'says which pixels it takes, or where its blocks have their stride', where,
                        'if it is in the 3x3: --style pytorch --mean --std --channel-order')
    if style is None and said.style is None:
        raise UserError('nothing says whether the bottleneck blocks have their stride in the 3x3 '
                        f'convolution (pytorch style) or the 1x1 (caffe style): {said.by}',
                        where, 'if it is in the 3x3, pass --style pytorch')


def _folded(bare: dict[str, torch.Tensor]) -> bool:
    """Whether every batch norm's statistics are 0 and 1, as converters from Caffe leave them.

    detectron2 takes its epsilon off the 1.
    """
    statistics = [(tensor.float(), float(key.endswith('var'))) for key, tensor in bare.items()
                  if key.endswith(('.running_mean', '.running_var'))]
    return bool(statistics) and all(
        bool(((tensor - one).abs() < 1e-4).all()) for tensor, one in statistics)


def _of_openmmlab(checkpoint: Checkpoint) -> Statement:
    """By the config that the trainer leaves in `meta`, as text: it is searched, never run.

    What stands in it twice with different values is not taken for known.
    """
    config = checkpoint.meta.get('cfg') or checkpoint.meta.get('config')
    if not isinstance(config, str):
        return Statement(None, None, 'the file holds no config')
    means, stds = (set(re.findall(rf'\b{name}{_NUMBERS}', config)) for name in ('mean', 'std'))
    orders = set(re.findall(r'\b(?:bgr_)?to_rgb\s*=\s*(True|False)\b', config))
    styles = set(re.findall(r'\bstyle\s*=\s*[\'"](\w+)[\'"]', config)) or {PYTORCH}
    style = styles.pop() if len(styles) == 1 else None
    mean, std = (_floats(texts) for texts in (means, stds))
    if mean is None or std is None or len(orders) != 1:
        return Statement(None, style, 'its config does not say')
    order = 'RGB' if orders.pop() == 'True' else 'BGR'
    return Statement(Pixels(mean, std, order), style, 'the config in the file')


def _of_detectron2(checkpoint: Checkpoint) -> Statement:
    """By the converter's name, or the pixel statistics that older models hold as tensors."""
    if checkpoint.meta.get('author') in ('torchvision', 'MOCO'):
        return Statement(IMAGENET, PYTORCH, f'converted from {checkpoint.meta["author"]}')
    found = [checkpoint.tensors.get(name) for name in ('pixel_mean', 'pixel_std')]
    mean, std = (tuple(round(float(v), 3) for v in t.flatten()) if t is not None and t.numel() == 3
                 else None for t in found)
    if mean is None or std is None:
        return Statement(None, None, 'the file holds no pixel_mean and pixel_std')
    order = {_near(IMAGENET_MEAN): 'RGB', _near(IMAGENET_MEAN[::-1]): 'BGR'}.get(_near(mean))
    # std 1 is MSRA's; of other networks nothing tells where the stride is
    style = CAFFE if std == (1, 1, 1) else None
    return Statement(Pixels(mean, std, order) if order else None, style,
                     'pixel_mean and pixel_std in the file')


def _near(mean: tuple[float, ...]) -> tuple[int, ...]:
    """Means to within half a grey level."""
    return tuple(round(value) for value in mean)


def _floats(texts: set[str]) -> tuple[float, ...] | None:
    """The one triple that all of `texts` say."""
    try:
        found = {tuple(float(v) for v in text.split(',') if v.strip()) for text in texts}
    except ValueError:
        return None
    values = found.pop() if len(found) == 1 else ()
    return values if len(values) == 3 else None
