"""Training curves to TensorBoard, W&B or MLflow, through mmengine's backends."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from mmengine.config import Config

from refaug_det.errors import UserError

PROJECT = 'refaug-det'
TRACKERS = ('tensorboard', 'wandb', 'mlflow')


def track(cfg: Config, names: Sequence[str], run: str) -> None:
    """Send the curves of a run to trackers too; `cfg` is changed in place.

    Args:
        names: of `TRACKERS`. TensorBoard and MLflow write below the run directory.
        run: what W&B and MLflow call the run.

    Raises:
        UserError: the package of a tracker is not installed.
    """
    backends = dict(
        tensorboard=dict(type='TensorboardVisBackend'),
        wandb=dict(type='WandbVisBackend', init_kwargs=dict(project=PROJECT, name=run)),
        mlflow=dict(type='MLflowVisBackend', exp_name=PROJECT, run_name=run))
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(f'{name} is not installed', f'--track {name}',
                            f'pip install "refaug-det[{name}]"')
    if names:
        local = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
        visualizer = dict(cfg.get('visualizer') or local)  # mmengine's default: files of its own
        visualizer.pop('name', None)  # the runner gives one: runs of one process do not share
        visualizer['vis_backends'] = [*(visualizer.get('vis_backends') or ()),
                                      *(backends[name] for name in names)]
        cfg.visualizer = visualizer
