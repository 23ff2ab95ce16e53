"""A ResNet's last stage as the head of a C4 detector, with the norm layer that MoCo adds."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.shared_heads import ResLayer
from mmengine.model import BaseModule, initialize
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class RefAugRes5Head(BaseModule):
    """The last stage of a ResNet on pooled regions, then batch norm; all of it is trained.

    Args:
        depth: 18, 34, 50, 101 or 152.
        norm_cfg: of the stage, as of mmdet's `ResLayer`.
        init_cfg: weights of a whole backbone, of which the last stage is taken; None for random.

    Source: `Res5ROIHeadsExtraNorm` in detection/train_net.py of facebookresearch/moco.
    """

    def __init__(self, depth: int, norm_cfg: dict, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.stage = ResLayer(depth, stage=3, stride=2, style='pytorch', norm_cfg=norm_cfg,
                              norm_eval=False)
        self.norm = nn.BatchNorm2d(512 if depth < 50 else 2048)

    def init_weights(self) -> None:
        """Load the last stage, whole or not at all; without `init_cfg`, as mmdet does."""
        if self.init_cfg:
            initialize(self.stage, self.init_cfg)
        else:
            self.stage.init_weights()

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, C, 2h, 2w) regions of the third stage -> (N, 2C, h, w)."""
        return self.norm(self.stage(pooled))
