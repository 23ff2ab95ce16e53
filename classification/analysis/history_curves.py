"""Figure 1 of the paper from what a run recorded: its risks, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from classification.analysis import hook
from classification.refinement import REFINEMENT
from refaug_det.errors import UserError
from refaug_det.runs import history


def collect(run_dir: Path | str) -> dict[str, Any]:
    """The curves of a run, JSON-able.

    Args:
        run_dir: holds history.json, and risks.json where the run had `RefAugRiskHook`.

    Returns:
        `series`, name -> [epoch (from 1), nats] by rising epoch, without gaps in the risks:
        `clean_train` and `augmented_train` where they were recorded, `test` (on all test images
        where only history.json has it) and `objective`, the training loss; `switch`, the last
        epoch with augmentation, or None; `images`, of the subset, or None.

    Raises:
        UserError: the run has no history.
    """
    rows, risks = history.read(run_dir), hook.read(run_dir)
    if not rows:
        raise UserError('the run has no history yet', Path(run_dir) / history.FILE_NAME,
                        'wait for its first epoch to end')

    def series(of: list[dict[str, Any]], name: str) -> list[list[float]]:
        return [[row['epoch'], row[name]] for row in of if row.get(name) is not None]

    found = {name: series(risks, name) for name in hook.KINDS.values()}
    found['test'] = found['test'] or series(rows, 'cross entropy')
    found['objective'] = series(rows, 'loss')
    refined = [row['epoch'] for row in rows if row.get('phase') == REFINEMENT]
    return dict(series={name: points for name, points in found.items() if points},
                switch=refined[0] - 1 if refined else None,
                images=risks[-1]['images'] if risks else None)
