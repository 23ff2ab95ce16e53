"""Rows from run records: what is averaged, counted, refused."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import refaug_det
from refaug_det.comparison.compare import METRIC, Comparison, Row, compare
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord

PROTOCOL = {'train_cfg.max_epochs': 12, 'optim_wrapper.optimizer.lr': 0.01, 'total_batch': 16}


def put(folder: Path, name: str, trial: int | None, value: float | None = None, /,
        **fields: object) -> None:
    """Write one detection record into a fresh directory below `folder`."""
    record = RunRecord(
        name, 'detection', 'done', seed=trial, selection='last epoch', protocol=PROTOCOL,
        metrics={METRIC: value, 'AP': None if value is None else value / 2},
        backbone={'name': name, 'sha256': f'{name} weights', 'run': None})
    dataclasses.replace(record, **fields).write(folder / f'{len(list(folder.glob("*")))}')


def row_of(comparison: Comparison, name: str) -> Row:
    return next(row for row in comparison.rows if row.backbone == name)


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(UserError) as error:
        compare(*args, **kwargs)
    lines = str(error.value).splitlines()
    assert len(lines) <= 3
    assert lines[-1].startswith('  fix: ')
    return str(error.value)


def test_rows(tmp_path: Path) -> None:
    for seed, value in enumerate([72.0, 72.6, 71.7]):
        put(tmp_path, 'standard', seed, value)
    for seed, value in enumerate([73.0, 73.5]):
        put(tmp_path, 'mixup', seed, value)
    put(tmp_path, 'cutmix', 0, 60.0)
    result = compare([tmp_path])
    assert [row.backbone for row in result.rows] == ['mixup', 'standard', 'cutmix']
    assert (result.metric, result.selection, result.baseline, result.seeds) == (
        METRIC, 'last epoch', 'standard', (0, 1, 2))
    mixup, standard, cutmix = result.rows
    assert mixup.values == {0: 73.0, 1: 73.5}
    assert (mixup.n, mixup.missing, standard.missing) == (2, (2,), ())
    assert mixup.mean == pytest.approx(73.25)
    assert mixup.sd == pytest.approx(np.std([73.0, 73.5], ddof=1))
    assert mixup.difference == pytest.approx(73.25 - 72.1)
    assert mixup.standard_error == pytest.approx(math.sqrt(
        np.var([73.0, 73.5], ddof=1) / 2 + np.var([72.0, 72.6, 71.7], ddof=1) / 3))
    assert (standard.difference, standard.standard_error) == (None, None)
    assert cutmix.difference == pytest.approx(-12.1)
    assert (cutmix.sd, cutmix.standard_error) == (None, None)
    assert mixup.sha256 == 'mixup weights'
    assert compare([tmp_path], metric='AP').rows[0].mean == pytest.approx(73.25 / 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.metric = 'AP'


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.floats(0, 100), min_size=1, max_size=6),
       st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_mean_sd_and_error_are_numpys(a: list[float], b: list[float]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for backbone, values in (('a', a), ('standard', b)):
            for seed, value in enumerate(values):
                put(Path(name), backbone, seed, value)
        result = compare([name])
    row, other = row_of(result, 'a'), row_of(result, 'standard')
    assert row.mean == pytest.approx(np.mean(a))
    assert row.difference == pytest.approx(np.mean(a) - np.mean(b), abs=1e-9)
    assert (row.sd is None) == (len(a) == 1)
    if row.sd is not None:
        assert row.sd == pytest.approx(np.std(a, ddof=1), abs=1e-9)
    assert (row.standard_error is None) == (min(len(a), len(b)) == 1)
    if row.standard_error is not None:
        assert row.standard_error == pytest.approx(math.sqrt(
            np.var(a, ddof=1) / len(a) + np.var(b, ddof=1) / len(b)), abs=1e-9)
    assert other.missing == tuple(range(len(b), len(a)))


def test_unfinished_runs_are_counted_and_never_averaged(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'mixup', 0, 71.0)
    for status in ('failed', 'failed', 'interrupted', 'running'):
        put(tmp_path, 'mixup', 1, 99.0, status=status)
    put(tmp_path, 'early', 0, status='failed', backbone=None, protocol={})
    row = row_of(compare([tmp_path]), 'mixup')
    assert (row.mean, row.n, row.missing) == (71.0, 1, (1,))
    assert (row.failed, row.interrupted, row.running) == (2, 1, 1)
    early = compare([tmp_path]).rows[-1]
    assert (early.backbone, early.mean, early.failed) == ('early', None, 1)
    assert (early.difference, early.sd) == (None, None)
    put(tmp_path, 'mixup', 1, 73.0)
    assert row_of(compare([tmp_path]), 'mixup').mean == 72.0  # done, it does count


def test_stage_1_records_are_counted_and_left_out(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'standard', 1, 90.0, stage='classification', protocol={})
    result = compare([tmp_path])
    assert result.classification_runs == 1
    assert (result.rows[0].mean, result.seeds) == (70.0, (0,))
    shutil.rmtree(tmp_path / '0')
    assert '1 of classification' in refusal([tmp_path])


def test_the_order_of_paths_and_files_does_not_matter(tmp_path: Path) -> None:
    for folder, (name, seed) in enumerate(itertools.product(('a', 'b', 'standard'), (0, 1))):
        put(tmp_path / str(folder), name, seed, 70.0 + folder)
    paths = sorted(tmp_path.iterdir())
    results = [compare(order) for order in (paths, paths[::-1], [tmp_path], paths[2:] + paths)]
    assert all(result == results[0] for result in results)
    assert compare(paths[:-1]) != results[0]


def test_the_metric(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'mixup', 0, metrics={'AP': 30.0, METRIC: None})
    put(tmp_path, 'mixup', 1, 71.0)
    text = refusal([tmp_path], metric='mAP')
    assert "'mAP'" in text
    assert 'AP, AP50 (11-point)' in text
    row = row_of(compare([tmp_path]), 'mixup')
    assert (row.n, row.mean, row.unmeasured, row.missing) == (1, 71.0, 1, (0,))
    assert row_of(compare([tmp_path], metric='AP'), 'mixup').n == 2
    shutil.rmtree(tmp_path)
    put(tmp_path, 'standard', 0, metrics={'AP': 30.0, METRIC: 50.0})  # as on COCO
    assert compare([tmp_path]).metric == 'AP'
    put(tmp_path, 'mixup', 0, metrics={METRIC: None})
    assert compare([tmp_path]).metric == METRIC
    shutil.rmtree(tmp_path)
    put(tmp_path, 'standard', 0, metrics={})
    assert METRIC in refusal([tmp_path])


def test_the_baseline(tmp_path: Path) -> None:
    for name in ('mixup', 'r50-Standard', 'cutmix'):
        put(tmp_path, name, 0, 70.0)
    assert compare([tmp_path]).baseline == 'r50-Standard'
    assert compare([tmp_path], baseline='mixup').baseline == 'mixup'
    assert "did you mean 'mixup'?" in refusal([tmp_path], baseline='mixpu')
    put(tmp_path, 'standard too', 0, 70.0)
    assert compare([tmp_path]).baseline == 'cutmix'  # two are called standard


def test_notes_and_what_the_runs_ran_on(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0, notes=['dropped 3 boxes'], operators='compiled',
        versions={'torch': '2.10'}, device={'name': 'cpu'})
    put(tmp_path, 'standard', 1, 70.0, notes=['dropped 3 boxes'], operators='stand-ins',
        versions={'torch': '2.10'}, device={'name': 'cpu'})
    assert compare([tmp_path]).notes == {
        'dropped 3 boxes': 2, 'operators: compiled': 1, 'operators: stand-ins': 1}


def test_the_frame_has_the_rows(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 70.0)
    put(tmp_path, 'standard', 1, 71.0)
    put(tmp_path, 'mixup', 1, 73.0)
    frame = compare([tmp_path]).to_frame()
    assert list(frame['backbone']) == ['mixup', 'standard']
    assert frame['mean'].tolist() == [73.0, 70.5]
    assert frame['seed 0'].isna().tolist() == [True, False]


@pytest.mark.parametrize(('statement', 'loaded'), [
    ('import refaug_det.comparison.tables, refaug_det.comparison.protocol', False),
    ('import torch', True)])
def test_importing_the_room_is_quiet_and_loads_no_framework(
        statement: str, loaded: bool) -> None:
    heavy = ('torch', 'mmengine', 'mmdet', 'mmcv', 'pandas', 'rich', 'numpy')
    code = f'import sys; {statement}; print([m for m in {heavy} if m in sys.modules])'
    root = str(Path(refaug_det.__file__).parents[1])
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True, env={**os.environ, 'PYTHONPATH': root})
    assert ('torch' in done.stdout) == loaded
    assert (done.stdout.strip() == '[]') != loaded
    assert done.stderr == '' or loaded


def test_by_class_and_by_size(tmp_path: Path) -> None:
    by_part = {f'{METRIC}/cat': 40.0, f'{METRIC}/dog': 60.0, 'AP/cat': 1.0, 'AP (large)': 30.0,
               'AP (small)': None}
    for name, more in (('standard', 0.0), ('mixup', 2.0)):
        for seed in (0, 1):
            put(tmp_path, name, seed, 50 + more, metrics={METRIC: 50 + more, **{
                key: value and value + more + seed for key, value in by_part.items()}})
    found = compare([tmp_path])
    table = found.breakdown('class')
    assert table.header == ('class', 'mixup', 'standard')
    assert table.rows == (('cat', '42.50 ± 0.71', '40.50 ± 0.71'),
                          ('dog', '62.50 ± 0.71', '60.50 ± 0.71'))
    assert found.breakdown('size').rows == (('large', '32.50 ± 0.71', '30.50 ± 0.71'),)
    assert found.breakdown('size').title.startswith('AP in percent, last epoch')
    with pytest.raises(UserError, match='by colour'):
        found.breakdown('colour')
    with pytest.raises(UserError, match=r'AP \(large\) by class'):
        compare([tmp_path], metric='AP (large)').breakdown('class')


def test_the_forest_plot_draws_what_the_table_says(tmp_path: Path) -> None:
    for name, values in (('standard', (72.0, 72.2, 72.1, 71.9, 72.3)),
                         ('mixup', (74.0, 74.2, 74.1, 73.9, 74.3)),
                         ('cutmix', (71.9, 72.2, 72.1, 71.8, 72.0)), ('$random', (10.0,))):
        for seed, value in enumerate(values):
            put(tmp_path, name, seed, value)
    found = compare([tmp_path], test=True)
    axes, = found.plot().axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        'mixup (n = 5)', 'standard (n = 5)', 'cutmix (n = 5)', r'\$random (n = 1)']
    means = [line for line in axes.lines if line.get_marker() == 'o']
    assert [line.get_xdata()[0] for line in means] == pytest.approx([2, 0, -0.1, -62.1])
    filled = [line.get_markerfacecolor() != 'white' for line in means]
    assert filled == [True, False, False, False]
    bars = [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2
            and line.get_marker() == 'None' and line.get_linewidth() > 2]
    assert bars == [[one.interval.low, one.interval.high] for one in found.verdicts]
    assert len([line for line in compare([tmp_path]).plot().axes[0].lines
                if line.get_linewidth() > 2]) == 0


def test_the_package_offers_compare(tmp_path: Path) -> None:
    put(tmp_path, 'standard', 0, 72.0)
    put(tmp_path, 'mixup', 0, 74.0)
    assert refaug_det.compare([tmp_path]).to_frame()['backbone'].tolist() == ['mixup', 'standard']
    with pytest.raises(AttributeError, match='contrast'):
        _ = refaug_det.contrast
