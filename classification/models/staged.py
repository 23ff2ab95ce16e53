"""What the networks for small images share: stages of residual blocks before a linear layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn


class StagedNet(nn.Module):
    """A network with `layer1`, `layer2`, ... and `fc`; subclasses say `features`."""

    def add_stages(self, channels: Sequence[int], count: int,
                   block: Callable[[int, int, int], nn.Module]) -> None:
        """Make `layer1` and so on; every stage but the first halves the resolution.

        Args:
            channels: before the first stage, then after each.
            count: blocks a stage.
            block: (channels before, channels after, stride) -> a block.
        """
        for stage, (before, after) in enumerate(pairwise(channels), 1):
            blocks = [block(after if number else before, after, 1 if number or stage == 1 else 2)
                      for number in range(count)]
            setattr(self, f'layer{stage}', nn.Sequential(*blocks))

    def draw_weights(self) -> None:
        """Convolutions from N(0, 2 / (k^2 x channels out)), the last layer without bias."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        nn.init.zeros_(self.fc.bias)

    @property
    def head(self) -> nn.Module:
        """The layer from features to logits."""
        return self.fc

    @property
    def mix_points(self) -> tuple[nn.Module, ...]:
        """Submodules after which Manifold Mixup may mix."""
        return self.layer1, self.layer2

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> penultimate features (B, D)."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.fc(self.features(images))
