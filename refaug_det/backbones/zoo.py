"""The backbone zoo: a folder of weights (safetensors), each with a card (JSON)."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_dir

from refaug_det.backbones import entries
from refaug_det.backbones.entries import CARD, WEIGHTS
from refaug_det.errors import UserError
from refaug_det.runs import locks
from refaug_det.runs.records import now

if TYPE_CHECKING:
    import torch

SCHEMA = 1
SCHEME = 'refaug://'
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,99}')


@dataclass(frozen=True)
class BackboneSpec:
    """What a detector must know of a backbone to be built around it.

    Attributes:
        architecture: `resnet18`, `resnet34`, `resnet50`, `resnet101` or `resnet152`,
            with torchvision's key names; or `timm/NAME`, with those of timm's feature extractor.
        width: channels of the first stage's convolutions; 64 in the published ResNets. Of
            timm's networks, channels of the first map.
        out_channels: channels of the four stages.
        out_strides: input pixels per feature pixel of the four stages.
        mean, std: of the pixels the backbone was trained on, in [0, 255], in
            the order of `channel_order`.
        channel_order: `RGB` or `BGR`.
    """

    architecture: str
    width: int
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str = 'RGB'


@dataclass(frozen=True)
class BackboneCard:
    """Where a registered backbone comes from and what it is.

    Attributes:
        name: its name in the zoo.
        spec: see `BackboneSpec`.
        sha256: of the weights file.
        provenance: run id, config, seed, phase and epoch, or the source file.
        metrics: of the run it comes from, at that epoch; percent and nats.
    """

    name: str
    spec: BackboneSpec
    sha256: str
    created: str
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    schema: int = SCHEMA


def zoo_dir() -> Path:
    """`$REFAUG_DET_ZOO`, or `zoo` in the user's data directory."""
    return Path(os.environ.get('REFAUG_DET_ZOO') or Path(user_data_dir('refaug-det')) / 'zoo')


def plain_name(name: str) -> str:
    """`NAME` of `NAME` or `refaug://NAME`.

    Raises:
        UserError: not a name the zoo can hold.
    """
    name = name.removeprefix(SCHEME)
    if not _NAME.fullmatch(name):
        raise UserError('not a backbone name', repr(name),
                        'use letters, digits, dot, dash and underscore, at most 100')
    return name


def names() -> list[str]:
    """Names in the zoo, sorted."""
    return sorted(path.parent.name for path in zoo_dir().glob(f'*/{CARD}')
                  if _NAME.fullmatch(path.parent.name))


def card(name: str) -> BackboneCard:
    """The card of a registered backbone.

    Raises:
        UserError: unknown name or malformed card.
    """
    name = plain_name(name)
    path = zoo_dir() / name / CARD
    if not path.is_file():
        known = names()
        near = difflib.get_close_matches(name, known, 1)
        raise UserError(f'no backbone {name!r} in the zoo', zoo_dir(),
                        f'did you mean {near[0]!r}?' if near else
                        f'registered are: {", ".join(known) or "none yet"}')
    try:
        value = json.loads(path.read_text(encoding='utf-8'), parse_constant=_no_number)
        if value['schema'] != SCHEMA:
            raise ValueError(f'schema {value["schema"]}, this version reads {SCHEMA}')
        spec: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.pop('spec').items()}
        kinds = dict(sha256=str, provenance=dict, metrics=dict)
        if wrong := [key for key, kind in kinds.items() if not isinstance(value.get(key), kind)]:
            raise ValueError(f'no usable {wrong[0]}')
        if not min(spec['std']) > 0 or not min(*spec['out_channels'], *spec['out_strides']) > 0:
            raise ValueError('std, channels and strides must be above 0')
        value['name'] = name  # the folder's: it may have been renamed
        return BackboneCard(spec=BackboneSpec(**spec), **value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'malformed backbone card: {str(error)[:200]}', path,
                        'register the backbone again') from None


def _no_number(constant: str) -> float:
    raise ValueError(f'{constant} in it, which is no JSON')


def register(name: str, weights: dict[str, torch.Tensor], spec: BackboneSpec, *,
             provenance: dict[str, Any], metrics: dict[str, float | None],
             overwrite: bool = False) -> BackboneCard:
    """Put a backbone into the zoo, whole or not at all.

    Args:
        name: letters, digits, dot, dash, underscore.
        weights: tensors by torchvision's key names, the classifier left out.
        overwrite: replace other weights of that name.

    Raises:
        UserError: the name is taken by other weights, or weights are not finite.
    """
    from safetensors.torch import save

    bad = [key for key, value in weights.items()
           if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise UserError('weights are not finite; not registered', bad[0],
                        'the training diverged: lower the learning rate')
    name = plain_name(name)
    home = zoo_dir() / name
    data = save({k: v.detach().cpu().contiguous().clone() for k, v in sorted(weights.items())})
    made = BackboneCard(name, spec, entries.sha256_of(data), now(), provenance, metrics)
    zoo_dir().mkdir(parents=True, exist_ok=True)
    with locks.alone(zoo_dir()) as locked:
        if locked:  # else another process may be at work there
            entries.sweep(zoo_dir())
        if home.is_symlink():
            raise UserError('a link stands there: what it points to is left alone', home,
                            'remove the link, or choose another name')
        if not home.exists():
            entries.add(home, dataclasses.asdict(made), data)
        elif overwrite or card(name).sha256 == made.sha256:
            entries.replace(home, dataclasses.asdict(made), data)
        else:
            raise UserError(f'the zoo has other weights under {name!r}', home,
                            'choose another --name, or pass --overwrite')
    return made


def weights(name: str) -> dict[str, torch.Tensor]:
    """Tensors of a registered backbone, checked against the card.

    Raises:
        UserError: unknown name, or the file is not the one that was registered.
    """
    from safetensors.torch import load

    return load(_verified(name)[1])


def verify(name: str) -> BackboneCard:
    """Check that the weights file is the one its card describes.

    Raises:
        UserError: missing or changed weights.
    """
    return _verified(name)[0]


def _verified(name: str) -> tuple[BackboneCard, bytes]:
    """The card and the weights that are its own."""
    while True:
        found = card(name)
        home = zoo_dir() / found.name
        data = entries.weights_of(home, found.sha256)
        if data is not None:
            return found, data
        if card(name) == found:  # else it has been replaced meanwhile
            raise UserError('the weights are not those of the card (sha256 differs)',
                            home / WEIGHTS, 'register the backbone again, with --overwrite')
