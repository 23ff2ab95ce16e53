"""Networks of timm as detector backbones: feature extractors with maps at strides 4 to 32."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from refaug_det.backbones.zoo import BackboneSpec
from refaug_det.errors import UserError

if TYPE_CHECKING:
    import torch

PREFIX = 'timm/'  # before timm's own name, in `BackboneSpec.architecture`
STRIDES = (4, 8, 16, 32)
_SIDE = 64  # pixels of the image that a network is tried on


def build(architecture: str) -> Any:
    """timm's feature extractor, randomly initialised; nothing is downloaded.

    Args:
        architecture: `timm/NAME`, such as `timm/convnext_atto`.

    Returns:
        A module, (B, 3, H, W) -> its maps, finest first, of which `levels` are those that a
        detector takes.

    Raises:
        UserError: timm has no such network, or it is no pyramid: no maps (B, C, H/s, W/s)
            at strides 4, 8, 16 and 32 from images of any size.
    """
    import timm
    import torch

    name = architecture.removeprefix(PREFIX)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 1)
        raise UserError(f'timm {timm.__version__} has no network {name!r}', 'architecture',
                        f'did you mean {PREFIX}{near[0]}?' if near else
                        "python -c 'import timm; print(timm.list_models())' lists them")
    try:
        net: Any = timm.create_model(name, features_only=True, pretrained=False)
        with torch.no_grad():
            maps = net.eval()(torch.zeros(1, 3, _SIDE, _SIDE))
        sizes = [tuple(part.shape[1:]) for part in maps]
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise _no_pyramid(architecture, f'{type(error).__name__}: {str(error)[:150]}') from None
    strides, channels = net.feature_info.reduction(), net.feature_info.channels()
    if any(stride not in strides for stride in STRIDES):
        raise _no_pyramid(architecture, f'its maps have strides {", ".join(map(str, strides))}')
    for level in levels(net):
        side = _SIDE // strides[level]
        if sizes[level] != (channels[level], side, side):
            raise _no_pyramid(architecture, f'its map at stride {strides[level]} is '
                              f'{sizes[level]} of {_SIDE} x {_SIDE} pixels')
    return net.train()


def levels(net: Any) -> tuple[int, ...]:
    """Which of a feature extractor's maps are those at strides 4, 8, 16 and 32."""
    strides = net.feature_info.reduction()
    return tuple(strides.index(stride) for stride in STRIDES)


def spec_of(architecture: str, mean: tuple[float, ...], std: tuple[float, ...],
            channel_order: str = 'RGB') -> BackboneSpec:
    """Spec of a network of timm; its width is that of the map at stride 4.

    Raises:
        UserError: see `build`.
    """
    net = build(architecture)
    channels = tuple(net.feature_info.channels()[level] for level in levels(net))
    return BackboneSpec(architecture, channels[0], channels, STRIDES, tuple(mean), tuple(std),
                        channel_order)


def of_classifier(architecture: str, weights: dict[str, torch.Tensor],
                  allow_missing: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """A feature extractor's tensors, out of those of timm's classifier of the same name.

    timm's extractors write some dots of a key as underscores (`stages.0` is `stages_0`),
    and lack what comes after the last map.

    Args:
        architecture: see `build`.
        weights: by timm's key names, for the classifier or for the extractor.
        allow_missing: keys of the extractor, or patterns, that `weights` may lack.

    Raises:
        UserError: a tensor of the extractor is not there, or has another shape; or there
            are tensors of a deeper network.
    """
    wanted = build(architecture).state_dict()
    by_plain_name = {_plain(key): key for key in weights}
    found, wrong = {}, []
    for key, tensor in wanted.items():
        theirs = key if key in weights else by_plain_name.get(_plain(key), '')
        if theirs and weights[theirs].shape == tensor.shape:
            found[key] = weights[theirs]
        elif theirs or not any(fnmatchcase(key, pattern) for pattern in (
                *allow_missing, '*num_batches_tracked')):  # old files lack it, nothing needs it
            wrong.append(f'{key} is missing or of another shape')
    if wrong := wrong or _foreign(architecture, wanted, weights):
        raise UserError(f'the weights are not those of {architecture}: {wrong[0]}', architecture,
                        'name the network as timm does, built without options that change its '
                        'tensors')
    return found


def _foreign(architecture: str, wanted: dict[str, torch.Tensor],
             weights: dict[str, torch.Tensor]) -> list[str]:
    """What is said of tensors beside those of the network, but below the same names."""
    import timm

    name = architecture.removeprefix(PREFIX)
    known = {_plain(key) for key in (*wanted, *timm.create_model(name).state_dict())}
    roots = {_plain(key).split('.')[0] for key in wanted}
    return [f'{key} is not of this network' for key in weights
            if _plain(key) not in known and _plain(key).split('.')[0] in roots]


def _plain(key: str) -> str:
    return key.replace('_', '.')


def _no_pyramid(architecture: str, why: str) -> UserError:
    return UserError(f'{architecture} cannot be a detector backbone: {why}', 'architecture',
                     'take a network with maps at strides 4, 8, 16 and 32 from images of any '
                     'size, such as timm/convnext_atto')
