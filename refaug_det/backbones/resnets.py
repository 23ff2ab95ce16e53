"""ResNets (He et al. 2016) with torchvision's blocks and key names, of any width."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from refaug_det.backbones import timm_pyramids
from refaug_det.backbones.zoo import BackboneSpec
from refaug_det.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import ResNet

STRIDES = (4, 8, 16, 32)
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
           152: (3, 8, 36, 3)}


def depth_of(architecture: str) -> int:
    """Depth of `resnet50` and its like.

    Raises:
        UserError: not one of `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`.
    """
    found = re.fullmatch(r'resnet(\d+)', architecture)
    if not found or found[1] not in map(str, _LAYERS):
        raise UserError(f'unknown architecture {architecture!r}', 'architecture',
                        'resnet18, resnet34, resnet50, resnet101 or resnet152'
                        f'; where networks of timm are taken too, {timm_pyramids.PREFIX}NAME')
    return int(found[1])


def out_channels(depth: int, width: int) -> tuple[int, ...]:
    """Channels of the four stages."""
    return tuple(width * (4 if depth >= 50 else 1) * 2**stage for stage in range(4))


def spec_of(architecture: str, width: int = 64, mean: tuple[float, ...] = IMAGENET_MEAN,
            std: tuple[float, ...] = IMAGENET_STD, channel_order: str = 'RGB') -> BackboneSpec:
    """Spec of a ResNet, or of `timm/NAME`; by default with ImageNet's pixel statistics.

    Raises:
        UserError: see `depth_of` and `timm_pyramids.build`; a network of timm has its own width.
    """
    if architecture.startswith(timm_pyramids.PREFIX):
        spec = timm_pyramids.spec_of(architecture, mean, std, channel_order)
        _refuse_width(spec, width)
        return spec
    return BackboneSpec(architecture, width, out_channels(depth_of(architecture), width), STRIDES,
                        tuple(mean), tuple(std), channel_order)


def build(depth: int, width: int = 64, num_classes: int = 1000) -> ResNet:
    """torchvision's ResNet; with `width=64` its weights and outputs are torchvision's.

    Args:
        depth: 18, 34, 50, 101 or 152.
        width: channels of the first stage's convolutions.
        num_classes: number of logits.

    Raises:
        UserError: no such depth, or no channels.
    """
    from torch import nn
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    depth_of(f'resnet{depth}')
    if not isinstance(width, int) or width < 1:
        raise UserError(f'a ResNet of width {width!r}', 'width', 'a whole number of 1 or more')
    block = Bottleneck if depth >= 50 else BasicBlock
    if width == 64:
        return ResNet(block, list(_LAYERS[depth]), num_classes=num_classes)
    net = ResNet(block, [1, 1, 1, 1], num_classes=num_classes)
    net.inplanes = width
    net.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    for stage, count in enumerate(_LAYERS[depth]):
        layer = net._make_layer(block, width * 2**stage, count, stride=1 if stage == 0 else 2)
        setattr(net, f'layer{stage + 1}', layer)
    net.fc = nn.Linear(out_channels(depth, width)[-1], num_classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
    return net


def reference(architecture: str, width: int = 64) -> nn.Module:
    """The network whose tensors a whole backbone has: without the classifier layer.

    Raises:
        UserError: see `spec_of`.
    """
    if architecture.startswith(timm_pyramids.PREFIX):
        return timm_pyramids.build(architecture)
    net = build(depth_of(architecture), width, num_classes=1)
    del net.fc
    return net


def _refuse_width(spec: BackboneSpec, width: int) -> None:
    if width not in (64, spec.width):  # 64: what is taken where nothing is said
        raise UserError(f'{spec.architecture} has its own width, {spec.width}', f'width {width}',
                        'leave the width out')
