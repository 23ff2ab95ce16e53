"""ResNets (He et al. 2016) with torchvision's blocks and key names, of any width."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

_LAYERS = {18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)),
           50: (Bottleneck, (3, 4, 6, 3)), 101: (Bottleneck, (3, 4, 23, 3)),
           152: (Bottleneck, (3, 8, 36, 3))}


@MODELS.register_module()
class RefAugResNet(ResNet):
    """torchvision's ResNet; with `width=64` its weights and outputs are torchvision's.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: number of logits.
        width: channels of the first stage's convolutions.
    """

    head = 'fc.'

    def __init__(self, depth: int, num_classes: int, width: int = 64) -> None:
        block, layers = _LAYERS[depth]
        super().__init__(block, list(layers), num_classes=num_classes)
        if width != 64:
            self.inplanes = width
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            for stage, (count, stride) in enumerate(zip(layers, (1, 2, 2, 2), strict=True)):
                layer = self._make_layer(block, width * 2**stage, count, stride=stride)
                setattr(self, f'layer{stage + 1}', layer)
            self.fc = nn.Linear(8 * width * block.expansion, num_classes)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        self.architecture, self.width = f'resnet{depth}', width
        self.out_channels = tuple(width * block.expansion * 2**s for s in range(4))
        self.out_strides = (4, 8, 16, 32)

    def backbone_state(self) -> dict[str, torch.Tensor]:
        """Tensors of everything before the classifier layer."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith(self.head)}
