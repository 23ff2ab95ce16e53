"""`refaug-det protocol`: fields and fingerprint of configs and runs, and where two differ."""

from __future__ import annotations

import json

import pytest

import detection.train  # noqa: F401  (the configs ask for it)
from refaug_det.cli import main
from refaug_det.comparison import protocol
from refaug_det.comparison.protocol_commands import protocol_at
from refaug_det.runs.records import RunRecord

VOC07 = 'configs/det/faster_rcnn_r50_fpn_voc07.py'
FROZEN = 'configs/det/faster_rcnn_r50_fpn_voc07_frozen.py'


@pytest.fixture
def run_of(tmp_path):
    """A run directory that fine-tuned by the protocol of a config, on data it found."""
    def write(config, name='run', **more):
        from pathlib import Path
        found = {**protocol_at(Path(config)), 'data.train.images': 5011, **more}
        (tmp_path / name).mkdir()
        RunRecord(name=name, stage='detection', status='done', protocol=found,
                  protocol_fingerprint=protocol.fingerprint(found)).write(tmp_path / name)
        return str(tmp_path / name)
    return write


def test_show_prints_every_field_and_the_fingerprint(capsys, run_of):
    assert main(['protocol', 'show', VOC07]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'total_batch = 16' in lines
    assert 'model.backbone.frozen_stages = 1' in lines
    assert 'train_dataloader.dataset.filter_cfg.bbox_min_size = 0' in lines
    assert main(['protocol', 'show', VOC07, '--json']) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown['protocol']) == len(lines) - 1
    assert lines[-1] == f'fingerprint {shown["fingerprint"]}'
    run = run_of(VOC07)
    assert main(['protocol', 'show', run, '--json']) == 0
    of_run = json.loads(capsys.readouterr().out)
    assert of_run['protocol'].pop('data.train.images') == 5011
    assert of_run['protocol'] == shown['protocol']
    assert of_run['fingerprint'] != shown['fingerprint']  # for the data are part of it


def test_diff_says_where_two_differ_by_its_exit_code_too(capsys, run_of):
    assert main(['protocol', 'diff', VOC07, FROZEN]) == 1
    assert capsys.readouterr().out.splitlines() == [
        'model.backbone.frozen_stages: 1 | 4', 'fields that differ: 1']
    assert main(['protocol', 'diff', VOC07, VOC07]) == 0
    assert capsys.readouterr().out == 'the protocols are equal\n'
    run = run_of(VOC07)
    assert main(['protocol', 'diff', VOC07, run]) == 0  # the data are left aside
    capsys.readouterr()
    assert main(['protocol', 'diff', run, FROZEN, '--json']) == 1
    assert json.loads(capsys.readouterr().out) == [
        dict(field='model.backbone.frozen_stages', a=1, b=4)]
    other = run_of(VOC07, 'other', **{'data.train.images': 5010, 'note': '\x1b[31m'})
    assert main(['protocol', 'diff', run, other]) == 1  # two runs: the data count
    assert capsys.readouterr().out.splitlines()[:2] == [
        'data.train.images: 5011 | 5010', 'note: (absent) | "\\u001b[31m"']


def test_what_has_no_protocol_is_refused(capsys, tmp_path):
    RunRecord(name='a', stage='classification').write(tmp_path)
    empty = tmp_path / 'empty.py'
    empty.write_text('model = dict()\n')
    for path, said in ((tmp_path, 'no protocol: stage classification'), (empty, 'trains nothing'),
                       (tmp_path / 'none.py', 'no such config'),
                       (tmp_path / 'none', 'no run record')):
        assert main(['protocol', 'show', str(path)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.strip().splitlines()) <= 3
