"""Shake-Shake-Image networks (Gastaldi 2017): 26 2x96d and its like."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from classification.models.staged import StagedNet
from refaug_det.errors import UserError


class Shake(torch.autograd.Function):
    """forward alpha a + (1 - alpha) b; backward as if alpha had been beta."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, alpha: torch.Tensor,
                beta: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(beta)
        return alpha * a + (1 - alpha) * b

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple:
        beta, = ctx.saved_tensors
        return beta * grad, (1 - beta) * grad, None, None


def shake(a: torch.Tensor, b: torch.Tensor, alpha: torch.Tensor,
          beta: torch.Tensor) -> torch.Tensor:
    """Two branches mixed by alpha, whose gradient is shared out by beta.

    Args:
        a, b: (B, C, H, W).
        alpha, beta: broadcast against them, in [0, 1]; (B, 1, 1, 1) for
            Shake-Shake-Image. No gradient flows into them.

    Source: Gastaldi 2017, section 2.1.
    """
    return Shake.apply(a, b, alpha, beta)


def _branch(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels))


class ShiftedSkip(nn.Module):
    """The skip path where the shape changes: two 1x1 branches, the second of which sees
    the pixels one up and to the left of those that the first sees."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(channels_in, channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(channels_in, channels // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, step = F.relu(x), self.stride
        shifted = F.pad(x, (1, -1, 1, -1))  # one pixel right and down; zeros enter
        return self.bn(torch.cat([self.conv1(x[:, :, ::step, ::step]),
                                  self.conv2(shifted[:, :, ::step, ::step])], 1))


class ShakeBlock(nn.Module):
    """Two residual branches, shaken image by image in training, averaged in evaluation."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.branch1 = _branch(channels_in, channels, stride)
        self.branch2 = _branch(channels_in, channels, stride)
        same = channels_in == channels and stride == 1
        self.skip = nn.Identity() if same else ShiftedSkip(channels_in, channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.branch1(x), self.branch2(x)
        if not self.training:
            return self.skip(x) + (a + b) / 2
        # both are drawn here: what is drawn does not depend on the order of the backward pass
        alpha, beta = torch.rand(2, len(x), 1, 1, 1, device=x.device).to(a.dtype)
        return self.skip(x) + shake(a, b, alpha, beta)


@MODELS.register_module()
class RefAugShakeShake(StagedNet):
    """Shake-Shake-Image; 26 2x96d by default.

    Args:
        num_classes: number of logits.
        depth: 6n + 2, n blocks a stage.
        width: channels of the first stage, even; the others have twice and
            four times as many.
        stem_stride: 1 for 32 px, 2 for 64 px.

    Raises:
        UserError: another depth, an odd width.

    Source: Gastaldi 2017, table 1 and the author's code (convolutions drawn
    from N(0, 2 / (k^2 x channels out)), no biases but the last).
    """

    def __init__(self, num_classes: int, depth: int = 26, width: int = 96,
                 stem_stride: int = 1) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6 or width < 2 or width % 2:
            raise UserError(f'depth {depth}, width {width}', 'RefAugShakeShake',
                            'depth is 6n + 2, width even')
        count, channels = (depth - 2) // 6, (16, width, 2 * width, 4 * width)
        self.conv1 = nn.Conv2d(3, 16, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.add_stages(channels, count, ShakeBlock)
        self.fc = nn.Linear(channels[-1], num_classes)
        self.draw_weights()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> penultimate features (B, 4 x width)."""
        x = self.bn1(self.conv1(images))
        return F.relu(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
