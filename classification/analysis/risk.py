"""Empirical risks: mean cross entropy on clean, augmented and test images, and their gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from classification.analysis import loading
from classification.batch_augments import BatchAugment, through_one
from classification.classifier import RefAugClassifier
from refaug_det.runs.jobs import told
from refaug_det.runs.randomness import key

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over samples and its bootstrap interval, in nats.

    Attributes:
        value: the mean.
        low, high: percentile interval of `CONFIDENCE`.
        n: samples.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class SampleRisks:
    """Cross entropy of every image, in the order of its data set.

    Attributes:
        values: (draws, N) float64, in nats.
        labels: (N,) int64.
        batches: (draws, N) int64, which were mixed in one batch, with one lambda; None where
            nothing is mixed and every image is drawn by itself.
    """

    values: np.ndarray
    labels: np.ndarray
    batches: np.ndarray | None = None

    def of(self, label: int) -> SampleRisks:
        """Those of one class."""
        its = self.labels == label
        return SampleRisks(self.values[:, its], self.labels[its],
                           None if self.batches is None else self.batches[:, its])


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of each sample against its soft target, in nats, float64.

    Args:
        logits: (B, K).
        targets: (B, K), rows sum to one.

    Returns:
        (B,). Its least value is the entropy of the target: above 0 for a mixed one.
    """
    return F.cross_entropy(logits.double(), targets.double(), reduction='none')


def batch_risks(network: nn.Module, images: torch.Tensor, targets: torch.Tensor,
                augments: Sequence[BatchAugment] = (),
                rng: np.random.Generator | None = None) -> torch.Tensor:
    """Cross entropies (B,) of a batch, float64, mixed by one of some batch augments, if any.

    Args:
        network: maps (B, 3, H, W) to logits (B, K).
        images: (B, 3, H, W), normalised.
        targets: (B, K).
        augments: one is drawn; it acts at full strength, within the network too.
        rng: every draw comes from it.
    """
    rng = rng or np.random.default_rng(0)  # without augments nothing is drawn
    logits, targets, _ = through_one(augments, network, images, targets, rng, 1.0)
    return cross_entropies(logits, targets)


def bootstrap_means(values: np.ndarray, rng: np.random.Generator, resamples: int,
                    groups: np.ndarray | None = None) -> np.ndarray:
    """Means of values drawn with replacement, one by one or, where they depend, by groups.

    Args:
        values: (N,).
        rng: every draw comes from it.
        resamples: how many means.
        groups: (N,) int64; values of a group are drawn together.

    Returns:
        (resamples,).
    """
    counts: np.ndarray = np.ones(len(values))
    if groups is not None:
        _, where = np.unique(groups, return_inverse=True)
        values, counts = np.bincount(where, values), np.bincount(where)
    means = np.empty(resamples)
    for number in range(resamples):
        chosen = rng.integers(len(values), size=len(values))
        means[number] = values[chosen].sum() / counts[chosen].sum()
    return means


def estimate(risks: np.ndarray, rng: np.random.Generator, resamples: int, *,
             less: np.ndarray | None = None, batches: np.ndarray | None = None) -> Estimate:
    """Mean of risks with its interval.

    Where the same images were measured twice (a paired gap), pass the differences.

    Args:
        risks: (draws, N).
        rng: every draw of the bootstrap comes from it.
        resamples: of the bootstrap, over images.
        less: (draws, M) of other images, whose mean is subtracted.
        batches: (draws, N), see `SampleRisks`. Images of a batch share their lambda, which a
            resampling of images overlooks: batches are resampled too, and the outer ends kept.

    Source: percentile bootstrap, Efron & Tibshirani 1993, chapter 13; of clusters, Davison &
    Hinkley 1997, section 3.8.
    """
    def means_of(values: np.ndarray) -> np.ndarray:
        return bootstrap_means(values.mean(0), rng, resamples)

    kinds, value = [means_of(risks)], risks.mean()
    if less is not None:
        kinds, value = [kinds[0] - means_of(less)], value - less.mean()
    if batches is not None:
        kinds.append(bootstrap_means(risks.ravel(), rng, resamples, batches.ravel()))
    low, high = np.quantile(kinds, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1)
    return Estimate(float(value), float(low.min()), float(high.max()), risks.shape[1])


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Within, batch norm normalises by the batch and keeps nothing of it."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    before = [(layer.training, layer.track_running_stats) for layer in layers]
    for layer in layers:
        layer.training, layer.track_running_stats = True, False
    try:
        yield
    finally:
        for layer, (training, tracking) in zip(layers, before, strict=True):
            layer.training, layer.track_running_stats = training, tracking


def prepared(classifier: RefAugClassifier,
             batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A loader's batch as the network takes it: images, targets (B, K) and labels (B,)."""
    data = classifier.data_preprocessor(batch)
    images = data['inputs']
    if classifier.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images, F.one_hot(data['label'], classifier.num_classes).float(), data['label']


@torch.inference_mode()
def sample_risks(classifier: RefAugClassifier, loader: DataLoader, *, mixed: bool = False,
                 draws: int = 1, seed: int = 0, name: str = '') -> SampleRisks:
    """Cross entropy in nats of every image of a loader.

    Args:
        classifier: in the mode it is to be measured in.
        loader: see `loading.loader_of`.
        mixed: whether the classifier's batch augments act.
        draws: passes over the images, each with draws of its own.
        seed: of the batch augments' draws.
        name: what progress calls it.
    """
    count = len(loader.dataset)  # type: ignore[arg-type]
    values, labels = np.empty((draws, count)), np.empty(count, np.int64)
    groups = np.empty((draws, count), np.int64)
    augments = list(classifier.batch_augments) if mixed else []
    for draw in range(draws):
        order, begin = loading.set_draw(loader, draw), 0
        for number, batch in enumerate(told(loader, name)):
            inputs, targets, label = prepared(classifier, batch)
            rng = np.random.default_rng(key('risk', seed, draw, number))
            losses = batch_risks(classifier.network, inputs, targets, augments, rng)
            places = order[begin:begin + len(losses)]
            values[draw, places] = losses.cpu().numpy()
            labels[places] = label.cpu().numpy()
            groups[draw, places] = draw * len(loader) + number
            begin += len(losses)
    return SampleRisks(values, labels, groups if augments else None)
