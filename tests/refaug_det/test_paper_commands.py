"""`refaug-det paper`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refaug_det import cli
from refaug_det.comparison import paper, paper_commands
from refaug_det.comparison.paper import Measured


def filled(why: str = 'it is running, not done') -> Measured:
    """Table 3, its first cell with two runs and its second with one."""
    exhibit = paper.exhibit('table3')
    values = ({0: 79.0, 1: 80.0}, {0: 80.0}, *[{}] * (len(exhibit.cells) - 2))
    runs = {cell.recipe: {} for cell in exhibit.cells}
    return Measured(exhibit, values, runs, ((Path('work_dirs') / 'run', why),))


def test_a_cell_has_published_measured_spread_and_difference():
    first, second, third, *_ = paper_commands.table(filled()).rows
    assert first == ('PreActResNet-18, T1 = 400, T2 = 50, augmented', '79.33', '79.50 ± 0.71', '2',
                     '+0.17')
    assert second[1:] == ('80.09', '80.00', '1', '-0.09')
    assert third[1:] == ('78.16', '', '', '')  # blank where nothing was run


@pytest.mark.parametrize('name', paper.exhibits())
def test_each_exhibit_prints_without_runs(capsys, name):
    assert cli.main(['paper', name]) == 0
    out = capsys.readouterr().out
    exhibit = paper.exhibit(name)
    lines = out.splitlines()
    assert lines[0].strip() == exhibit.title
    assert len(lines) > len(exhibit.cells) + 3
    for cell in exhibit.cells:
        line, = [line for line in lines if line.startswith(f'{cell.row}, {cell.column} ')]
        assert line.split()[-1] == (cell.published or cell.column.split()[-1])
    assert 'To fill what is missing:' in out
    assert all(command in lines for command in paper.commands(paper.measure(exhibit, [])))


def test_json_has_every_cell_and_is_strict(capsys):
    assert cli.main(['paper', 'table6', '--json']) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert [cell['published'] for cell in told['cells']] == [72.0, 67.4, 73.3, 70.5, 73.1]
    assert {(cell['n'], cell['mean'], cell['difference']) for cell in told['cells']} == {
        (0, None, None)}
    assert len(told['commands']) == 8  # three classifiers, five fine-tunings
    assert told['left_out'] == []


def test_markdown_is_written_whole_and_nothing_in_it_is_live(tmp_path, capsys):
    assert cli.main(['paper', 'table3', '-o', str(tmp_path)]) == 0
    text = (tmp_path / 'table3.md').read_text()
    assert text.count('\n| ') == 1 + 8
    assert '    for seed in 0 1 2; do python tools/train_cls.py' in text
    capsys.readouterr()
    hostile = paper_commands.to_markdown(filled('<b>x</b> | [a](b)'))
    assert '<b>' not in hostile
    assert '](b)' not in hostile.replace('\\](b', '')
    assert 'Left out: work\\_dirs/run' in hostile


@pytest.mark.parametrize(('words', 'told'), [
    (['tabel1'], "did you mean 'table1'?"),
    (['9'], 'one of: table1, '),
    (['table1', 'nowhere'], 'no run.json in or below this path'),
    ([], 'see refaug-det --help')])
def test_what_cannot_be_shown_is_refused_in_three_lines(capsys, words, told):
    assert cli.main(['paper', *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    assert told in captured.err
    assert len(captured.err.splitlines()) <= 3


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert cli.main(['paper', 'table3', '-o', str(tmp_path / 'file')]) == 2
    assert 'cannot write the table' in capsys.readouterr().err


@pytest.mark.parametrize('broken', ['history.json', 'config.json'])
def test_a_broken_file_of_a_run_is_named(tmp_path, capsys, broken):
    (tmp_path / 'run.json').write_text(json.dumps(dict(
        schema=1, name='a', stage='classification', status='done', seed=0,
        config='cifar10_preact18_mixup.py',
        data=dict(train=dict(images=50_000), val=dict(images=10_000)))))
    resolved = paper.recipes.resolved(paper.exhibit('table1').cells[2].recipe)
    (tmp_path / 'config.json').write_text(json.dumps(resolved))
    (tmp_path / 'history.json').write_text('[]')
    assert cli.main(['paper', 'table1', str(tmp_path)]) == 0  # whole, but empty
    assert 'top-1 in 0 of the 10 epochs it takes' in capsys.readouterr().out
    (tmp_path / broken).write_text('{')
    assert cli.main(['paper', 'table1', str(tmp_path)]) == 2
    assert broken in capsys.readouterr().err
