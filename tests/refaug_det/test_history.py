"""What a run says while it runs: `history.json`, and the line of progress."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import METRICS

from refaug_det.runs import history
from refaug_det.runs.progress import RefAugProgressHook, clock


def test_one_row_an_epoch(straight):
    rows = straight.history
    folder = straight.runner.work_dir
    assert rows == history.read(folder)
    assert [(row['epoch'], row['iteration']) for row in rows] == [(1, 4), (2, 8), (3, 12)]
    assert [row['lr'] for row in rows] == pytest.approx([0.0775, 0.1, 0.01])  # warm-up, then drop
    assert all(row['loss'] > 0 for row in rows)
    assert history.test_metrics(rows[-1]) == {'top-1': rows[-1]['top-1']}
    assert history.row(folder, 2) == rows[1]
    assert history.row(folder, 4) == {}
    assert history.read('nowhere') == []


def test_a_metric_that_is_no_number_is_written_as_null(train_tiny, monkeypatch):
    monkeypatch.setattr(METRICS.get('TinyMetric'), 'compute_metrics',
                        lambda self, results: {'top-1': math.nan})
    train_tiny('--work-dir', 'run', '--cfg-options', 'train_cfg.max_epochs=1')
    text = Path('run/history.json').read_text()
    row = json.loads(text, parse_constant=lambda name: pytest.fail(name))[0]
    assert row['top-1'] is None
    assert row['loss'] > 0


def test_what_lies_behind_the_checkpoint_is_dropped_on_resume(tmp_path):
    rows = [dict(epoch=n, loss=1.0) for n in (1, 2, 3)]
    (tmp_path / history.FILE_NAME).write_text(json.dumps(rows))
    hook = history.RefAugHistoryHook()
    hook.before_train(SimpleNamespace(work_dir=tmp_path, epoch=2))
    assert [row['epoch'] for row in hook.rows] == [1, 2]


@pytest.mark.parametrize(('seconds', 'shown'), [
    (0, '0:00:00'), (59.9, '0:00:59'), (61, '0:01:01'), (3600 * 26 + 61, '26:01:01'),
    (-5, '0:00:00')])
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_progress_is_a_line_now_and_then(train_tiny, capsys):
    train_tiny('--work-dir', 'a', '--cfg-options', 'default_hooks.progress.every_s=0')
    lines = [line for line in capsys.readouterr().out.splitlines() if 'ETA' in line]
    assert len(lines) == 11  # the first iteration starts the workers: it tells no speed
    assert all(part in lines[4] for part in ('epoch 2/3', 'loss ', 'it/s', 'ETA 0:00:0'))
    assert 'epoch 3/3 ETA 0:00:00' in lines[-1]
    train_tiny('--work-dir', 'b', '--cfg-options', 'default_hooks.progress.every_s=1000')
    out = capsys.readouterr().out
    assert 'ETA' not in out
    assert '  epoch 3/3: top-1 ' in out


def test_a_live_bar_gives_the_terminal_back_when_training_raises(train_tiny, monkeypatch):
    bars = []

    def as_on_a_terminal(self, runner):
        self.console._force_terminal = True
        real(self, runner)
        bars.append(self.bar)

    real = RefAugProgressHook.before_train
    monkeypatch.setattr(RefAugProgressHook, 'before_train', as_on_a_terminal)
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'run', stop=2)
    assert len(bars) == 1
    assert not bars[0].live.is_started
