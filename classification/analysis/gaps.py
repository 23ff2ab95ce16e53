"""The risks of a run's network, and the gaps between them: Table 2 of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np

from classification.analysis import loading
from classification.analysis.loading import Run
from classification.analysis.risk import (
    CONFIDENCE,
    SampleRisks,
    batch_statistics,
    estimate,
    sample_risks,
)
from classification.refinement import REFINEMENT
from refaug_det.errors import UserError
from refaug_det.runs.loops import end_workers
from refaug_det.runs.randomness import key

NAMES = {'clean': 'clean_train', 'standard': 'standard_train', 'augmented': 'augmented_train'}
CLEAN, BATCH_NORM = ('center', 'standard'), ('eval', 'train')


def measure(run: Run, weights: str = loading.LAST, *, draws: int = 1, clean: str = 'center',
            bn: str = 'eval', images: int | None = None, resamples: int = 1000,
            per_class: bool = False) -> dict[str, Any]:
    """All risks of one network of a run, JSON-able.

    Args:
        run: see `loading.open_run`.
        weights: see `loading.classifier_of`.
        draws: of crop, flip and augmentation for each training image.
        clean: what clean training images are: `center`, as test images are; `standard`, with
            the standard crop and flip.
        bn: statistics of batch norm: `eval`, the running ones; `train`, the batch's.
        images: at most so many of each kind; by default all.
        resamples: of the bootstrap.
        per_class: also by the class of the image itself.

    Returns:
        `clean_train`, `standard_train`, `augmented_train`, `test` and the gaps, each as
        `Estimate`; `trained_on`, the name of the risk that the weights were trained on last.
    """
    least = 2 if bn == 'train' else 1  # one image has no statistics
    if draws < 1 or clean not in CLEAN or bn not in BATCH_NORM or (
            images is not None and images < least):
        raise UserError(f'draws {draws}, clean {clean!r}, bn {bn!r}, images {images}',
                        'analyze risk', 'draws and images are at least 1, images 2 with --bn '
                        f'train; clean is one of {", ".join(CLEAN)}, bn one of '
                        f'{", ".join(BATCH_NORM)}')
    risks = _passes(run, weights, draws, clean, bn, images)
    phase = run.phase_of(weights)
    entry: dict[str, Any] = dict(status=run.record.status, phase=phase,
                                 trained_on=_trained_on(run, phase),
                                 **_estimates(risks, resamples))
    if per_class:
        names = loading.class_names(run.cfg)
        shared = np.intersect1d(risks['clean_train'].labels, risks['test'].labels)
        entry['classes'] = {
            names[label]: _estimates({name: risk.of(label) for name, risk in risks.items()},
                                     resamples) for label in shared}
    entry['options'] = dict(draws=draws, clean=clean, bn=bn, images=images, resamples=resamples,
                            confidence=CONFIDENCE)
    return entry


def _passes(run: Run, weights: str, draws: int, clean: str, bn: str,
            images: int | None) -> dict[str, SampleRisks]:
    """Risks of every image, by name; a pass for each kind of images."""
    classifier, seed = loading.classifier_of(run, weights), key('risk', run.seed)
    risks: dict[str, SampleRisks] = {}
    with batch_statistics(classifier.network) if bn == 'train' else nullcontext():
        for kind in _kinds(run, clean):
            loader = loading.loader_of(run.cfg, loading.images_of(run.cfg, kind), seed, images)
            name = NAMES.get(kind, kind)
            try:
                risks[name] = sample_risks(
                    classifier, loader, mixed=kind == 'augmented', seed=seed, name=name,
                    draws=draws if kind in ('standard', 'augmented') else 1)
            finally:
                end_workers(loader)
    for name in NAMES.values():  # what was not passed is the same as the standard
        risks.setdefault(name, risks['standard_train'])
    return risks


def _kinds(run: Run, clean: str) -> Iterator[str]:
    """The kinds of images to pass; what is the same as another is not passed twice."""
    yield 'test'
    yield 'standard'
    if clean == 'center':
        yield 'clean'
    if loading.is_augmented(run.cfg) or (run.refinement or {}).get('pipeline') is not None:
        yield 'augmented'


def _trained_on(run: Run, phase: str | None) -> str | None:
    """Table 2 of the paper reports this risk as the augmented one of refined networks too."""
    pipeline = (run.refinement or {}).get('pipeline')
    if phase == REFINEMENT:
        return 'standard_train' if pipeline is None or len(pipeline) else 'clean_train'
    return None if phase is None else 'augmented_train'


def _estimates(risks: dict[str, SampleRisks], resamples: int) -> dict[str, Any]:
    if not all(np.isfinite(risk.values).all() for risk in risks.values()):
        raise UserError('a risk is not finite: the network has diverged', 'analyze risk',
                        'name weights of an earlier epoch')
    clean, augmented = risks['clean_train'].values.mean(0), risks['augmented_train']

    def of(values: np.ndarray, **options: Any) -> dict[str, Any]:
        rng = np.random.default_rng(key('bootstrap'))  # equal risks have equal intervals
        return asdict(estimate(values, rng, resamples, **options))

    return {**{name: of(risk.values, batches=risk.batches) for name, risk in risks.items()},
            'augmentation_gap': of(augmented.values - clean, batches=augmented.batches),
            'generalisation_gap': of(risks['test'].values, less=clean[None])}
