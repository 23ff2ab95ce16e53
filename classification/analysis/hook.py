"""Risks as a run goes on, on a fixed subset: the curves of Figure 1. Training is not touched."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from refaug_det.errors import UserError
from refaug_det.runs import files
from refaug_det.runs.checkpoints import unwrapped
from refaug_det.runs.randomness import key

FILE_NAME = 'risks.json'
KINDS = {'clean': 'clean_train', 'augmented': 'augmented_train', 'test': 'test'}


def read(run_dir: Path | str) -> list[dict[str, Any]]:
    """One dict for every epoch measured: `epoch` (from 1), `phase`, `images`, and risks in nats."""
    path = Path(run_dir) / FILE_NAME
    return files.read_json(path, 'the file of risks', list) if path.is_file() else []


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Within, a network is in eval mode; after it, its modes and all generators are as before."""
    modes = {module: module.training for module in network.modules()}
    python, arrays = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            network.eval()
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        for module, mode in modes.items():
            module.training = mode


@HOOKS.register_module()
class RefAugRiskHook(Hook):
    """Keeps `risks.json`: clean-train, augmented-train and test risk of a fixed subset.

    Augmented images are at full strength in every phase. The subset and its
    draws are the same at every epoch. In the process of rank 0 alone.

    Args:
        every: epochs between two measurements; the last epoch is always measured.
        images: of the training set, and of the test set; the cost of a
            measurement is that of three evaluations of so many images.

    Raises:
        UserError: out of range; the run has no test images.
    """

    priority = 'LOW'  # before the checkpoint hook: what a checkpoint covers is written

    def __init__(self, every: int = 1, images: int = 1000) -> None:
        if every < 1 or images < 1:
            raise UserError(f'every {every}, images {images}', type(self).__name__, 'at least 1')
        self.every, self.images = every, images

    def before_train(self, runner: Any) -> None:
        from classification.analysis import loading

        # a resumed run drops what lies behind its checkpoint: it will be run again
        self.rows = [row for row in read(runner.work_dir) if row['epoch'] <= runner.epoch]
        if not is_main_process():
            return
        self.seed = key('risk', runner.seed)
        with untouched(unwrapped(runner.model)):
            self.loaders = {kind: loading.loader_of(
                runner.cfg, loading.images_of(runner.cfg, kind), self.seed, self.images, workers=0)
                for kind in KINDS}
        self._write(runner)

    def after_train_epoch(self, runner: Any) -> None:
        due = self.every_n_epochs(runner, self.every) or self.is_last_train_epoch(runner)
        if not due or not is_main_process():
            return
        row: dict[str, Any] = dict(epoch=runner.epoch + 1, images=self.images,
                                   phase=runner.message_hub.runtime_info.get('phase'))
        row.update(self._measure(unwrapped(runner.model)))
        self.rows = [r for r in self.rows if r['epoch'] != row['epoch']] + [row]
        self._write(runner)

    def _measure(self, classifier: Any) -> dict[str, float | None]:
        from classification.analysis.risk import sample_risks

        with untouched(classifier):
            risks = {name: float(sample_risks(
                classifier, self.loaders[kind], seed=self.seed, mixed=kind == 'augmented',
                name=name).values.mean())
                     for kind, name in KINDS.items()}
        return {name: risk if np.isfinite(risk) else None for name, risk in risks.items()}

    def _write(self, runner: Any) -> None:
        files.write_json(Path(runner.work_dir) / FILE_NAME, self.rows)
