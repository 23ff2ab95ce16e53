"""A tiny VOC folder, a tiny registered backbone, and the options that make a run tiny."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from detection.toy import write_voc
from refaug_det.backbones import resnets, zoo

TINY = ['model.neck.out_channels=16', 'model.rpn_head.in_channels=16',
        'model.rpn_head.feat_channels=16',
        'model.roi_head.bbox_roi_extractor.out_channels=16',
        'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=32',
        'train_dataloader.dataset.pipeline.2.scale=(96,96)',
        'test_dataloader.dataset.pipeline.1.scale=(96,96)',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
        'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
        'train_dataloader.batch_size=4', 'auto_scale_lr.base_batch_size=4']


@pytest.fixture(scope='session')
def voc(tmp_path_factory):
    """data_root of 12 training and 6 test scenes."""
    root = tmp_path_factory.mktemp('voc') / 'toy_voc'
    write_voc(root, trainval=12, test=6, size=(96, 80), seed=3)
    return root


@pytest.fixture
def tiny_backbone(zoo_dir):
    """Name of a registered ResNet-18 of width 8."""
    torch.manual_seed(0)
    net = resnets.reference('resnet18', 8)
    zoo.register('tiny', net.state_dict(), resnets.spec_of('resnet18', 8),
                 provenance={'run': 'abc'}, metrics={})
    return 'tiny'


@pytest.fixture
def zoo_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    return tmp_path / 'zoo'


@pytest.fixture
def arguments(voc, tiny_backbone, tmp_path):
    """Words of a tiny `tools/train_det.py` command line; takes more words."""
    def words(*more, work_dir='run', epochs=2, options=()):
        return ['configs/det/toy_faster_rcnn.py', '--backbone', tiny_backbone, '--data-root',
                str(voc), '--work-dir', str(tmp_path / work_dir), '--classes', 'auto', *more,
                '--cfg-options', *TINY, f'train_cfg.max_epochs={epochs}', *options]
    return words


@pytest.fixture(scope='session')
def devkit():
    """The module `devkit.py` beside this file."""
    path = Path(__file__).with_name('devkit.py')
    spec = importlib.util.spec_from_file_location('devkit', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
