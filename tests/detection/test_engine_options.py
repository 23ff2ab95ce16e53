"""Stage 2 with the engine's options: each reaches the run, its record and its protocol."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from refaug_det.runs import checkpoints, records

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def train_det(monkeypatch):
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location('train_det', ROOT / 'tools' / 'train_det.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_a_detector_in_half_precision_with_an_average_at_another_batch(
        train_det, arguments, tmp_path):
    config = tmp_path / 'averaged.py'
    config.write_text(f"_base_ = {str(ROOT / 'configs' / 'det' / 'toy_faster_rcnn.py')!r}\n"
                      "custom_hooks = [dict(type='RefAugEMAHook', momentum=0.5)]\n")
    _, *words = arguments('--amp', 'bf16', '--scale-lr', epochs=1,
                          options=['auto_scale_lr.base_batch_size=8'])
    assert train_det([str(config), *words]) == 0
    record = records.read(tmp_path / 'run')
    assert record.status == 'done'
    assert record.protocol['optim_wrapper.optimizer.lr'] == 0.005
    assert record.protocol['total_batch'] == 4
    assert record.protocol['optim_wrapper.type'] == 'RefAugAmpOptimWrapper'
    assert record.protocol['optim_wrapper.dtype'] == 'bfloat16'
    assert record.protocol['custom_hooks.0.momentum'] == 0.5
    assert record.notes[0].startswith('total batch 4 = 1 x 4 images instead of 8: rates times 0.5')
    state = checkpoints.newest_valid(tmp_path / 'run')[1]
    average = state['hooks']['RefAugEMAHook']
    key = 'roi_head.bbox_head.fc_cls.weight'
    assert average['swapped']
    assert torch.isfinite(state['state_dict'][key]).all()
    assert not torch.equal(average['average'][f'module.{key}'], state['state_dict'][key])
