"""The backbone zoo: a folder of weights (safetensors), each with a card (JSON)."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_dir

from refaug_det.errors import UserError
from refaug_det.runs import files
from refaug_det.runs.records import now

if TYPE_CHECKING:
    import torch

SCHEMA = 1
SCHEME = 'refaug://'
CARD, WEIGHTS = 'card.json', 'weights.safetensors'
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
        value = json.loads(path.read_text(encoding='utf-8'))
        if value['schema'] != SCHEMA:
            raise ValueError(f'schema {value["schema"]}, this version reads {SCHEMA}')
        spec: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.pop('spec').items()}
        value['name'] = name  # the folder's: it may have been renamed
        return BackboneCard(spec=BackboneSpec(**spec), **value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'malformed backbone card: {error}', path,
                        'register the backbone again') from None


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
    made = BackboneCard(name, spec, _sha256(data), now(), provenance, metrics)
    if home.exists() and not overwrite and card(name).sha256 != made.sha256:
        raise UserError(f'the zoo has other weights under {name!r}', home,
                        'choose another --name, or pass --overwrite')
    aside = home.with_name(f'.{home.name}.{os.getpid()}{files.TEMPORARY_SUFFIX}')
    old = home.with_name(f'.{home.name}.{os.getpid()}.old{files.TEMPORARY_SUFFIX}')
    try:
        files.write_bytes(aside / WEIGHTS, data)
        files.write_json(aside / CARD, dataclasses.asdict(made))
        if home.exists():
            os.rename(home, old)
        os.rename(aside, home)
    except BaseException:
        if old.exists() and not home.exists():
            os.rename(old, home)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return made


def weights(name: str) -> dict[str, torch.Tensor]:
    """Tensors of a registered backbone, checked against the card.

    Raises:
        UserError: unknown name, or the file is not the one that was registered.
    """
    from safetensors.torch import load

    verify(name)
    return load((zoo_dir() / plain_name(name) / WEIGHTS).read_bytes())


def verify(name: str) -> BackboneCard:
    """Check that the weights file is the one its card describes.

    Raises:
        UserError: missing or changed weights.
    """
    found = card(name)
    path = zoo_dir() / found.name / WEIGHTS
    if not path.is_file() or _sha256(path.read_bytes()) != found.sha256:
        raise UserError('the weights are not those of the card (sha256 differs)', path,
                        'register the backbone again, with --overwrite')
    return found


def _sha256(data: bytes) -> str:
    import hashlib
    return hashlib.sha256(data).hexdigest()
