"""What a grid expects of a run is what the run records."""

from __future__ import annotations

import json

import pytest

from detection.train import planned
from refaug_det.comparison import bench_commands, grid
from refaug_det.errors import UserError
from refaug_det.runs import files, launch

pytestmark = pytest.mark.slow


def parsed(words):
    parser = launch.arguments('')
    parser.add_argument('--backbone')
    return parser.parse_args(words)


def test_a_finished_run_is_recognised(tool, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(bench_commands.ROOT)
    words = arguments('--seed', '3', work_dir='tiny-seed3', epochs=1)
    assert tool('train_det')(words) == 0
    # as the grid asks: without seed and run directory
    plan = planned(parsed(arguments(work_dir='elsewhere', epochs=1)))
    trial, = grid.trials({'tiny': plan}, [3], tmp_path)
    assert grid.state_of(trial).status == 'done'
    stored = json.loads((tmp_path / 'tiny-seed3' / 'config.json').read_text())
    assert files.digest(stored) != files.digest(dict(trial.config))  # paths and such differ
    longer = planned(parsed(arguments(work_dir='elsewhere', epochs=2)))
    other, = grid.trials({'tiny': longer}, [3], tmp_path)
    assert grid.state_of(other).differs == ('train_cfg.max_epochs: 1 / 2',)


def test_the_entry_point_is_found_and_checks_before_anything_runs(arguments, monkeypatch):
    monkeypatch.chdir(bench_commands.ROOT)
    words = arguments()
    options = words[words.index('--cfg-options'):]
    options = [*words[3:5], '--classes', 'auto', *options]
    found = bench_commands.plans(words[0], ['tiny', 'random:tiny'], options)
    assert found['tiny'] == planned(parsed(words))._replace(config=found['tiny'].config)
    assert len(found['tiny'].sha256) == 64
    assert found['random:tiny'].sha256 is None
    with pytest.raises(UserError, match="no backbone 'tinny'"):
        bench_commands.plans(words[0], ['tiny', 'tinny'], options)
