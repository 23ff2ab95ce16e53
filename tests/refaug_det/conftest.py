"""A run so small that it takes a fraction of a second, through the code of real runs.

Data set, network and metric are registered as anyone's own would be. Samples depend on
all three generators and the network on torch's: whatever is not seeded shows.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

from refaug_det.runs import directory, history, launch

CONFIG = '''"""A run of 3 epochs of 4 iterations."""
default_scope = 'mmengine'
model = dict(type='TinyNetwork')
train_dataloader = dict(
    batch_size=3, num_workers=0, persistent_workers=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='TinyDataset', length=11, data_root='data/tiny'))
val_dataloader = dict(
    batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='TinyDataset', length=6, noise=0.0))
val_evaluator = dict(type='TinyMetric')
train_cfg = dict(type='RefAugTrainLoop', max_epochs=3)
val_cfg = dict(type='ValLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[2], gamma=0.1),
                   dict(type='LinearLR', by_epoch=False, start_factor=0.1, begin=0, end=5)]
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    logger=dict(type='LoggerHook'),
    history=dict(type='RefAugHistoryHook'),
    checkpoint=dict(type='RefAugCheckpointHook', interval=1, interval_iters=1),
    progress=dict(type='RefAugProgressHook'),
    sampler_seed=None)
auto_scale_lr = dict(base_batch_size=3)
'''


@DATASETS.register_module(force=True)
class TinyDataset(Dataset):
    """Class = sign of the first feature; noise from `random`, numpy and torch alike."""

    def __init__(self, length: int, noise: float = 1.0, data_root: str = '') -> None:
        self.length, self.noise, self.drawn = length, noise, []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        self.drawn.append(index)
        noise = torch.tensor([random.gauss(0, 1), np.random.randn(), float(torch.randn(()))])
        clean = torch.tensor([index % 2 * 2.0 - 1, index / self.length, 1.0])
        return dict(inputs=(clean + self.noise * noise).float(), label=index % 2)


@DATASETS.register_module(force=True)
class DrawingDataset(Dataset):
    """Samples are draws; it knows its epoch, and says what was asked of it."""

    def __init__(self, length: int = 10) -> None:
        self.length, self.epoch, self.asked = length, -1, []
        self.metainfo = {'classes': ('a',)}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        self.asked.append(index)
        draws = torch.tensor([random.random(), np.random.rand(), torch.rand(())])
        return dict(index=index, epoch=self.epoch, draws=draws)

    def full_init(self) -> None:
        pass  # mmengine's wrappers call it

    def get_cat_ids(self, index: int) -> list[int]:
        return [index % 2]

    def get_data_info(self, index: int) -> dict:
        wide = index % 3 == 0
        return dict(width=200 if wide else 100, height=100 if wide else 200)


@MODELS.register_module(force=True)
class TinyNetwork(BaseModel):
    """Has parameters, buffers and draws of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5),
                                 nn.Linear(8, 2))

    def forward(self, inputs: torch.Tensor, label: torch.Tensor, mode: str = 'tensor'):
        logits = self.net(inputs)
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(logits, label))
        return [dict(right=bool(row)) for row in logits.argmax(1) == label]


@METRICS.register_module(force=True)
class TinyMetric(BaseMetric):
    def process(self, data_batch: dict, data_samples: list) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list) -> dict:
        return {'top-1': 100 * sum(row['right'] for row in results) / len(results)}


class Raise(Hook):
    """Ends a run before the iteration that follows some, with the exception it is given."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after, self.error = after, error

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.after:
            raise self.error


def end_workers(loader) -> None:
    """At once: left to the garbage collector, each persistent worker takes torch 5 s to end."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()
        loader._iterator = None


def run_tiny(config: Path, *words: object, stop: int | None = None,
             error: type = KeyboardInterrupt) -> SimpleNamespace:
    args = launch.arguments('').parse_args([str(config), *map(str, words)])
    cfg = launch.load(args)
    record = launch.prepare(cfg, args, 'classification', 'tiny')
    with directory.recorded(Path(cfg.work_dir), record):
        runner = launch.build(cfg, record)
        if stop:
            runner.register_hook(Raise(stop, error('stopped on purpose')))
        try:
            runner.train()
        finally:
            end_workers(runner.train_dataloader)
        rows = history.read(cfg.work_dir)
        record.metrics = history.test_metrics(rows[-1])
    return SimpleNamespace(
        weights={k: v.clone() for k, v in runner.model.state_dict().items()}, record=record,
        history=rows, drawn=runner.train_loop.dataset.drawn, runner=runner)


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def train_tiny(tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """`train_tiny(*words, stop=3)` runs as `tools/train_cls.py` would, stopped after 3 iterations.

    Returns a namespace of `weights`, `record`, `history`, `runner`, and `drawn`, the indices of
    the samples in order. It works in the test's own folder.
    """
    monkeypatch.chdir(tmp_path)
    return functools.partial(run_tiny, tiny_config)


@pytest.fixture(scope='session')
def straight(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same run, never interrupted."""
    folder = tmp_path_factory.mktemp('straight')
    (folder / 'tiny.py').write_text(CONFIG)
    return run_tiny(folder / 'tiny.py', '--work-dir', folder / 'run')


@pytest.fixture
def same() -> Callable[[dict, dict], bool]:
    """Whether two state dicts are bitwise equal."""
    def equal(a: dict, b: dict) -> bool:
        return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    return equal
