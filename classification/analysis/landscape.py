"""The loss surface of three runs' solutions: their networks and images for `surface.survey`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from classification.analysis import loading, surface
from classification.analysis.loading import Run
from classification.analysis.risk import batch_risks, prepared
from classification.batch_norm import norms, reestimate
from classification.classifier import RefAugClassifier
from refaug_det.backbones.formats import load_whole
from refaug_det.errors import UserError
from refaug_det.runs.jobs import Eta
from refaug_det.runs.loops import end_workers
from refaug_det.runs.progress import clock
from refaug_det.runs.randomness import key

Batches = list[dict[str, torch.Tensor]]


def fetched(loader: DataLoader) -> Batches:
    """All batches of a loader, to be used at every point."""
    try:
        loading.set_draw(loader, 0)
        return [{name: batch[name] for name in ('inputs', 'label')} for batch in loader]
    finally:
        end_workers(loader)


@torch.inference_mode()
def mean_risk(classifier: RefAugClassifier, batches: Batches, seed: int, mixed: bool) -> float:
    """Mean cross entropy over batches, in nats; every call makes the same draws."""
    total, count = 0.0, 0
    for number, batch in enumerate(batches):
        inputs, targets, _ = prepared(classifier, batch)
        rng = np.random.default_rng(key('surface', seed, number))
        augments = list(classifier.batch_augments) if mixed else []
        losses = batch_risks(classifier.network, inputs, targets, augments, rng)
        total, count = total + float(losses.sum()), count + len(losses)
    return total / count


def evaluator(classifier: RefAugClassifier, clean: Batches, augmented: Batches,
              seed: int) -> Callable[[surface.State], surface.Risks]:
    """Weights -> clean and augmented risk, with batch-norm statistics of the clean images.

    Weights between two solutions have activations that neither has: without new statistics
    the loss there says nothing (Izmailov et al. 2018, section 3.2).
    """
    network = classifier.network

    def evaluate(state: surface.State) -> surface.Risks:
        network.load_state_dict(state)
        if norms(network):
            reestimate(network, (prepared(classifier, batch)[0] for batch in clean))
        network.eval()
        return (mean_risk(classifier, clean, seed, mixed=False),
                mean_risk(classifier, augmented, seed, mixed=True))

    return evaluate


def landscape(runs: Sequence[tuple[Run, str]], *, images: int = 1000,
              steps: int = 4) -> dict[str, Any]:
    """The surface of three solutions, JSON-able.

    Args:
        runs: (run, weights) of the augmented, the refined and the standard solution; images,
            augmentation and batch size are the augmented run's.
        images: training images on which risks are measured and statistics estimated.
        steps: points of the plane to a unit.

    Raises:
        UserError: networks of different architecture; the first run does not augment.
    """
    (run, weights), *others = runs
    if images < 2 or steps < 1:
        raise UserError(f'images {images}, steps {steps}', 'analyze surface',
                        'at least 2 images and 1 step')
    if not loading.is_augmented(run.cfg):
        raise UserError('this run does not augment', run.path,
                        'name one with batch augments or augmentations as --augmented')
    classifier = loading.classifier_of(run, weights)
    states = [_copy(classifier)]
    for other, its in others:
        state, source = loading.state_of(other, its)
        load_whole(classifier.network, state, source)
        states.append(_copy(classifier))
    seed = key('surface', run.seed)
    clean, augmented = (fetched(loading.loader_of(run.cfg, loading.images_of(run.cfg, kind), seed,
                                                  images)) for kind in ('clean', 'augmented'))
    trained = [name for name, _ in classifier.network.named_parameters()]
    survey = surface.survey(states, evaluator(classifier, clean, augmented, seed), steps,
                            tell=_told())
    return dict(points=surface.CORNERS, distances=surface.distances(states, trained),
                risks=['clean', 'augmented'], **survey,
                solutions=dict(zip(surface.CORNERS, (
                    dict(run=run.record.id, name=run.record.name, weights=weights)
                    for run, weights in runs), strict=True)),
                options=dict(images=sum(len(batch['label']) for batch in clean), steps=steps,
                             bn='re-estimated on the clean images at every point'))


def _copy(classifier: RefAugClassifier) -> surface.State:
    return {name: value.detach().clone() for name, value in classifier.network.state_dict().items()}


def _told(every_s: float = 10.0) -> Callable[[int, int], None]:
    eta, said = Eta(1.0), time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal said
        eta.done = done / of
        if time.monotonic() - said >= every_s:
            said = time.monotonic()
            print(f'  point {done} of {of}, {clock(eta.left({}) or 0)} left', flush=True)

    return tell
