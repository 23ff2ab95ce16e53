"""Stage 2 on COCO's layout through its real command lines, on generated data."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from detection import coco_annotations, detections
from refaug_det.cli import main
from refaug_det.comparison import bench_commands, protocol
from refaug_det.runs import records
from refaug_det.toy_world import CLASSES

CONFIG = 'faster_rcnn_r50_fpn_coco_1x'
VAL = 'annotations/instances_val2017.json'
pytestmark = pytest.mark.slow


@pytest.fixture
def words(arguments, coco):
    return lambda *more, **kwargs: arguments(*more, **{
        'config': CONFIG, 'root': coco, 'epochs': 1, **kwargs})


@pytest.fixture
def train_det(tool, monkeypatch):
    monkeypatch.chdir(bench_commands.ROOT)
    return tool('train_det')


@pytest.fixture
def near_the_objects(monkeypatch):
    """Boxes near the objects in place of a tiny detector's: it would find nothing."""
    from detection.metrics import RefAugCocoMetric
    process, draw = RefAugCocoMetric.process, torch.Generator().manual_seed(0)

    def instead(self, batch, samples):
        for sample in samples:
            parts = [sample['gt_instances'], sample['ignored_instances']]
            boxes, labels = (torch.cat([part[key] for part in parts])
                             for key in ('bboxes', 'labels'))
            sample['pred_instances'] = InstanceData(
                bboxes=boxes + 2 * torch.randn(boxes.shape, generator=draw), labels=labels,
                scores=torch.rand(len(labels), generator=draw))
        process(self, batch, samples)

    monkeypatch.setattr(RefAugCocoMetric, 'process', instead)


def test_a_run_is_recorded_and_its_metrics_are_pycocotools(
        train_det, words, coco, tmp_path, near_the_objects, pycocotools_on, capsys):
    assert train_det(words()) == 0
    record = records.read(tmp_path / 'run')
    assert record.status == 'done'
    assert coco_annotations._parsed.cache_info().currsize == 0  # not held while training
    train, test = record.data['train'], record.data['test']
    assert train['dropped'] == {'degenerate box': 1, 'image without objects': 1}
    assert (test['dropped'], test['noted']) == ({}, {'degenerate box': 1})
    assert (train['images'], test['images'], test['also_in_train']) == (8, 6, 0)
    assert record.protocol['test_evaluator.type'] == 'RefAugCocoMetric'
    assert record.protocol['data.test.sha256'] == test['sha256']
    assert any('tensors matched, 0 missing' in note for note in record.notes)
    kept = detections.load(tmp_path / 'run')
    assert len(kept.gt_labels) == test['objects'] == len(json.loads((coco / VAL).read_text())[
        'annotations'])
    assert kept.image_ids[0] == 'val2017/005.jpg'  # ids fall in the file
    theirs = pycocotools_on(coco / VAL, kept)
    assert theirs['AP'] > 1
    found = {name: record.metrics[name] for name in theirs}
    assert next(iter(record.metrics)) == 'AP'  # what is told of the run begins with it
    assert found == pytest.approx(theirs, rel=0, abs=1e-10)
    kept.boxes[:] += 1
    assert pycocotools_on(coco / VAL, kept)['AP'] != pytest.approx(theirs['AP'], abs=1e-3)
    capsys.readouterr()
    assert main(['eval', str(tmp_path / 'run'), '--json']) == 0
    assert json.loads(capsys.readouterr().out)[0]['metrics'] == record.metrics
    assert main(['show', str(tmp_path / 'run'), '--data-root', str(coco), '--images', '2',
                 '-o', str(tmp_path / 'out')]) == 0


def test_classes_by_name(train_det, words, tmp_path):
    line = words()
    line[line.index('auto')] = 'star,disc'
    assert train_det(line) == 0
    record = records.read(tmp_path / 'run')
    assert record.data['train']['dropped']['left-out class'] > 0
    kept = detections.load(tmp_path / 'run')
    assert kept.classes.tolist() == ['star', 'disc']
    assert set(kept.gt_labels.tolist()) <= {0, 1}
    assert record.protocol['model.roi_head.bbox_head.num_classes'] == 2
    assert record.protocol['train_dataloader.dataset.metainfo.classes'] == ['star', 'disc']


@pytest.mark.parametrize(('change', 'said'), [
    (lambda w, c, v: [str(v) if word == str(c) else word for word in w], "in COCO's layout"),
    (lambda w, c, v: [word for word in w if word not in ('--classes', 'auto')],
     'is not among the 80 known'),
    (lambda w, c, v: [f'{c}/gone' if word == str(c) else word for word in w], 'data prepare coco'),
    (lambda w, c, v: [*w, 'test_evaluator.type=RefAugCocoMetrik'], 'RefAugCocoMetrik'),
    (lambda w, c, v: [*w, 'train_dataloader.dataset.type=mmdet.CocoDataset'],
     'does not tell its classes'),
])
def test_refusals_are_three_lines_and_leave_nothing(train_det, words, coco, voc, tmp_path, capsys,
                                                    change, said):
    assert train_det(change(words(), coco, voc)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert not (tmp_path / 'run' / 'run.json').exists()


def test_a_grid_is_planned_by_the_short_name(words, coco, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(bench_commands.ROOT)
    line = words()
    options = line[line.index('--cfg-options') + 1:]
    assert main(['bench', '--backbones', 'tiny,random:tiny', '--protocol', 'coco_1x', '--seeds',
                 '2', '--data-root', str(coco), '--classes', 'auto', '--work-dir',
                 str(tmp_path / 'grid'), '--dry-run', '--cfg-options', *options]) == 0
    out = capsys.readouterr().out
    runs = [line for line in out.splitlines() if ' seed ' in line]
    assert len(runs) == 4
    assert all('new' in line for line in runs)
    assert not (tmp_path / 'grid').exists()


def test_the_fingerprint_shown_is_that_of_the_resolved_config(train_det, words, tmp_path, capsys):
    assert main(['protocol', 'show', f'configs/det/{CONFIG}.py', '--json']) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown['fingerprint'] == protocol.fingerprint(shown['protocol'])
    assert shown['protocol']['total_batch'] == 16
    assert train_det(words()) == 0
    record = records.read(tmp_path / 'run')
    resolved = Config(json.loads((tmp_path / 'run' / 'config.json').read_text()))
    counted = {split: {key: found[key] for key in ('images', 'objects', 'sha256')}
               for split, found in record.data.items()}
    again = protocol.protocol_of(resolved.to_dict(), 1, counted)
    assert protocol.differences(again, record.protocol) == []
    assert protocol.fingerprint(again) == record.protocol_fingerprint
    changed = protocol.protocol_of(resolved.to_dict(), 1, {})
    assert protocol.fingerprint(changed) != record.protocol_fingerprint
    assert record.protocol['train_dataloader.dataset.metainfo.classes'] == sorted(CLASSES)
