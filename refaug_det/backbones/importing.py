"""Register weights that someone else trained."""

from __future__ import annotations

from pathlib import Path

import torch

from refaug_det.backbones import zoo
from refaug_det.backbones.formats import LoadReport, below, load_whole, read_weights
from refaug_det.backbones.resnets import reference, spec_of
from refaug_det.backbones.zoo import BackboneCard
from refaug_det.errors import UserError


def add(name: str, source: Path, architecture: str, width: int = 64, prefix: str = '',
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375), channel_order: str = 'RGB',
        overwrite: bool = False) -> tuple[BackboneCard, LoadReport]:
    """Register a weights file under a name, if it is a whole backbone.

    Args:
        name: its name in the zoo.
        source: see `formats.read_weights`; the keys are torchvision's after `prefix`.
        architecture, width: see `BackboneSpec`.
        mean, std: of the pixels, in [0, 255].
        channel_order: `RGB` or `BGR`.
        overwrite: replace other weights of that name.

    Raises:
        UserError: anything but a whole backbone of that architecture.
    """
    if channel_order not in ('RGB', 'BGR'):
        raise UserError(f'channel order {channel_order!r}', '--channel-order', 'RGB or BGR')
    if min(std) <= 0:
        raise UserError(f'std {std} must be positive', '--std', 'of pixels in 0-255')
    model: torch.nn.Module = reference(architecture, width)
    weights = below(read_weights(source), prefix, model, source)
    report = load_whole(model, weights, source)
    spec = spec_of(architecture, width, mean, std, channel_order)
    card = zoo.register(name, {key: weights[key] for key in model.state_dict() if key in weights},
                        spec, provenance=dict(file=source.name, prefix=prefix or None),
                        metrics={}, overwrite=overwrite)
    return card, report
