"""Plug a backbone into a detector: config + spec -> config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from refaug_det.backbones import resnets, zoo
from refaug_det.backbones.timm_pyramids import PREFIX
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
            `random:NAME`, `random:resnet50` or `random:timm/convnext_atto` for that
            architecture and input normalisation with weights left at random, the
            floor of a table.

    Raises:
        UserError: unknown name, or changed weights.
    """
    if name.startswith(TORCHVISION):
        return Source(name, resnets.spec_of(name.removeprefix(TORCHVISION)), name)
    if name.startswith(RANDOM):
        like = name.removeprefix(RANDOM)
        spec = zoo.card(like).spec if like in zoo.names() else resnets.spec_of(like)
        own = spec.width == 64 or spec.architecture.startswith(PREFIX)
        width = '' if own else f' width {spec.width}'
        plain = spec.architecture.replace('/', '-')  # it names run directories
        return Source(f'random {plain}{width}', spec, None)
    card = zoo.verify(name)
    if not card.spec.architecture.startswith(PREFIX):  # those of timm are built from their name
        known = resnets.spec_of(card.spec.architecture, card.spec.width)
        if (known.out_channels, known.out_strides) != (card.spec.out_channels,
                                                       card.spec.out_strides):
            raise UserError(f'the card says channels {card.spec.out_channels}, strides '
                            f'{card.spec.out_strides}; such a network has {known.out_channels}, '
                            f'{known.out_strides}', zoo.zoo_dir() / card.name / zoo.CARD,
                            'register the backbone again')
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
        UserError: the config's detector has no backbone to replace, or expects
            other stages, strides or blocks than this one has.
    """
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    if not isinstance(cfg.get('model'), dict) or 'backbone' not in cfg.model:
        raise UserError('the config has no model.backbone', cfg.filename, 'use a detector config')
    spec, old = source.spec, cfg.model.backbone
    kept: dict[str, Any] = {key: old[key] for key in (
        'num_stages', 'strides', 'dilations', 'out_indices', 'frozen_stages', 'norm_cfg',
        'norm_eval') if key in old}
    _refuse_mismatch(cfg.model, spec, source.name)
    init = None if source.checkpoint is None else dict(
        type='Pretrained', checkpoint=source.checkpoint)
    if spec.architecture.startswith(PREFIX):
        cfg.model.backbone = dict(type='RefAugTimmBackbone', init_cfg=init, **kept,
                                  model_name=spec.architecture.removeprefix(PREFIX))
    else:
        cfg.model.backbone = dict(
            type='ResNet', depth=resnets.depth_of(spec.architecture), base_channels=spec.width,
            stem_channels=spec.width, style='pytorch', init_cfg=init, **kept)
    if 'neck' in cfg.model:
        cfg.model.neck.in_channels = [
            spec.out_channels[i] for i in kept.get('out_indices', range(4))]
    else:
        _split_off_last_stage(cfg.model, spec, init)
    cfg.model.data_preprocessor.update(
        mean=list(spec.mean), std=list(spec.std), bgr_to_rgb=spec.channel_order == 'RGB')
    return cfg


def _split_off_last_stage(model: Any, spec: BackboneSpec, init: dict | None) -> None:
    """Make a C4 detector's heads around a ResNet: its last stage is the head on regions."""
    third, last = spec.out_channels[2:]
    model.rpn_head.in_channels = model.roi_head.bbox_roi_extractor.out_channels = third
    model.roi_head.shared_head.update(depth=resnets.depth_of(spec.architecture), init_cfg=init)
    model.roi_head.bbox_head.in_channels = last


def _refuse_mismatch(model: Any, spec: BackboneSpec, name: str) -> None:
    """Stop before training where a detector and a backbone do not fit."""
    stages = min(len(spec.out_channels), model.backbone.get('num_stages', 4))
    maps = list(model.backbone.get('out_indices', range(4)))
    frozen = model.backbone.get('frozen_stages', -1)
    if not maps or not set(maps) <= set(range(stages)):
        raise UserError(f'the detector takes maps {maps}, {name} gives it 0 to {stages - 1}',
                        'model.backbone.out_indices', 'name maps that it has')
    if frozen > stages or (frozen == 0 and spec.architecture.startswith(PREFIX)):
        raise UserError(f'frozen_stages={frozen}: {name} has stages 1 to {stages} here',
                        'model.backbone.frozen_stages', 'freeze stages that it has, or -1 for none')
    if 'neck' not in model:
        if maps != [2] or model.get('roi_head', {}).get('shared_head', {}).get(
                'type') != 'RefAugRes5Head':
            raise UserError('the detector has neither a neck nor a RefAugRes5Head', 'model.neck',
                            'use a detector with a feature pyramid (FPN), or a C4 one such as '
                            'configs/det/faster_rcnn_r50_c4_voc0712_24k.py')
        if spec.architecture.startswith(PREFIX) or spec.width != 64:
            raise UserError(f'a C4 detector needs a ResNet of width 64; {name} is '
                            f'{spec.architecture}, width {spec.width}', 'model.roi_head',
                            'use a detector with a feature pyramid (FPN)')
    neck = model.get('neck', {})
    start, outs = neck.get('start_level', 0), neck.get('num_outs', len(maps))
    if not start < len(maps) <= outs + start:
        raise UserError(f'of {len(maps)} maps the neck leaves out {start} and gives {outs}',
                        'model.neck', 'its num_outs must be at least the maps that it takes')
    given = [spec.out_strides[index] for index in maps[start:]]
    for where, wanted in _strides_of(model):
        if wanted[:len(given)] != given[:len(wanted)]:
            raise UserError(f'the detector expects maps at strides {wanted}, {name} gives '
                            f'{given}', where, 'use a backbone with these strides, or set them')


def _strides_of(model: Any) -> Iterator[tuple[str, Sequence[int]]]:
    """What the heads take the strides of their maps to be."""
    for place in ('rpn_head.anchor_generator.strides', 'bbox_head.anchor_generator.strides',
                  'bbox_head.strides', 'roi_head.bbox_roi_extractor.featmap_strides'):
        value: Any = model
        for key in place.split('.'):
            value = value.get(key) if isinstance(value, dict) else None
        if value:
            yield f'model.{place}', list(value)
