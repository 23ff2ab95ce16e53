"""Every protocol of stage 2 trains, at toy size, and is recorded."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

from detection.toy import write_voc
from refaug_det.backbones import resnets, zoo
from refaug_det.runs import checkpoints, records

ROOT = Path(__file__).parents[2]
C4 = 'faster_rcnn_r50_c4_voc0712_24k'
# The paper's own: test_train.py, by way of the toy config that derives from it.
# COCO's: test_coco_train.py.
OTHERS = sorted({path.stem for path in (ROOT / 'configs' / 'det').glob('*.py')} - {
    C4, 'faster_rcnn_r50_fpn_voc07', 'toy_faster_rcnn', 'faster_rcnn_r50_fpn_coco_1x'})
TINY = ['model.neck.out_channels=16', 'train_dataloader.dataset.pipeline.2.scale=(96,96)',
        'test_dataloader.dataset.pipeline.1.scale=(96,96)', 'train_cfg.max_epochs=1',
        'train_dataloader.num_workers=0', 'test_dataloader.num_workers=0',
        'train_dataloader.batch_size=2', 'auto_scale_lr.base_batch_size=2']
TWO_STAGE = [
    'model.rpn_head.in_channels=16', 'model.rpn_head.feat_channels=16',
    'model.roi_head.bbox_roi_extractor.out_channels=16', 'model.roi_head.bbox_head.in_channels=16',
    'model.roi_head.bbox_head.fc_out_channels=32', 'model.train_cfg.rpn_proposal.nms_pre=100',
    'model.test_cfg.rpn.nms_pre=100']
ONE_STAGE = ['model.bbox_head.in_channels=16', 'model.bbox_head.feat_channels=64']
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def both_years(tmp_path_factory):
    """A devkit of 4 training images in each year, and 2 test images."""
    root = tmp_path_factory.mktemp('devkit') / 'VOCdevkit'
    write_voc(root, trainval=4, test=2, size=(96, 80), seed=3)
    shutil.copytree(root / 'VOC2007', root / 'VOC2012')
    return root


@pytest.fixture
def train_det(monkeypatch):
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location('train_det', ROOT / 'tools' / 'train_det.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_the_c4_protocol_trains_for_a_number_of_updates(train_det, both_years, zoo_dir, tmp_path):
    torch.manual_seed(0)
    net = resnets.reference('resnet18')
    zoo.register('r18', net.state_dict(), resnets.spec_of('resnet18'), provenance={}, metrics={})
    options = [option for option in TINY if 'neck' not in option and 'pipeline.2' not in option
               and 'max_epochs' not in option]
    assert train_det([f'configs/det/{C4}.py', '--backbone', 'r18', '--data-root',
                      str(both_years), '--work-dir', str(tmp_path / 'run'), '--classes', 'auto',
                      '--cfg-options', *options, 'train_cfg.max_iters=3',
                      'model.rpn_head.feat_channels=16', 'model.train_cfg.rcnn.sampler.num=16',
                      'train_dataloader.dataset.pipeline.2.scales=[(96,96)]']) == 0
    record = records.read(tmp_path / 'run')
    assert record.data['train']['images'] == 8
    state = checkpoints.newest_valid(tmp_path / 'run')[1]
    assert (state['iteration'], state['epoch']) == (3, 1)
    trained = state['state_dict']['roi_head.shared_head.stage.layer4.1.conv2.weight']
    begun = net.state_dict()['layer4.1.conv2.weight']
    assert 0 < (trained - begun).abs().max() < 0.02  # it began as the backbone's last stage
    assert 'roi_head.shared_head.norm.running_mean' in state['state_dict']


@pytest.mark.parametrize('name', OTHERS)
def test_a_protocol_trains_and_is_recorded(name, train_det, both_years, tiny_backbone, tmp_path):
    stages = TWO_STAGE if name.startswith('faster') else ONE_STAGE
    assert train_det([f'configs/det/{name}.py', '--backbone', tiny_backbone, '--data-root',
                      str(both_years), '--work-dir', str(tmp_path / 'run'), '--classes', 'auto',
                      '--cfg-options', *TINY, *stages]) == 0
    record = records.read(tmp_path / 'run')
    assert record.status == 'done'
    assert record.data['train']['images'] == (8 if 'voc0712' in name else 4)
    assert record.protocol['total_batch'] == 2
    assert any('tensors matched, 0 missing' in note for note in record.notes)
