"""Frozen features of detection images, stage by stage: what a probe and a spectrum look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.transforms.v2 import functional

from detection import probe
from detection.plug import Source
from refaug_det import spectrum
from refaug_det.backbones import resnets, zoo
from refaug_det.backbones.formats import load_whole
from refaug_det.errors import UserError
from refaug_det.images import decode
from refaug_det.runs.randomness import key

STAGES = ('layer1', 'layer2', 'layer3', 'layer4')
HELD_OUT = 5  # every fifth training image chooses the ridge
Told = Callable[[list[dict]], Iterator[dict]]


def build(source: Source) -> nn.Module:
    """The backbone, frozen: in eval mode, its weights loaded whole (random where it has none).

    Raises:
        UserError: the weights cannot be had, or are not whole; or the network is timm's.
    """
    resnets.depth_of(source.spec.architecture)  # what follows goes through a ResNet's stages
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(0, 'probe') % 2**63)
        net = resnets.reference(source.spec.architecture, source.spec.width)
    if source.checkpoint is not None:
        if source.checkpoint.startswith(zoo.SCHEME):
            weights = zoo.weights(source.checkpoint)
        else:
            from mmengine.runner import CheckpointLoader
            weights = CheckpointLoader.load_checkpoint(source.checkpoint, map_location='cpu')
        load_whole(net, weights, source.name)
    return net.eval()


@torch.inference_mode()
def stages_of(net: nn.Module, source: Source, info: dict,
              side: int) -> tuple[dict[str, torch.Tensor], np.ndarray, tuple[int, int]]:
    """The feature maps of one image, its boxes, and the size of what the network saw.

    Args:
        net: from `build`.
        source: says how pixels are normalised.
        info: an image of mmdet's data list; difficult objects are left out.
        side: the longer side is resized to it, in pixels.

    Returns:
        Stage -> (C, h, w); boxes (N, 4) in pixels of the input; (height, width).
    """
    pixels = torch.from_numpy(decode(info['img_path'], source.spec.channel_order)).permute(2, 0, 1)
    before = pixels.shape[-2:]
    height, width = (max(round(x * side / max(before)), 1) for x in before)
    resized = functional.resize(pixels, [height, width], antialias=True).float()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (source.spec.mean, source.spec.std))
    x = ((resized - mean) / std)[None]
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    maps = {}
    for stage in STAGES:
        x = getattr(net, stage)(x)
        maps[stage] = x[0]
    boxes = np.array([i['bbox'] for i in info['instances'] if not i['ignore_flag']], float)
    boxes = boxes.reshape(-1, 4) * np.tile([width / before[1], height / before[0]], 2)
    return maps, boxes, (height, width)


def examine(source: Source, train: list[dict], test: list[dict], *, side: int, most: int,
            told: Told) -> dict[str, Any]:
    """Probe every stage of a backbone, and take the spectrum of its features.

    Args:
        source: the backbone.
        train, test: data lists of mmdet, with `instances`.
        side: see `stages_of`.
        most: places an image gives at most to the probe, and to the spectrum, a stage.
        told: passes a list on, telling progress.

    Returns:
        Stage -> `position` and `size` (partial R^2, see `probe.explained`), `ridge`,
        `places` that were fitted to, and `spectrum` (of the training images: their
        covariance; see `refaug_det.spectrum.summary`).

    Raises:
        UserError: no object covers any place.
    """
    net = build(source)
    moments: dict[str, spectrum.FeatureMoments] = {}
    spectra: dict[str, spectrum.FeatureMoments] = {}
    for number, info in enumerate(told(train)):
        maps, boxes, shape = stages_of(net, source, info, side)
        for stage, features in maps.items():
            if stage not in moments:
                moments[stage] = probe.gather(len(features))
                spectra[stage] = spectrum.FeatureMoments(len(features))
            rows = features.flatten(1).T.numpy()
            spectra[stage].update(rows[_some(len(rows), most, number, 'spectrum')])
            index, place, targets = _places(features, boxes, shape, most, number)
            moments[stage].update(np.concatenate([rows[index], place, targets], 1),
                                  np.full(len(index), number % HELD_OUT == 0, int))
    short = [stage for stage in moments if min(moments[stage].counts) < 2]
    if short or not moments:
        raise UserError(f'too few objects to probe {", ".join(short) or "anything"}', source.name,
                        'use more images, or a larger --side')
    probes = {stage: (probe.fit(found), probe.fit_place(found))
              for stage, found in moments.items()}
    errors: dict[str, list[np.ndarray]] = {stage: [] for stage in probes}
    for number, info in enumerate(told(test)):
        maps, boxes, shape = stages_of(net, source, info, side)
        for stage, features in maps.items():
            index, place, targets = _places(features, boxes, shape, most, number)
            seen = np.concatenate([features.flatten(1).T.numpy()[index], place], 1)
            whole, of_place = probes[stage]
            errors[stage].append(np.stack([((whole(seen) - targets)**2).sum(0),
                                           ((of_place(place) - targets)**2).sum(0)]))
    return {stage: dict(probe.explained(*np.stack(errors[stage], 1)),
                        ridge=probes[stage][0].ridge, places=moments[stage].count,
                        spectrum=_spectrum(spectra[stage])) for stage in probes}


def _places(features: torch.Tensor, boxes: np.ndarray, shape: tuple[int, int], most: int,
            number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    index, place, targets = probe.places(boxes, *features.shape[-2:], *shape)
    chosen = _some(len(index), most, number, 'probe')
    return index[chosen], place[chosen], targets[chosen]


def _some(count: int, most: int, *parts: object) -> np.ndarray:
    """At most `most` of `count` indices, drawn by name: the same at every call."""
    if count <= most:
        return np.arange(count)
    return np.random.default_rng(key(0, *parts)).choice(count, most, replace=False)


def _spectrum(moments: spectrum.FeatureMoments) -> dict[str, Any]:
    found = spectrum.summary(moments.total(), moments.count - 1)
    return {name: value for name, value in found.items()
            if name not in ('scatter', 'around_classes')}
