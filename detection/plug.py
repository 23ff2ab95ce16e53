"""Plug a backbone into a detector: config + spec -> config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from refaug_det.backbones import resnets, zoo
from refaug_det.backbones.zoo import BackboneSpec
from refaug_det.errors import UserError

RANDOM, TORCHVISION = 'random:', 'torchvision://'


@dataclass(frozen=True)
class Source:
    """A backbone to start from.

    Attributes:
        name: its row in the table.
        spec: see `BackboneSpec`.
        checkpoint: what mmengine loads; None leaves the weights random.
        sha256, run: of the registered weights, and of the run they come from.
    """

    name: str
    spec: BackboneSpec
    checkpoint: str | None
    sha256: str | None = None
    run: str | None = None


def find(name: str) -> Source:
    """What `--backbone` names.

    Args:
        name: `NAME` or `refaug://NAME` from the zoo; `torchvision://resnet50`;
            `random:NAME` or `random:resnet50` for that architecture and input
            normalisation with weights left at random, the floor of a table.

    Raises:
        UserError: unknown name, or changed weights.
    """
    if name.startswith(TORCHVISION):
        return Source(name, resnets.spec_of(name.removeprefix(TORCHVISION)), name)
    if name.startswith(RANDOM):
        like = name.removeprefix(RANDOM)
        spec = zoo.card(like).spec if like in zoo.names() else resnets.spec_of(like)
        width = '' if spec.width == 64 else f' width {spec.width}'
        return Source(f'random {spec.architecture}{width}', spec, None)
    card = zoo.verify(name)
    return Source(card.name, card.spec, zoo.SCHEME + card.name, card.sha256,
                  card.provenance.get('run'))


def plug_backbone(cfg: Config, source: Source) -> Config:
    """The config with a backbone, a neck and an input normalisation that belong together.

    What the protocol says of the backbone (frozen stages, norm_eval, output
    stages, norm layers) is kept; the rest comes from the spec.

    Args:
        cfg: a resolved mmdet config; not changed.
        source: from `find`.

    Raises:
        UserError: the config's detector has no backbone to replace.
    """
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    if not isinstance(cfg.get('model'), dict) or 'backbone' not in cfg.model:
        raise UserError('the config has no model.backbone', cfg.filename, 'use a detector config')
    spec, old = source.spec, cfg.model.backbone
    kept: dict[str, Any] = {key: old[key] for key in (
        'num_stages', 'out_indices', 'frozen_stages', 'norm_cfg', 'norm_eval') if key in old}
    depth = resnets.depth_of(spec.architecture)
    init = None if source.checkpoint is None else dict(
        type='Pretrained', checkpoint=source.checkpoint)
    cfg.model.backbone = dict(type='ResNet', depth=depth, base_channels=spec.width,
                              stem_channels=spec.width, style='pytorch', init_cfg=init, **kept)
    if 'neck' in cfg.model:
        cfg.model.neck.in_channels = [spec.out_channels[i] for i in kept.get(
            'out_indices', range(4))]
    cfg.model.data_preprocessor.update(
        mean=list(spec.mean), std=list(spec.std), bgr_to_rgb=spec.channel_order == 'RGB')
    return cfg
