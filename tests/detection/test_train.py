"""Stage 2 through its real command line, on generated data."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData

from detection import detections
from detection.evaluate import metrics_of
from refaug_det.cli import main
from refaug_det.comparison.compare import compare
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


def final_weights(run):
    return checkpoints.newest_valid(run)[1]['state_dict']


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_is_recorded_and_compared(train_det, arguments, tmp_path, voc):
    assert train_det(arguments(epochs=1)) == 0
    assert train_det(arguments('--seed', '1', work_dir='second', epochs=1)) == 0
    record = records.read(tmp_path / 'run')
    assert record.status == 'done'
    assert record.backbone['name'] == 'tiny'
    assert record.backbone['run'] == 'abc'
    assert len(record.backbone['sha256']) == 64
    assert {'AP50 (11-point)', 'AP50 (area)', 'AP', 'AP75'} <= record.metrics.keys()
    assert record.protocol['total_batch'] == 4
    assert record.data['train']['images'] == 12
    assert record.operators
    assert any('tensors matched, 0 missing' in note for note in record.notes)
    assert not equal(final_weights(tmp_path / 'run'), final_weights(tmp_path / 'second'))
    table = compare([tmp_path / 'run', tmp_path / 'second'])
    assert [row.n for row in table.rows] == [2]


def test_the_metrics_are_those_of_the_kept_detections(train_det, arguments, tmp_path, monkeypatch,
                                                      capsys):
    """With boxes near the objects in place of a tiny detector's: it would find nothing."""
    from detection.metrics import RefAugVOCMetric
    process, draw = RefAugVOCMetric.process, torch.Generator().manual_seed(0)

    def near_the_objects(self, batch, samples):
        for sample in samples:
            boxes, labels = (sample['gt_instances'][key] for key in ('bboxes', 'labels'))
            moved = boxes + 4 * torch.randn(boxes.shape, generator=draw)
            sample['pred_instances'] = InstanceData(
                bboxes=moved, labels=labels, scores=torch.rand(len(labels), generator=draw))
        process(self, batch, samples)

    monkeypatch.setattr(RefAugVOCMetric, 'process', near_the_objects)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / detections.FILE_NAME).write_text('of an earlier run')
    assert train_det(arguments(epochs=1)) == 0
    record = records.read(tmp_path / 'run')
    assert record.metrics['AP'] > 1
    assert record.metrics['AP (large)'] is None  # no object has 96 x 96 pixels
    capsys.readouterr()
    assert main(['eval', str(tmp_path / 'run'), '--json']) == 0
    assert json.loads(capsys.readouterr().out)[0]['metrics'] == record.metrics
    kept = detections.load(tmp_path / 'run')
    assert metrics_of(dataclasses.replace(kept, boxes=kept.boxes + 1)) != record.metrics
    assert len(kept.image_ids) == record.data['test']['images']
    assert len(kept.gt_labels) == record.data['test']['objects']
    assert not any('save_to' in key for key in record.protocol)


def test_resume_is_bitwise_equal(train_det, arguments, tmp_path, monkeypatch):
    assert train_det(arguments(work_dir='whole')) == 0
    save = checkpoints.save

    def cut_off(runner, epoch, *rest):
        save(runner, epoch, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, 'save', cut_off)
        assert train_det(arguments(work_dir='cut')) == 130
    assert records.read(tmp_path / 'cut').status == 'interrupted'
    at_cut = final_weights(tmp_path / 'cut')
    assert train_det(arguments('--resume', work_dir='cut')) == 0
    whole = final_weights(tmp_path / 'whole')
    assert equal(final_weights(tmp_path / 'cut'), whole)
    assert not equal(at_cut, whole), 'the cut was at the end: nothing was tested'
    metrics = [records.read(tmp_path / name).metrics for name in ('cut', 'whole')]
    assert metrics[0] == metrics[1]


def test_the_backbone_is_loaded_and_the_rest_follows_the_seed(train_det, arguments, tmp_path,
                                                              monkeypatch):
    from refaug_det.backbones import zoo
    seen = {}

    def stop(runner, *_):
        raise KeyboardInterrupt

    def look(self, runner):
        seen.update({k: v.clone() for k, v in runner.model.backbone.state_dict().items()})
        raise KeyboardInterrupt

    from refaug_det.runs.progress import RefAugProgressHook
    monkeypatch.setattr(RefAugProgressHook, 'before_train', look)
    assert train_det(arguments()) == 130
    loaded = zoo.weights('tiny')
    assert all(torch.equal(seen[key], value) for key, value in loaded.items())
    words = arguments('--overwrite')
    words[words.index('tiny')] = 'random:tiny'
    assert train_det(words) == 130
    assert not torch.equal(seen['conv1.weight'], loaded['conv1.weight'])


def test_micro_batches_give_the_same_number_of_updates(train_det, arguments, tmp_path):
    assert train_det(arguments(epochs=1, options=['train_dataloader.batch_size=2'])) == 0
    record = records.read(tmp_path / 'run')
    assert record.protocol['total_batch'] == 4
    assert any('at most 2 at once' in note for note in record.notes)
    history = json.loads((tmp_path / 'run' / 'history.json').read_text())
    assert history[0]['iteration'] == 3


def test_a_zero_area_box_does_not_reach_the_loss(train_det, arguments, tmp_path, voc):
    root = tmp_path / 'bad'
    shutil.copytree(voc, root)
    for path in (root / 'VOC2007' / 'Annotations').glob('*.xml'):
        text = path.read_text()
        low = text.split('<xmin>')[1].split('<')[0]
        high = text.split('<xmax>')[1].split('<')[0]
        path.write_text(text.replace(f'<xmax>{high}<', f'<xmax>{low}<', 1))
    words = arguments(epochs=1)
    words[words.index(str(voc))] = str(root)
    assert train_det(words) == 0
    assert records.read(tmp_path / 'run').data['train']['dropped']['degenerate box'] == 12
    assert all(v.isfinite().all() for v in final_weights(tmp_path / 'run').values())


@pytest.mark.parametrize(('change', 'said'), [
    (lambda w, t: [*w[:2], 'nope', *w[3:]], "no backbone 'nope'"),
    (lambda w, t: ['configs/det/nope.py', *w[1:]], 'no such config'),
    (lambda w, t: [*w, 'model.backbone.detph=18'], "did you mean 'depth'"),
    (lambda w, t: [*w, 'train_dataloader.batchsize=2'], "did you mean 'batch_size'"),
    (lambda w, t: [str(t / 'gone') if v.endswith('toy_voc') else v for v in w], 'gone'),
    (lambda w, t: ['a,a' if v == 'auto' else v for v in w], 'distinct'),
    (lambda w, t: [*['disc,ring' if v == 'auto' else v for v in w][:2], '../x', *w[3:]],
     'not a backbone name'),
    (lambda w, t: [*w, 'auto_scale_lr.base_batch_size=3', 'train_cfg.type=EpochBasedTrainLoop',
                   'train_dataloader.batch_size=2'], 'RefAugTrainLoop'),
])
def test_bad_input_ends_with_three_lines(train_det, arguments, tmp_path, capsys, change, said):
    assert train_det(change(arguments(), tmp_path)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert not (tmp_path / 'run' / 'run.json').exists()
