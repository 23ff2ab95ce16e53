"""The end of a stage 1 run: its backbones go into the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from classification.refinement import AUGMENTED, AUGMENTED_WEIGHTS, REFINEMENT
from refaug_det.backbones import timm_pyramids, zoo
from refaug_det.backbones.zoo import BackboneCard, BackboneSpec
from refaug_det.errors import UserError
from refaug_det.runs import history
from refaug_det.runs.records import RunRecord


def spec_of(classifier: Any) -> BackboneSpec:
    """What a detector must know of a classifier's network and of its input.

    Raises:
        UserError: a network of timm that is no feature pyramid.
    """
    network, pixels = classifier.network, classifier.data_preprocessor
    if network.architecture.startswith(timm_pyramids.PREFIX):
        return timm_pyramids.spec_of(network.architecture, pixels.mean, pixels.std)
    return BackboneSpec(network.architecture, network.width, network.out_channels,
                        network.out_strides, pixels.mean, pixels.std, 'RGB')


def refuse_taken_names(cfg: Any, record: RunRecord, name: str) -> None:
    """Say before training what would stop its end: the zoo has others under these names.

    Raises:
        UserError: a name belongs to another run.
    """
    epochs = sum(hook.get('epochs', 0) for hook in cfg.get('custom_hooks') or []
                 if hook.get('type') == 'RefAugRefinementHook')
    total = cfg.train_cfg.get('max_epochs') or epochs + 1  # a budget of updates
    suffixes = ('-augmented', '-refined') if 0 < epochs < total else ('',)
    for taken in {f'{name}{suffix}' for suffix in suffixes} & set(zoo.names()):
        if zoo.card(taken).provenance.get('run') != record.id:
            raise UserError(f'the zoo has the backbone of another run as {taken!r}',
                            zoo.zoo_dir(), 'choose another --name, or pass --overwrite')


def register_backbones(classifier: Any, work_dir: Path, record: RunRecord, name: str,
                       refined_from: dict | None = None, *,
                       overwrite: bool = False) -> list[BackboneCard]:
    """Register what a finished run has to give.

    A run with a refinement phase gives `NAME-augmented` (the weights before
    the switch) and `NAME-refined`; another run gives `NAME`, with the file it
    was refined from (`file`, `sha256`), if any. A network that is no detector
    backbone gives nothing, and `record.notes` says so.

    Raises:
        UserError: the zoo holds other weights under a name.
    """
    from safetensors.torch import load_file

    network = classifier.network
    if not hasattr(network, 'backbone_state'):
        record.notes.append(f'no backbone registered: {type(network).__name__} is no four-stage '
                            'ResNet that a detector can use')
        return []
    rows = history.read(work_dir)
    try:
        spec, last = spec_of(classifier), network.backbone_state()
    except UserError as error:  # a network of timm without the four maps
        record.notes.append(f'no backbone registered: {error.what}')
        return []
    states = {'': (last, rows[-1])}
    augmented = work_dir / AUGMENTED_WEIGHTS
    if augmented.is_file():
        states = {'-augmented': (network.backbone_state(load_file(augmented)),
                                 [row for row in rows if row['phase'] == AUGMENTED][-1]),
                  '-refined': states['']}
    cards = []
    for suffix, (weights, row) in states.items():
        provenance = dict(run=record.id, config=record.config, config_digest=record.config_digest,
                          seed=record.seed, epoch=row['epoch'],
                          phase=row['phase'] if augmented.is_file() else None,
                          augmentation_ended=row['phase'] == REFINEMENT,
                          **(dict(refined_from=dict(refined_from)) if refined_from else {}))
        cards.append(zoo.register(f'{name}{suffix}', weights, spec, provenance=provenance,
                                  metrics=history.test_metrics(row), overwrite=overwrite))
    return cards

