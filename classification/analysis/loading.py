"""A run directory -> its classifier with some weights, and its data as an analysis wants them."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from torch.utils.data import BatchSampler, DataLoader, Dataset, Subset, default_collate

from classification.classifier import RefAugClassifier
from classification.refinement import AUGMENTED, AUGMENTED_WEIGHTS
from classification.train import leaf_configs  # registers all that a config may name
from classification.transforms import Pipeline
from refaug_det.backbones.formats import below, load_whole, read_weights
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, directory, history, loops, records, stored
from refaug_det.runs import config as configs
from refaug_det.runs.randomness import KeyedDataset, RefAugKeyedSampler, key, leaves

LAST = 'last'


@dataclass(frozen=True)
class Run:
    """A classification run that can be analysed.

    Attributes:
        path: its directory.
        cfg: its resolved config.
        record: its run.json.
    """

    path: Path
    cfg: Config
    record: records.RunRecord

    @property
    def seed(self) -> int:
        return self.record.seed or 0

    @property
    def refinement(self) -> dict[str, Any] | None:
        """The config of its refinement hook, where it refines at all."""
        return refinement_of(self.cfg)

    def title(self, weights: str) -> str:
        """What figures and messages call one of its networks."""
        unfinished = '' if self.record.status == 'done' else f'; the run is {self.record.status}'
        return f'{self.record.name} ({weights}{unfinished})'

    def phase_of(self, weights: str) -> str | None:
        """The phase that weights were trained in last; None for those of a file."""
        if weights == LAST:
            rows = history.read(self.path)
            return (rows[-1].get('phase') if rows else None) or AUGMENTED
        return AUGMENTED if weights == AUGMENTED else None


def open_run(path: Path | str, data_root: Path | str | None = None) -> Run:
    """A run directory of stage 1.

    Args:
        path: the directory.
        data_root: where its data lie now, if not where they did.

    Raises:
        UserError: no such run, not of stage 1, or without its config.
    """
    path = Path(path)
    record = records.read(path)
    file = path / directory.RESOLVED
    if record.stage != 'classification':
        raise UserError(f'this is a {record.stage} run', path, 'name a run of tools/train_cls.py')
    if not file.is_file():
        raise UserError('the run has lost its config', file, 'restore the file, or run it again')
    cfg = stored.read(file)
    if data_root is not None and not configs.set_everywhere(cfg, 'data_root', str(data_root)):
        raise UserError('nothing in the run\'s config takes --data-root', file,
                        'the data set needs a data_root key')
    return Run(path, cfg, record)


def parse(word: str) -> tuple[Path, str]:
    """`RUN` or `RUN:augmented` -> run directory and which weights."""
    path, colon, weights = word.rpartition(':')
    return (Path(path), weights) if colon and weights in (LAST, AUGMENTED) else (Path(word), LAST)


def classifier_of(run: Run, weights: str = LAST) -> RefAugClassifier:
    """The run's classifier, in eval mode, on the GPU where there is one.

    Args:
        weights: `last` (the newest checkpoint), `augmented` (those at the end
            of the augmented phase) or a file of the whole network.

    Raises:
        UserError: the run has no such weights, or they do not load whole.
    """
    classifier = MODELS.build(copy.deepcopy(run.cfg.model))
    if not isinstance(classifier, RefAugClassifier):
        raise UserError(f'{type(classifier).__name__} cannot be analysed', run.path,
                        'analyses know the networks of RefAugClassifier')
    state, source = state_of(run, weights)
    load_whole(classifier.network, state, source)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return classifier.to(device).eval()


def state_of(run: Run, weights: str = LAST) -> tuple[dict[str, torch.Tensor], Path]:
    """Tensors of a run's network, and the file they are from; see `classifier_of`."""
    if weights == LAST:
        found = checkpoints.newest_valid(run.path)
        if found is None:
            raise UserError('the run has no checkpoint that can be read', run.path,
                            'go on with the run (--resume), or name a weights file')
        state, source = found[1]['state_dict'], found[0]
        return below(state, 'network.', torch.nn.Module(), source), source
    source = run.path / AUGMENTED_WEIGHTS if weights == AUGMENTED else Path(weights)
    if weights == AUGMENTED and not source.is_file():
        raise UserError('the run kept no weights of an augmented phase', run.path,
                        'it has no refinement phase, or has not reached it: use --weights last')
    state = read_weights(source)
    inside = {k.removeprefix('network.'): v for k, v in state.items() if k.startswith('network.')}
    return inside or state, source


