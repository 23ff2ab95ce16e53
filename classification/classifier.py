"""The classifier of stage 1: images -> (mixed) images -> logits -> loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import MODELS
from torch import nn

from classification.batch_augments import BatchAugment, through_one
from refaug_det.errors import UserError


@MODELS.register_module()
class RefAugImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises its pixels.

    Args:
        mean, std: per channel, RGB, of pixels in [0, 255].

    Raises:
        UserError: not three finite numbers each, or a deviation that is not above 0.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(non_blocking=True)
        if not len(mean) == len(std) == 3 or not all(map(math.isfinite, (*mean, *std))) or (
                min(std) <= 0):
            raise UserError(f'mean {list(mean)}, std {list(std)}', 'model.data_preprocessor',
                            'three numbers each, of pixels in [0, 255]; std above 0')
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


def softmax_bce(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of each class's softmax probability, mean over images and classes.

    Args:
        logits: (B, K).
        targets: (B, K), in [0, 1].

    Source: the authors' code of Manifold Mixup (Verma et al. 2019).
    """
    with torch.autocast(logits.device.type, enabled=False):  # which refuses this loss
        return F.binary_cross_entropy(logits.float().softmax(1), targets.float())


@MODELS.register_module()
class RefAugClassifier(BaseModel):
    """A network, trained with batch augments on soft targets.

    Args:
        network: config of a module that maps (B, 3, H, W) to logits (B, K).
        num_classes: K.
        batch_augments: configs of `classification.batch_augments`, of which
            one is drawn per batch.
        data_preprocessor: config of `RefAugImagePreprocessor`.
        label_smoothing: share of every target that is spread evenly over the K
            classes, in [0, 1); after mixing, in training only.
        channels_last: weights and images in the NHWC memory format, which
            tensor cores and oneDNN prefer; the numbers differ by rounding.
        criterion: `cross_entropy`, or `softmax_bce`.

    Raises:
        UserError: `label_smoothing` out of range, or with another criterion; no
            such criterion.

    `strength` in [0, 1] scales the batch augments; refinement sets it to 0.
    `seen` and `seen_augmented` count the samples that reached the network
    since the epoch began, the proof of what the switch did.
    """

    def __init__(self, network: dict, num_classes: int, batch_augments: Sequence[dict] = (),
                 data_preprocessor: dict | None = None, label_smoothing: float = 0.0,
                 channels_last: bool = False, criterion: str = 'cross_entropy') -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if not 0 <= label_smoothing < 1 or (label_smoothing and criterion != 'cross_entropy'):
            raise UserError(f'label_smoothing {label_smoothing} with {criterion}',
                            'RefAugClassifier', 'it is in [0, 1), and 0 without cross_entropy')
        if criterion not in ('cross_entropy', 'softmax_bce'):
            raise UserError(f'criterion {criterion!r}', 'RefAugClassifier',
                            'cross_entropy or softmax_bce')
        self.label_smoothing, self.criterion = label_smoothing, criterion
        self.network = MODELS.build(dict(network, num_classes=num_classes))
        self.channels_last = channels_last
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.num_classes = num_classes
        self.batch_augments = nn.ModuleList(MODELS.build(cfg) for cfg in batch_augments)
        self.strength = 1.0
        self.seen = self.seen_augmented = 0

    def compile_network(self, **options: Any) -> None:
        """Compile the network in place, with `torch.compile`'s options; its keys stay as they are.

        Augmentation, counting and the loss stay outside, so nothing is compiled
        again when the strength changes.

        Raises:
            UserError: a batch augment mixes inside the network.
        """
        for augment in self.batch_augments:
            if type(augment).through is not BatchAugment.through:
                raise UserError(f'{type(augment).__name__} mixes inside the network, which a '
                                'compiled network does not let it', 'compile', 'leave compile out')
        self.network.compile(**options)

    def forward(self, inputs: torch.Tensor, label: torch.Tensor, mode: str = 'tensor',
                augmented: torch.Tensor | None = None, **unused: Any) -> Any:
        """Logits, losses, or per-sample scores.

        Args:
            inputs: (B, 3, H, W), normalised.
            label: (B,) int64.
            mode: `tensor`, `loss` or `predict`.
            augmented: (B,) bool, which images the workers augmented.
        """
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        if mode == 'loss':
            return self.loss(inputs, label, augmented)
        logits = self.network(inputs)
        if mode == 'predict':
            from classification.metrics import sample_scores
            return [dict(scores=row) for row in sample_scores(logits, label).cpu()]
        return logits

    def loss(self, inputs: torch.Tensor, label: torch.Tensor,
             augmented: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """The criterion (cross entropy: in nats) on a mixed batch's soft targets, in float32."""
        targets = F.one_hot(label, self.num_classes).to(inputs.dtype)
        # one draw of the seeded global generator keys all draws of this batch
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        logits, targets, mixed = through_one(
            list(self.batch_augments), self.network, inputs, targets, rng, self.strength)
        self._count(len(label), mixed, augmented)
        logits = logits.to(targets.dtype)  # under autocast, they come in half precision
        if self.criterion == 'softmax_bce':
            return dict(loss=softmax_bce(logits, targets))
        return dict(loss=F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing))

    def _count(self, batch: int, mixed: bool, augmented: torch.Tensor | None) -> None:
        self.seen += batch
        # samples that do not say what was done to them prove nothing: they count as augmented
        unclean = mixed or augmented is None
        self.seen_augmented += batch if unclean else int(augmented.sum())
