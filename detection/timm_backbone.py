"""Any feature pyramid of timm as an mmdet backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, initialize
from mmengine.registry import MODELS
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn

from refaug_det.backbones import timm_pyramids
from refaug_det.errors import UserError


@MODELS.register_module()
class RefAugTimmBackbone(BaseModule):
    """A network of timm with four maps, frozen as mmdet's ResNet is.

    Args:
        model_name: timm's, such as `convnext_atto`.
        out_indices: which of the maps at strides 4, 8, 16 and 32 to give.
        frozen_stages: all that the map of this stage (1 to 4) depends on is frozen: no
            gradients, and its layers in evaluation mode. -1 freezes nothing. A stem of its
            own (0) timm's networks do not have.
        norm_eval: batch norm keeps its running statistics while training.
        norm_cfg: of it only `requires_grad` is read: False freezes batch norm's weights and
            biases. The layers are the network's own.
        num_stages: always 4; here because the protocol of the ResNets says it.
        init_cfg: weights by the key names of `timm_pyramids.build`, whole or not at all;
            None leaves timm's random initialisation.

    Raises:
        UserError: no such pyramid in timm, or more stages than it has.
    """

    def __init__(self, model_name: str, out_indices: Sequence[int] = (0, 1, 2, 3),
                 frozen_stages: int = -1, norm_eval: bool = False, norm_cfg: dict | None = None,
                 num_stages: int = 4, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        if frozen_stages not in (-1, 1, 2, 3, 4) or num_stages != 4 or not set(
                out_indices) <= {0, 1, 2, 3}:
            raise UserError(f'{model_name} has stages 1 to 4 and no stem of its own: '
                            f'frozen_stages={frozen_stages}, num_stages={num_stages}, '
                            f'out_indices={tuple(out_indices)}', 'model.backbone',
                            'freeze stages 1 to 4, or -1 for none; give maps 0 to 3')
        self.net = timm_pyramids.build(model_name)
        self.norm_eval = norm_eval
        levels = timm_pyramids.levels(self.net)
        self.levels = tuple(levels[index] for index in out_indices)
        frozen = before(self.net, levels[frozen_stages - 1]) if frozen_stages > 0 else set()
        for parameter in frozen:
            parameter.requires_grad_(False)
        self.frozen_modules = [module for module in self.net.modules() if {
            *module.parameters()} and {*module.parameters()} <= frozen]
        if norm_cfg is not None and not norm_cfg.get('requires_grad', True):
            for norm in batch_norms(self.net):
                norm.requires_grad_(False)
        self.train()

    def init_weights(self) -> None:
        """Load what `init_cfg` names; without it, keep timm's own initialisation."""
        if self.init_cfg:
            initialize(self.net, self.init_cfg)
            self.__dict__['refaug_load_report'] = self.net.__dict__.get('refaug_load_report')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the maps of `out_indices`, each (B, C, H/stride, W/stride)."""
        maps = self.net(images)
        return tuple(maps[level] for level in self.levels)

    def train(self, mode: bool = True) -> RefAugTimmBackbone:
        """As torch's, but for frozen stages and, with `norm_eval`, batch norm."""
        super().train(mode)
        held = [*self.frozen_modules, *(batch_norms(self.net) if self.norm_eval else ())]
        for module in held:
            module.eval()
        return self


def before(net: nn.Module, level: int) -> set[nn.Parameter]:
    """The parameters that a map of a feature extractor depends on."""
    parameters = list(net.parameters())
    training = net.training
    with torch.enable_grad():
        image = torch.zeros(1, 3, 64, 64)
        found = torch.autograd.grad(net.eval()(image)[level].sum(), parameters, allow_unused=True)
    net.train(training)
    return {parameter for parameter, gradient in zip(parameters, found, strict=True)
            if gradient is not None}


def batch_norms(net: nn.Module) -> list[nn.Module]:
    """All layers with running statistics over the batch, timm's and torch's."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]
