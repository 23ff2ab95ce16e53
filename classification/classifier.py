"""The classifier of stage 1: images -> (mixed) images -> logits -> loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import MODELS
from torch import nn

from classification.batch_augments import through_one


@MODELS.register_module()
class RefAugImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises its pixels.

    Args:
        mean, std: per channel, RGB, of pixels in [0, 255].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(non_blocking=True)
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer('_mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('_std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """uint8 (B, 3, H, W) -> float32, zero mean and unit variance a channel."""
        data = dict(data)
        augmented = data.pop('augmented', None)
        data = self.cast_data(data)
        data['inputs'] = (data['inputs'].float() - self._mean) / self._std
        if augmented is not None:
            data['augmented'] = augmented  # stays on the host: it is only counted
        return data


@MODELS.register_module()
class RefAugClassifier(BaseModel):
    """A network, trained with batch augments on soft targets.

    Args:
        network: config of a module that maps (B, 3, H, W) to logits (B, K).
        num_classes: K.
        batch_augments: configs of `classification.batch_augments`, of which
            one is drawn per batch.
        data_preprocessor: config of `RefAugImagePreprocessor`.

    `strength` in [0, 1] scales the batch augments; refinement sets it to 0.
    `seen` and `seen_augmented` count the samples that reached the network
    since the epoch began, the proof of what the switch did.
    """

    def __init__(self, network: dict, num_classes: int, batch_augments: Sequence[dict] = (),
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.network = MODELS.build(dict(network, num_classes=num_classes))
        self.num_classes = num_classes
        self.batch_augments = nn.ModuleList(MODELS.build(cfg) for cfg in batch_augments)
        self.strength = 1.0
        self.seen = self.seen_augmented = 0

    def forward(self, inputs: torch.Tensor, label: torch.Tensor, mode: str = 'tensor',
                augmented: torch.Tensor | None = None, **unused: Any) -> Any:
        """Logits, losses, or per-sample scores.

        Args:
            inputs: (B, 3, H, W), normalised.
            label: (B,) int64.
            mode: `tensor`, `loss` or `predict`.
            augmented: (B,) bool, which images the workers augmented.
        """
        if mode == 'loss':
            return self.loss(inputs, label, augmented)
        logits = self.network(inputs)
        if mode == 'predict':
            from classification.metrics import sample_scores
            return [dict(scores=row) for row in sample_scores(logits, label).cpu()]
        return logits

    def loss(self, inputs: torch.Tensor, label: torch.Tensor,
             augmented: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Cross entropy in nats against the soft targets of the mixed batch."""
        targets = F.one_hot(label, self.num_classes).to(inputs.dtype)
        # one draw of the seeded global generator keys all draws of this batch
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        logits, targets, mixed = through_one(
            list(self.batch_augments), self.network, inputs, targets, rng, self.strength)
        self._count(len(label), mixed, augmented)
        return dict(loss=F.cross_entropy(logits, targets))

    def _count(self, batch: int, mixed: bool, augmented: torch.Tensor | None) -> None:
        self.seen += batch
        # samples that do not say what was done to them prove nothing: they count as augmented
        unclean = mixed or augmented is None
        self.seen_augmented += batch if unclean else int(augmented.sum())
