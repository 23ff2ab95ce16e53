"""mmengine's Runner where it stands in the way: every touch of its internals is here.

What differs: gloo on machines without a GPU, a quiet console (the log file has
everything), initial weights keyed on the seed, and resume from the newest
readable checkpoint of the run directory.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from refaug_det.runs import checkpoints
from refaug_det.runs.randomness import seed_from


@RUNNERS.register_module()
class RefAugRunner(Runner):
    """A Runner that is reproducible from its seed and resumable at any iteration."""

    def setup_env(self, env_cfg: dict) -> None:
        if self.distributed and not torch.cuda.is_available():
            # mmengine sets a CUDA device before it opens the process group
            if not torch.distributed.is_initialized():
                torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None,
                     **kwargs: Any) -> MMLogger:
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(max(handler.level, logging.WARNING))
        return logger

    def build_model(self, model: Any) -> torch.nn.Module:
        seed_from(self.seed, 'model')
        return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: dict | None,
                   model: torch.nn.Module) -> torch.nn.Module:
        if self.distributed and not torch.cuda.is_available():
            unused = self.cfg.get('find_unused_parameters', False)
            return MMDistributedDataParallel(
                module=model, broadcast_buffers=False, find_unused_parameters=unused)
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        seed_from(self.seed, 'weights')
        super()._init_model_weights()

    def load_or_resume(self) -> None:
        if self._has_loaded or not self._resume:
            return super().load_or_resume()
        found = checkpoints.newest_valid(self.work_dir)
        self._has_loaded = True
        if found is None:
            if is_main_process():
                print('nothing to resume from: no checkpoint yet, starting at epoch 1')
            return None
        path, state = found
        checkpoints.restore(self, state)
        if is_main_process():
            print(f'resumed from {path.name} (epoch {state["epoch"]})')
        return None

    def dump_config(self) -> None:
        """Nothing: `launch` writes the resolved config once, atomically."""

