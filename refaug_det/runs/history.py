"""What happened epoch by epoch, in a file that survives a kill."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from refaug_det.errors import UserError
from refaug_det.runs import files

FILE_NAME = 'history.json'
_TRAINING = ('epoch', 'iteration', 'phase', 'lr', 'loss', 'augmented_share')


def read(run_dir: Path | str) -> list[dict[str, Any]]:
    """One dict an epoch: `epoch` (from 1), `phase`, `lr`, `loss`, then test metrics.

    Raises:
        UserError: the file is no such list.
    """
    path = Path(run_dir) / FILE_NAME
    rows = files.read_json(path, 'the history', list) if path.is_file() else []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get('epoch'), int) or not all(
                value is None or isinstance(value, (int, float)) for key, value in row.items()
                if key != 'phase'):
            raise UserError(f'the history cannot be read: a row is no epoch: {str(row)[:80]}', path,
                            'restore the file or run the job again')
    return rows


def row(run_dir: Path | str, epoch: int) -> dict[str, Any]:
    """What is known of one epoch (from 1); empty where it is not recorded."""
    return next((row for row in read(run_dir) if row['epoch'] == epoch), {})


def test_metrics(row: dict[str, Any]) -> dict[str, float | None]:
    """The test metrics of one row."""
    return {key: value for key, value in row.items() if key not in _TRAINING}


@HOOKS.register_module()
class RefAugHistoryHook(Hook):
    """Keeps `history.json`: mean training loss, rate, phase and test metrics an epoch."""

    priority = 'LOW'  # before the checkpoint hook: what a checkpoint covers is written

    def __init__(self) -> None:
        self.losses: list[Any] = []  # of the epoch so far

    def before_train(self, runner: Any) -> None:
        # a resumed run drops what lies behind its checkpoint: it will be run again
        self.rows = [row for row in read(runner.work_dir) if row['epoch'] <= runner.epoch]

    def before_train_epoch(self, runner: Any) -> None:
        self.rate: float | None = None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        # at the end of an epoch the scheduler has already set the next one's
        self.rate = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        if outputs and 'loss' in outputs:
            self.losses.append(outputs['loss'].detach())

    def after_train_epoch(self, runner: Any) -> None:
        info = runner.message_hub.runtime_info
        losses = [float(x) for x in self.losses]
        row = dict(epoch=runner.epoch + 1, iteration=runner.iter, phase=info.get('phase'),
                   lr=self.rate,
                   loss=_finite(sum(losses) / len(losses)) if losses else None)
        if info.get('augmented_share') is not None:
            row['augmented_share'] = info.get('augmented_share')
        self.losses = []
        self.rows = [r for r in self.rows if r['epoch'] != row['epoch']] + [row]
        self._write(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if self.rows and metrics:
            self.rows[-1].update({k: _finite(v) for k, v in metrics.items()})
            self._write(runner)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints inside an epoch: the losses before it."""
        return dict(losses=[float(loss) for loss in self.losses])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = list(state['losses'])

    def _write(self, runner: Any) -> None:
        if is_main_process():
            files.write_json(Path(runner.work_dir) / FILE_NAME, self.rows)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(float(value)) else None
