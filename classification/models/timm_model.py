"""Any classifier of timm, by name; a feature pyramid's can become a detector's backbone."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import nn

from refaug_det.backbones import timm_pyramids
from refaug_det.errors import UserError

_STAGES = ('layer1', 'layer2')  # as timm's ResNets call them


@MODELS.register_module()
class RefAugTimm(nn.Module):
    """A network of timm, randomly initialised; nothing is downloaded.

    Args:
        name: such as `resnet18` or `convnext_atto`; `timm.list_models()` has all.
        num_classes: number of logits.
        mix_points: dotted names of the submodules after which Manifold Mixup
            may mix; by default `layer1` and `layer2` where they exist.
        options: further arguments of `timm.create_model`, such as `drop_path_rate`.

    Raises:
        UserError: timm has no such network, refuses an option, or the network
            lacks a mix point.
    """

    def __init__(self, name: str, num_classes: int, mix_points: Sequence[str] | None = None,
                 **options: Any) -> None:
        super().__init__()
        import timm
        self.architecture = f'{timm_pyramids.PREFIX}{name}'
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 1)
            raise UserError(f'timm {timm.__version__} has no network {name!r}', 'RefAugTimm.name',
                            f'did you mean {near[0]!r}?' if near else
                            "python -c 'import timm; print(timm.list_models())' lists them")
        try:
            self.net = timm.create_model(name, num_classes=num_classes,
                                         pretrained=False, **options)
        except (TypeError, ValueError) as error:
            raise UserError(f'{name}: {error}', 'RefAugTimm', 'mend its options') from None
        submodules = dict(self.net.named_modules())
        self._points = tuple(mix_points if mix_points is not None else
                             (point for point in _STAGES if point in submodules))
        missing = [point for point in self._points if point not in submodules]
        if missing:
            raise UserError(f'{name} has no submodule {missing[0]!r}', 'RefAugTimm.mix_points',
                            f'it has {", ".join(list(submodules)[1:9])} ...')

    @property
    def head(self) -> nn.Module:
        """The layer from features to logits.

        Raises:
            UserError: the network's is not one linear layer.
        """
        head = self.net.get_classifier()
        if not isinstance(head, nn.Linear):
            raise UserError(f'the classifier is {type(head).__name__}, not one linear layer',
                            type(self.net).__name__, 'it can be trained, but its features not '
                            'be analysed')
        return head

    @property
    def mix_points(self) -> tuple[nn.Module, ...]:
        """Submodules after which Manifold Mixup may mix."""
        return tuple(self.net.get_submodule(point) for point in self._points)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> penultimate features (B, D)."""
        return self.net.forward_head(self.net.forward_features(images), pre_logits=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.net(images)

    def backbone_state(self, weights: dict[str, torch.Tensor] | None = None,
                       ) -> dict[str, torch.Tensor]:
        """Tensors of the network as a detector's backbone, by `timm_pyramids`' key names.

        Args:
            weights: a state dict of this network; by default its own.

        Raises:
            UserError: the network is no feature pyramid, or was built with options that
                change its tensors.
        """
        weights = self.state_dict() if weights is None else weights
        return timm_pyramids.of_classifier(self.architecture, {
            key.removeprefix('net.'): value for key, value in weights.items()})
