"""mmengine's Runner where it stands in the way: every touch of its internals is here.

What differs: gloo on machines without a GPU, a quiet console (the log file has
everything), initial weights keyed on the seed, resume from the newest
readable checkpoint of the run directory, and names that no two runs share.
"""

from __future__ import annotations

import logging
import sys
import uuid
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, finite, signals
from refaug_det.runs.loops import end_workers, without_idle_options
from refaug_det.runs.randomness import seed_from


@RUNNERS.register_module()
class RefAugRunner(Runner):
    """A Runner that is reproducible from its seed and resumable at any iteration."""

    _has_loaded: bool
    start: Callable[[], None] | None = None  # puts weights in after all are initialised

    def __init__(self, *args: Any, experiment_name: str | None = None, **kwargs: Any) -> None:
        # mmengine names its global loggers by the second: two runs of one process would share
        name = f'{experiment_name or "run"}_{uuid.uuid4().hex[:8]}'
        super().__init__(*args, experiment_name=name, **kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        without_gpu = self.distributed and not torch.cuda.is_available()
        if without_gpu and not torch.distributed.is_initialized():
            # mmengine sets a CUDA device before it opens the process group
            torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None,
                     **kwargs: Any) -> MMLogger:
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(max(handler.level, logging.WARNING))
            else:
                handler.handleError = partial(_say_once, [])  # type: ignore[method-assign]
        return logger

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(dataloader, dict):
            dataloader = without_idle_options(dataloader)
        return signals.spare_workers(Runner.build_dataloader(dataloader, *args, **kwargs))

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        super().register_hooks(*args, **kwargs)
        self.register_hook(signals.SignalHook())
        self.register_hook(finite.FiniteLossHook())

    def build_model(self, model: Any) -> torch.nn.Module:
        seed_from(self.seed, 'model')
        return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: dict | None,
                   model: torch.nn.Module) -> torch.nn.Module:
        if self.distributed and self.cfg.get('sync_bn') and not torch.cuda.is_available():
            raise UserError('SyncBN works on GPUs only', 'sync_bn', 'leave it out: batch norm is '
                            'over the images of each process')
        with warnings.catch_warnings():  # newer torch has another name for broadcast_buffers
            warnings.simplefilter('ignore', FutureWarning)
            if self.distributed and not torch.cuda.is_available():
                unused = self.cfg.get('find_unused_parameters', False)
                return MMDistributedDataParallel(
                    module=model, broadcast_buffers=False, find_unused_parameters=unused)
            return super().wrap_model(model_wrapper_cfg, model)

    def build_rest(self) -> None:
        """Build what mmengine builds in `train`, so that what cannot be built is found before."""
        _ = self.train_loop, self.val_loop if self._val_loop is not None else None
        self.optim_wrapper: Any = self.build_optim_wrapper(self.optim_wrapper)
        schedulers: Any = self.param_schedulers
        if schedulers is not None:
            self.param_schedulers: Any = self.build_param_scheduler(schedulers)

    def train(self) -> torch.nn.Module:
        try:
            return super().train()
        except BaseException:
            self.visualizer.close()  # trackers write what they still hold
            raise
        finally:
            for hook in self.hooks:
                if hasattr(hook, 'close'):
                    hook.close()
            for loop in (self._train_loop, self._val_loop):
                end_workers(getattr(loop, 'dataloader', None))

    def _maybe_compile(self, target: str) -> None:
        compile_network = getattr(checkpoints.unwrapped(self.model), 'compile_network', None)
        options = self.cfg.get('compile')
        if options and compile_network is not None:
            # mmengine compiles the whole step, with what counts, draws and switches in it
            compile_network(**({} if options is True else options))
        else:
            super()._maybe_compile(target)

    def _init_model_weights(self) -> None:
        seed_from(self.seed, 'weights')
        super()._init_model_weights()
        if self.start is not None:
            self.start()

    def load_or_resume(self) -> None:
        if self._has_loaded or not self._resume:
            return super().load_or_resume()
        found = checkpoints.newest_valid(self.work_dir)
        self._has_loaded = True
        if found is None:
            if is_main_process():
                print('nothing to resume from: no checkpoint that can be read, starting at epoch 1')
            return None
        path, state = found
        checkpoints.restore(self, state)
        if is_main_process():
            print(f'resumed from {path.name} (epoch {state["epoch"]})')
        return None

    def dump_config(self) -> None:
        """Nothing: `launch` writes the resolved config once, atomically."""


def _say_once(said: list[BaseException | None], line: logging.LogRecord) -> None:
    """In place of a traceback for each line that a full disk keeps from the log file."""
    if not said:
        said.append(sys.exc_info()[1])
        print(f'the log file cannot be written: {said[0]}')
