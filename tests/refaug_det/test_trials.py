"""Which records are trials of one comparison, and which are refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from refaug_det.comparison.compare import METRIC, compare
from refaug_det.errors import UserError
from refaug_det.runs.records import FILE_NAME, RunRecord

PROTOCOL = {'train_cfg.max_epochs': 12, 'optim_wrapper.optimizer.lr': 0.01, 'total_batch': 16}


def put(folder: Path, name: str, trial: int | None, value: float | None = None, /,
        **fields: object) -> None:
    """Write one detection record into a fresh directory below `folder`."""
    record = RunRecord(
        name, 'detection', 'done', seed=trial, selection='last epoch', protocol=PROTOCOL,
        metrics={METRIC: value, 'AP': None if value is None else value / 2},
        backbone={'name': name, 'sha256': f'{name} weights', 'run': None})
    dataclasses.replace(record, **fields).write(folder / f'{len(list(folder.glob("*")))}')


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(UserError) as error:
        compare(*args, **kwargs)
    lines = str(error.value).splitlines()
    assert len(lines) <= 3
    assert lines[-1].startswith('  fix: ')
    return str(error.value)


def test_unfinished_runs_of_another_protocol_are_set_aside(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'mixup', 5, status='failed', protocol={'other': 1})
    put(tmp_path, 'standard', 6, status='failed',
        backbone={'name': 'standard', 'sha256': 'other weights', 'run': None})
    result = compare([tmp_path])
    assert (result.set_aside, result.seeds, len(result.rows)) == (2, (0,), 1)
    put(tmp_path, 'standard', 7, status='failed')
    assert compare([tmp_path]).seeds == (0, 7)


def test_copies_and_repeats_are_merged_and_counted(tmp_path: Path) -> None:
    put(tmp_path / 'a', 'standard', 0, 70.0)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    result = compare([tmp_path])
    assert (result.copies, result.repeats, result.rows[0].n) == (1, 0, 1)
    put(tmp_path, 'standard', 0, 70.0)
    result = compare([tmp_path])
    assert (result.copies, result.repeats, result.rows[0].n) == (1, 1, 1)


def test_a_copy_made_while_the_run_went_on_gives_way(tmp_path: Path) -> None:
    put(tmp_path / 'z', 'standard', 0, 70.0, id='x')
    put(tmp_path / 'a', 'standard', 0, id='x', status='running', protocol={})
    row = compare([tmp_path]).rows[0]
    assert (row.mean, row.running) == (70.0, 0)
    put(tmp_path / 'e', 'standard', 0, 71.0, id='x')
    assert 'disagree' in refusal([tmp_path])


def test_mixed_protocols_are_refused_with_the_fields(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'standard', 1, 70.0)
    put(tmp_path, 'mixup', 0, 80.0, protocol={**PROTOCOL, 'train_cfg.max_epochs': 24})
    text = refusal([tmp_path])
    assert 'train_cfg.max_epochs: 24 / 12' in text
    assert 'lr' not in text
    assert f'2{os.sep}run.json' in text
    shutil.rmtree(tmp_path / '2')
    put(tmp_path, 'mixup', 0, 80.0, protocol=dict(reversed(PROTOCOL.items())))
    assert compare([tmp_path]).rows[0].mean == 80.0


def test_five_fields_are_named_and_the_others_counted(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0, protocol={f'field{i}': 'x' * 99 for i in range(9)})
    put(tmp_path, 'mixup', 0, 70.0, protocol={f'field{i}': '\x1b[31m\ny' for i in range(9)})
    text = refusal([tmp_path])
    assert 'field4' in text
    assert 'field5' not in text
    assert '... and 4 more' in text
    assert '\x1b' not in text
    assert len(text) < 1500


def test_another_selection_rule_is_refused(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'mixup', 0, 70.0, selection='best epoch')
    assert 'selection: ' in refusal([tmp_path])


def test_two_results_for_one_trial_are_refused(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'standard', 0, 70.1)
    assert "'standard', seed 0" in refusal([tmp_path])


def test_two_weights_under_one_name_are_refused(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'standard', 1, 70.1,
        backbone={'name': 'standard', 'sha256': 'else', 'run': None})
    text = refusal([tmp_path])
    assert "'standard'" in text
    assert 'else' in text


@pytest.mark.parametrize('fields', [
    {'backbone': None}, {'backbone': {'name': None, 'sha256': None, 'run': None}},
    {'protocol': {}}, {'seed': '0'}, {'metrics': {METRIC: 'good'}}, {'metrics': {METRIC: True}},
    {'metrics': {METRIC: 10**400}}, {'metrics': None}, {'notes': 'x'}, {'versions': None}])
def test_a_finished_record_that_says_too_little_is_refused(
        tmp_path: Path, fields: dict) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    compare([tmp_path])
    put(tmp_path, 'mixup', 0, 70.0, **fields)
    assert f'1{os.sep}{FILE_NAME}' in refusal([tmp_path])


def test_a_seed_may_be_unknown_but_only_once(tmp_path: Path) -> None:
    put(tmp_path, 'standard', None, 70.0)
    put(tmp_path, 'standard', 3, 71.0)
    assert compare([tmp_path]).seeds == (3, None)
    put(tmp_path, 'standard', None, 72.0)
    assert 'seed None' in refusal([tmp_path])


def test_nothing_to_compare(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal([tmp_path])
    put(tmp_path, 'standard', 0, status='failed')
    put(tmp_path, 'standard', 1, status='running')
    assert 'found 1 failed, 1 running' in refusal([tmp_path])
