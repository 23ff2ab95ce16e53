"""Where weights come from: a run of ours, a file, torchvision, timm."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refaug_det.backbones.formats import Checkpoint, read_checkpoint
from refaug_det.backbones.key_names import Pixels
from refaug_det.backbones.timm_pyramids import PREFIX as TIMM
from refaug_det.errors import UserError

_OURS = re.compile(r'iter_\d+\.pth|weights_\w+\.safetensors')
_PLAIN_RESNETS = ('resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152')


@dataclass(frozen=True)
class Origin:
    """Weights, and what their origin says of them.

    Attributes:
        where: what errors call them.
        provenance: for the card.
        metrics: of the run, at the epoch of the weights; percent and nats.
        pixels, architecture, format: None where the origin does not say.
    """

    checkpoint: Checkpoint
    where: str
    provenance: dict[str, Any]
    metrics: dict[str, float | None] = field(default_factory=dict)
    pixels: Pixels | None = None
    architecture: str | None = None
    format: str | None = None


def find(source: str) -> Origin:
    """Weights by what `--from` names.

    Args:
        source: a weights file; a run directory, or a weights file in one;
            `torchvision://NAME`, which are the weights IMAGENET1K_V1, or
            `torchvision://NAME.IMAGENET1K_V2`; `timm://NAME`. The last three
            download.

    Raises:
        UserError: there are none, or they cannot be read safely.
    """
    scheme, found, name = source.partition('://')
    if found and scheme in ('torchvision', 'timm'):
        try:
            return (_of_torchvision if scheme == 'torchvision' else _of_timm)(source, name)
        except Exception as error:  # of the library, of its hub, of the network
            raise UserError(f'cannot get these weights ({type(error).__name__}: '
                            f'{str(error)[:150]})', source,
                            'name a file that you have downloaded') from None
    if found:
        raise UserError(f'unknown source {scheme}://', source,
                        'a file, a run directory, torchvision://NAME or timm://NAME')
    path = Path(source)
    from refaug_det.runs import records
    ours = _OURS.fullmatch(path.name) and (path.parent / records.FILE_NAME).is_file()
    if ours or path.is_dir():
        return _of_run(path)
    return Origin(read_checkpoint(path), source, _file(path))


def _file(path: Path) -> dict[str, Any]:
    return dict(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _of_run(path: Path) -> Origin:
    """The newest checkpoint of a run directory, or the file that is named in it."""
    from refaug_det.runs import checkpoints, directory, history, records

    home = path if path.is_dir() else path.parent
    record = records.read(home)
    if record.stage != 'classification':
        raise UserError(f'this is a {record.stage} run', home, 'name a run of tools/train_cls.py')
    if path.is_dir():
        newest = checkpoints.newest_valid(home)
        if newest is None:
            raise UserError('the run has no checkpoint that can be read', home,
                            'go on with the run (--resume), or name a weights file in it')
        path = newest[0]
    checkpoint = read_checkpoint(path)
    try:
        model = json.loads((home / directory.RESOLVED).read_text(encoding='utf-8'))['model']
        pixels = pixels_of(model['data_preprocessor'])
        timm_name = model['network'].get('name')
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'the run\'s config does not say what its images were '
                        f'({type(error).__name__}: {error})', home / directory.RESOLVED,
                        'restore the file, or move the weights elsewhere and pass all by hand'
                        ) from None
    row = _row(history.read(home), path)
    provenance = dict(run=record.id, config=record.config, config_digest=record.config_digest,
                      seed=record.seed, epoch=row.get('epoch'), phase=row.get('phase'))
    return Origin(checkpoint, str(path), {**provenance, **_file(path)}, history.test_metrics(row),
                  pixels, f'{TIMM}{timm_name}' if timm_name else None, 'refaug-det')


def _row(rows: list[dict[str, Any]], path: Path) -> dict[str, Any]:
    """The epoch that a file of a run holds: `iter_N.pth`, or `weights_PHASE.safetensors`."""
    kind, _, which = path.stem.partition('_')
    key = {'iter': 'iteration', 'weights': 'phase'}.get(kind)
    fitting = [row for row in rows if key and str(row.get(key)) == which]
    return fitting[-1] if fitting else {}


def _of_torchvision(source: str, name: str) -> Origin:
    from torchvision.models import get_model_weights

    name, _, which = name.partition('.')
    weights = get_model_weights(name)[which.upper() or 'IMAGENET1K_V1']
    told = weights.transforms()
    pixels = pixels_of(dict(mean=told.mean, std=told.std), scale=255)
    state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    return Origin(Checkpoint(state), source, dict(source=source, weights=weights.name,
                                                  url=weights.url), {}, pixels, name, 'torchvision')


def _of_timm(source: str, name: str) -> Origin:
    import timm

    model = timm.create_model(name, pretrained=True)
    told: Any = model.pretrained_cfg
    plain = name.partition('.')[0]
    architecture = plain if plain in _PLAIN_RESNETS else f'{TIMM}{plain}'
    provenance = dict(source=source, weights=told.get('tag'),
                      url=told.get('url') or told.get('hf_hub_id'))
    return Origin(Checkpoint(dict(model.state_dict())), source, provenance, {},
                  pixels_of(told, scale=255), architecture, 'torchvision')


def pixels_of(told: Any, scale: float = 1.0) -> Pixels:
    """Pixels by the keys `mean` and `std`.

    Args:
        told: a mapping.
        scale: 255 for libraries that scale their images to [0, 1].
    """
    mean, std = (tuple(scale * float(v) for v in told[key]) for key in ('mean', 'std'))
    return Pixels(mean, std)
