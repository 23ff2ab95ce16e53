"""PreActResNet-18 for small images (He et al. 2016b), in its three variants in circulation."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from classification.models.staged import StagedNet
from refaug_det.errors import UserError

VARIANTS = ('mixup', 'manifold', 'he2016')


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice, and a skip path.

    Args:
        channels_in, channels: before and after.
        stride: of the first convolution.
        skip: what an identity skip path carries: `input`, or the `activated`
            input. One with another shape is a 1x1 convolution of the latter.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, skip: str) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.skip_activated = skip == 'activated'
        self.shortcut = None
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = F.relu(self.bn1(x))
        if self.shortcut is not None:
            skip = self.shortcut(activated)
        else:
            skip = activated if self.skip_activated else x
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + skip


@MODELS.register_module()
class RefAugPreActResNet(StagedNet):
    """PreActResNet-18: a 3x3 stem, four stages, global average, a linear layer.

    Args:
        num_classes: number of logits.
        variant: `mixup`, Mixup's reference code: BN and ReLU in the stem, skip
            paths that carry the activated input, no final BN. `manifold`,
            Manifold Mixup's: neither in the stem nor at the end, skip paths
            carry the input. `he2016`, the paper: BN and ReLU at the end, and
            the first block is activated before it splits.
        width: channels of the first stage.
        stem_stride: 1 for 32 px; 2 for 64 px, where the reference codes pool
            windows of 4 and would else have 2048 features (here: 512, but
            four times the computation).

    Raises:
        UserError: no such variant or stride.

    Source: He et al. 2016b, figure 4(e) and appendix; the authors' codes of
    Mixup and Manifold Mixup.
    """

    def __init__(self, num_classes: int, variant: str = 'mixup', width: int = 64,
                 stem_stride: int = 1) -> None:
        super().__init__()
        if variant not in VARIANTS or stem_stride not in (1, 2):
            raise UserError(f'variant {variant!r}, stem_stride {stem_stride}',
                            'RefAugPreActResNet', f'a variant is one of {", ".join(VARIANTS)}, '
                            'a stride 1 or 2')
        self.conv1 = nn.Conv2d(3, width, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width) if variant == 'mixup' else None
        channels = [width, *(width * 2**stage for stage in range(4))]
        skip = 'activated' if variant == 'mixup' else 'input'
        self.add_stages(channels, 2, partial(PreActBlock, skip=skip))
        if variant == 'he2016':
            self.layer1[0].skip_activated = True
        self.bn = nn.BatchNorm2d(channels[-1]) if variant == 'he2016' else None
        self.fc = nn.Linear(channels[-1], num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> penultimate features (B, 8 x width)."""
        x = self.conv1(images)
        if self.bn1 is not None:
            x = F.relu(self.bn1(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        if self.bn is not None:
            x = F.relu(self.bn(x))
        return x.mean((2, 3))