def images_of(cfg: Any, kind: str) -> Dataset:
    """A data set of a run's config, as an analysis wants its images.

    Args:
        cfg: resolved config of a run.
        kind: `test`, the test images as the run evaluates them; of the
            training images, `clean`, as if they were test images (no crop drawn, no flip);
            `standard`, through the training pipeline without its
            augmentations, or through the refinement's own pipeline; and
            `augmented`, through all of it.

    Raises:
        UserError: the config has no test images, or its data set no pipeline.
    """
    test = cfg.get('val_dataloader')
    if kind in ('clean', 'test') and not test:
        raise UserError('the run has no test images', 'val_dataloader', 'name them in its config')
    dataset = copy.deepcopy((test if kind == 'test' else cfg.train_dataloader).dataset)
    while dataset['type'] == 'RepeatDataset':  # each image once
        dataset = dataset['dataset']
    pipeline = (refinement_of(cfg) or {}).get('pipeline')
    if kind == 'clean':
        _set_pipeline(dataset, next(leaf_configs(test.dataset)).get('pipeline', []))
    elif kind == 'standard' and pipeline is not None:
        _set_pipeline(dataset, pipeline)
    built = DATASETS.build(dataset)
    for leaf in leaves(built):
        if kind == 'standard' and not hasattr(leaf, 'strength'):
            raise UserError('this data set cannot switch its augmentation off',
                            type(leaf).__name__, 'use RefAugImageFolder')
        if hasattr(leaf, 'strength'):
            leaf.strength = functools.partial(_always, 1.0 if kind == 'augmented' else 0.0)
    return built


def refinement_of(cfg: Any) -> dict[str, Any] | None:
    """The config of a run's refinement hook, where it refines at all."""
    hooks = [hook for hook in cfg.get('custom_hooks') or []
             if hook.get('type') == 'RefAugRefinementHook']
    return hooks[0] if hooks and hooks[0].get('epochs') else None


def is_augmented(cfg: Any) -> bool:
    """Whether a run augments beyond the standard: per image, or by batch; reads no data."""
    return bool(cfg.model.get('batch_augments')) or any(
        getattr(transform, 'is_augmentation', False)
        for part in leaf_configs(cfg.train_dataloader.dataset)
        for transform in Pipeline(part.get('pipeline') or []).transforms)


def class_names(cfg: Any) -> list[str]:
    """Names of the classes in label order, as a resolved config has them."""
    part = next(leaf_configs(cfg.train_dataloader.dataset))
    return list(part.get('classes') or map(str, range(cfg.model.num_classes)))


def loader_of(cfg: Any, dataset: Dataset, seed: int, images: int | None = None,
              workers: int | None = None) -> DataLoader:
    """Batches of a data set in an order, and with draws, that are functions of (seed, draw).

    Args:
        cfg: resolved config of a run; batches are of the size that it trains with.
        dataset: see `images_of`.
        seed: of order and draws.
        images: how many images, chosen by the seed; by default all.
        workers: processes; by default as many as the run had.
    """
    if images is not None and images < len(dataset):  # type: ignore[arg-type]
        order = np.random.default_rng(key(seed, 'subset')).permutation(
            len(dataset))  # type: ignore[arg-type]
        dataset = Subset(dataset, sorted(order[:images].tolist()))
    train = cfg.train_dataloader
    size = min(train.batch_size, cfg.train_cfg.get('micro_batch') or train.batch_size)
    keyed = KeyedDataset(dataset, seed)
    # a class folder after the other would be mixed with itself: the order is a random one
    batches = BatchSampler(RefAugKeyedSampler(keyed, seed), size, drop_last=False)
    options = loops.without_idle_options(dict(
        num_workers=train.get('num_workers', 0) if workers is None else workers,
        persistent_workers=True, pin_memory=train.get('pin_memory', False)))
    return DataLoader(keyed, batch_sampler=batches, collate_fn=default_collate, **options)


def set_draw(loader: DataLoader, draw: int) -> np.ndarray:
    """Set a loader of `loader_of` to a draw, and say at which place each of its images lies.

    Returns:
        (N,) int64, indices into `loader.dataset`, in the order in which they come.
    """
    sampler = loader.batch_sampler.sampler  # type: ignore[union-attr]
    sampler.set_epoch(draw)
    return np.array([sample.index for sample in sampler])


def _set_pipeline(dataset: Any, pipeline: Any) -> None:
    for part in leaf_configs(dataset):
        if 'pipeline' not in part:
            raise UserError(f'{part["type"]} takes no pipeline: what are its clean images?',
                            'train_dataloader.dataset', 'pass --clean standard')
        part['pipeline'] = copy.deepcopy(pipeline)


def _always(value: float, epoch: int) -> float:
    return value
