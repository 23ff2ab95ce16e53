"""Penultimate features of a run's images, streamed into their spectra: Figure 3 of the paper."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from classification.analysis import loading
from classification.analysis.loading import Run
from classification.analysis.risk import prepared
from classification.classifier import RefAugClassifier
from refaug_det import spectrum
from refaug_det.errors import UserError
from refaug_det.runs.jobs import told
from refaug_det.runs.loops import end_workers
from refaug_det.runs.randomness import key

SPLITS = {'train': 'clean', 'test': 'test'}


@torch.inference_mode()
def moments_of(classifier: RefAugClassifier, loader: DataLoader, watched: Sequence[int] = (),
               name: str = 'features') -> spectrum.FeatureMoments:
    """Moments of the penultimate features of all images of a loader, in one pass.

    Args:
        classifier: in eval mode; its network has `features`.
        loader: see `loading.loader_of`.
        watched: classes (label numbers) whose own scatter is wanted.
        name: what progress calls it.
    """
    moments: spectrum.FeatureMoments | None = None
    for batch in told(loader, name):
        images, _, labels = prepared(classifier, batch)
        features = classifier.network.features(images).float().cpu().numpy()
        if not np.isfinite(features).all():
            raise UserError('a feature is not finite: the network has diverged', name,
                            'name weights of an earlier epoch')
        if moments is None:
            moments = spectrum.FeatureMoments(features.shape[1], classifier.num_classes, watched)
        moments.update(features, labels.cpu().numpy())
    if moments is None:
        raise UserError('there are no images', name, 'name more of them')
    return moments


def describe(moments: spectrum.FeatureMoments, watched: dict[int, str]) -> dict[str, Any]:
    """The spectra of moments, JSON-able, each as `refaug_det.spectrum.summary`.

    Args:
        moments: of all features.
        watched: label -> name of the classes whose own spectrum is wanted.

    Returns:
        `features` D, `classes` K, `images` N; `intra_class`, the covariance within classes,
        averaged over them (weighted by their size); `classes_alone`, by name; `all_classes`.
    """
    classes, dimension = moments.means.shape
    present = int((moments.counts > 0).sum())
    summary = functools.partial(spectrum.summary, classes=classes, overwrite=True)
    alone = {name: summary(moments.of_class(label), int(moments.counts[label]) - 1)
             for label, name in watched.items()}
    return dict(
        features=dimension, classes=classes, images=moments.count,
        intra_class=summary(moments.within(), moments.count - present, present),
        classes_alone=alone,
        all_classes=summary(moments.total(), moments.count - 1))


def spectra(run: Run, weights: str = loading.LAST, *, classes: Sequence[str] = (),
            split: str = 'train', images: int | None = None) -> dict[str, Any]:
    """Spectra of the penultimate features of one network of a run, JSON-able.

    Args:
        run: see `loading.open_run`.
        weights: see `loading.classifier_of`.
        classes: names of those whose own spectrum is wanted; by default the first, as in the
            paper.
        split: `train` (as if they were test images: no crop drawn, no flip) or `test`.
        images: at most so many; by default all.

    Raises:
        UserError: no such class or split; a network without `features`.
    """
    if split not in SPLITS:
        raise UserError(f'split {split!r}', '--split', f'one of {", ".join(SPLITS)}')
    classifier = loading.classifier_of(run, weights)
    if not hasattr(classifier.network, 'features'):
        raise UserError(f'{type(classifier.network).__name__} does not say what its features are',
                        run.path, 'give it a method `features`, as classification/models have')
    dataset = loading.images_of(run.cfg, SPLITS[split])
    names = loading.class_names(run.cfg)
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise UserError(f'no class {unknown[0]!r}', '--class',
                        f'the classes are {", ".join(names)[:200]}')
    watched = {names.index(name): name for name in classes or names[:1]}
    loader = loading.loader_of(run.cfg, dataset, key('spectrum', run.seed), images)
    try:
        moments = moments_of(classifier, loader, tuple(watched), f'features of {weights}')
    finally:
        end_workers(loader)
    missing = [name for label, name in watched.items() if moments.counts[label] < 2]
    if missing:
        raise UserError(f'fewer than two images of class {missing[0]!r}', run.path,
                        'a covariance needs two: take more --images')
    return dict(describe(moments, watched), status=run.record.status,
                options=dict(split=split, images=images))
