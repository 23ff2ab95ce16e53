"""Test metrics of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


def sample_scores(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What each sample contributes to the metrics.

    Args:
        logits: (B, K).
        labels: (B,) int64.

    Returns:
        (B, 3) float64: rank of the true class (0 is best), cross entropy in
        nats, K. Ties and NaN count against the classifier.
    """
    logits = logits.double()
    true = logits.gather(1, labels[:, None])
    ranks = (~(logits < true)).sum(1) - 1  # so written, NaN beats the true class
    losses = F.cross_entropy(logits, labels, reduction='none')
    return torch.stack([ranks.double(), losses, torch.full_like(losses, logits.shape[1])], 1)


@METRICS.register_module()
class RefAugClassificationMetric(BaseMetric):
    """Top-1 and top-5 accuracy in percent, cross entropy in nats."""

    default_prefix = ''  # metric names stand for themselves

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        self.results.extend(tuple(sample['scores'].tolist()) for sample in data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        scores = torch.tensor(results, dtype=torch.float64)
        ranks, losses, classes = scores.unbind(1)
        metrics = {'top-1': 100 * (ranks < 1).double().mean().item(),
                   'cross entropy': losses.mean().item()}
        if classes[0] > 5:  # with five classes or fewer it says nothing
            metrics['top-5'] = 100 * (ranks < 5).double().mean().item()
        return metrics
