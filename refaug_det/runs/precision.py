"""Mixed precision: bf16 on any device, fp16 with a scaled loss on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from refaug_det.errors import UserError

DTYPES = {'bf16': 'bfloat16', 'fp16': 'float16'}  # as the command line calls them


def use_amp(cfg: Config, name: str) -> None:
    """Train with mixed precision, `bf16` or `fp16`; `cfg` is changed in place.

    Raises:
        UserError: the config has an optim wrapper of another kind.
    """
    known = ('OptimWrapper', 'AmpOptimWrapper', 'RefAugAmpOptimWrapper')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in known:
        raise UserError(f'--amp with {kind}', 'optim_wrapper.type',
                        f'use one of {", ".join(known)}')
    cfg.optim_wrapper.update(type='RefAugAmpOptimWrapper', dtype=DTYPES[name])


@OPTIM_WRAPPERS.register_module()
class RefAugAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's `AmpOptimWrapper`, which also runs on a CPU and counts the updates it left out.

    Weights and their updates stay in float32; validation is not autocast.

    Args:
        dtype: of the autocast, `bfloat16` or `float16`. bfloat16 has the range
            of float32: its loss is not scaled.
        loss_scale: see `AmpOptimWrapper`; for float16.
        kwargs: see `mmengine.optim.OptimWrapper`.

    `skipped` counts the updates that were left out since the run began because
    a gradient overflowed; the log and the progress line show it.

    Raises:
        UserError: another dtype, or float16 without a GPU.
    """

    def __init__(self, dtype: str = 'bfloat16', loss_scale: Any = 'dynamic',
                 **kwargs: Any) -> None:
        OptimWrapper.__init__(self, **kwargs)  # AmpOptimWrapper's own refuses to run on a CPU
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        scaled = dtype == 'float16'
        if dtype not in DTYPES.values() or (scaled and self.device == 'cpu'):
            raise UserError(f'mixed precision in {dtype} on {self.device}', 'optim_wrapper.dtype',
                            'bfloat16 runs everywhere, float16 on a GPU')
        self.cast_dtype = getattr(torch, dtype)
        static = isinstance(loss_scale, (int, float))
        self._scale_update_param = loss_scale if static else None
        options: dict[str, Any] = (dict(init_scale=float(loss_scale)) if static else
                                   {} if loss_scale == 'dynamic' else dict(loss_scale))
        self.loss_scaler = torch.amp.GradScaler(self.device, enabled=scaled, **options)
        self.skipped = 0

    def step(self, **kwargs: Any) -> None:
        before = self.loss_scaler.get_scale()
        super().step(**kwargs)
        if self.loss_scaler.is_enabled():
            self.skipped += self.loss_scaler.get_scale() < before  # an overflow lowers the scale
            MessageHub.get_current_instance().update_scalar('train/skipped_updates', self.skipped)

    def state_dict(self) -> dict:
        return dict(super().state_dict(), skipped=self.skipped)

    def load_state_dict(self, state_dict: dict) -> None:
        state = dict(state_dict)  # mmengine's takes keys out
        self.skipped = state.pop('skipped')
        super().load_state_dict(state)

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        with OptimWrapper.optim_context(self, model), torch.autocast(
                self.device, self.cast_dtype):
            yield
