"""The table of refinement and its control arm, from run directories written by hand."""

import importlib.util
import json
from pathlib import Path

import pytest

from refaug_det.runs import files, history
from refaug_det.runs.records import RunRecord

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('table', ROOT / 'tools' / 'refinement_table.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(folder, seed, rows, config, weights=None):
    RunRecord('net', 'classification', 'done', config='configs/cls/mixup.py', seed=seed).write(
        folder)
    files.write_json(folder / history.FILE_NAME, [
        {'epoch': number, 'phase': phase, 'top-1': value}
        for number, (phase, value) in enumerate(rows, 1)])
    files.write_json(folder / 'config.json', config)
    if weights:
        (folder / 'weights_augmented.safetensors').write_bytes(weights)


def test_each_control_belongs_to_the_weights_it_began_with(tool, tmp_path, capsys):
    for seed, (before, alone, after) in enumerate([(70, 71, 72), (74, 74.5, 77)]):
        weights = bytes([seed])
        (tmp_path / 'w').write_bytes(weights)
        digest = files.sha256_of(tmp_path / 'w')
        put(tmp_path / f'run{seed}', seed, [('augmented', 60), ('augmented', before),
                                            ('refinement', after)], dict(optim_wrapper={}), weights)
        put(tmp_path / f'bn{seed}', seed, [('refinement', alone)], dict(
            optim_wrapper=dict(type='RefAugNoUpdate'), refined_from=dict(sha256=digest)))
    assert tool.collect([tmp_path]) == {'mixup': {0: [70, 71, 72], 1: [74, 74.5, 77]}}
    assert tool.main([str(tmp_path)]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith('| mixup | 2 | 72.00 ± 2.83 | 72.75 ± 2.47 | 74.50 ± 3.54 | +2.50 [')
    json_path = tmp_path / 'bn1' / 'config.json'
    other = json.loads(json_path.read_text())
    other['refined_from']['sha256'] = 'another'
    files.write_json(json_path, other)
    assert tool.collect([tmp_path])['mixup'][1] == [74, None, 77]


def test_nothing_to_tell(tool, tmp_path, capsys):
    RunRecord('net', 'detection', 'done').write(tmp_path)
    assert tool.main([str(tmp_path)]) == 2
    assert 'no finished run with a refinement' in capsys.readouterr().err
