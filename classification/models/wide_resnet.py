"""Wide residual networks for small images (Zagoruyko & Komodakis 2016)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from classification.models.staged import StagedNet
from refaug_det.errors import UserError


class WideBlock(nn.Module):
    """BN-ReLU-conv twice with dropout between; where the width changes, both paths share BN-ReLU.

    Args:
        channels_in, channels: before and after.
        stride: of the first convolution.
        dropout: share of activations dropped before the second convolution.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = None
        if channels_in != channels:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(activated)
        hidden = F.relu(self.bn2(self.conv1(activated)))
        return self.conv2(self.dropout(hidden)) + skip


@MODELS.register_module()
class RefAugWideResNet(StagedNet):
    """WRN-depth-widen; WRN-28-10 by default.

    Args:
        num_classes: number of logits.
        depth: 6n + 4, n blocks a stage.
        widen: factor on the 16, 32, 64 channels of the three stages.
        dropout: within every block, in [0, 1); 0.3 with AutoAugment, else 0.
        stem_stride: 1 for 32 px, 2 for 64 px.

    Raises:
        UserError: another depth, a dropout out of range, a width below 1.

    Source: Zagoruyko & Komodakis 2016, table 1, and the authors' code
    (convolutions drawn from N(0, 2 / (k^2 x channels out)), no biases but the last).
    """

    def __init__(self, num_classes: int, depth: int = 28, widen: int = 10, dropout: float = 0.0,
                 stem_stride: int = 1) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or widen < 1 or not 0 <= dropout < 1:
            raise UserError(f'depth {depth}, widen {widen}, dropout {dropout}', 'RefAugWideResNet',
                            'depth is 6n + 4, widen at least 1, dropout in [0, 1)')
        count, channels = (depth - 4) // 6, (16, 16 * widen, 32 * widen, 64 * widen)
        self.conv1 = nn.Conv2d(3, channels[0], 3, stem_stride, padding=1, bias=False)
        self.add_stages(channels, count, partial(WideBlock, dropout=dropout))
        self.bn = nn.BatchNorm2d(channels[-1])
        self.fc = nn.Linear(channels[-1], num_classes)
        self.draw_weights()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> penultimate features (B, 64 x widen)."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        return F.relu(self.bn(x)).mean((2, 3))
