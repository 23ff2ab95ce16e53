"""ResNets (He et al. 2016) as classifiers."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import nn

from refaug_det.backbones import resnets


@MODELS.register_module()
class RefAugResNet(nn.Module):
    """torchvision's ResNet of any width, and what a detector must know of it.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: number of logits.
        width: channels of the first stage's convolutions; 64 is torchvision's.
    """

    def __init__(self, depth: int, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.net = resnets.build(depth, width, num_classes)
        self.architecture, self.width = f'resnet{depth}', width
        self.out_channels = resnets.out_channels(depth, width)
        self.out_strides = resnets.STRIDES

    @property
    def head(self) -> nn.Module:
        """The layer from features to logits."""
        return self.net.fc

    @property
    def mix_points(self) -> tuple[nn.Module, ...]:
        """Submodules after which Manifold Mixup may mix."""
        return self.net.layer1, self.net.layer2

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> penultimate features (B, D)."""
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return net.avgpool(x).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.net(images)

    def backbone_state(self, weights: dict[str, torch.Tensor] | None = None,
                       ) -> dict[str, torch.Tensor]:
        """Tensors of all before the classifier layer, by torchvision's key names.

        Args:
            weights: a state dict of this network; by default its own.
        """
        weights = self.state_dict() if weights is None else weights
        return {key.removeprefix('net.'): value for key, value in weights.items()
                if not key.startswith('net.fc.')}
