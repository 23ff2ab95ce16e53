"""The paper's cells: the list, the recipes it names, and which run stands for which cell."""

from __future__ import annotations

import ast
import functools
import json
import re
import sys
from pathlib import Path

import pytest

from refaug_det.comparison import paper, paper_commands, recipes
from refaug_det.comparison.paper import Measured
from refaug_det.errors import UserError
from refaug_det.runs import history, launch, records

ROOT = Path(__file__).parents[2]
EXHIBITS = paper.exhibits()
CELLS = [cell for exhibit in EXHIBITS.values() for cell in exhibit.cells]
CONFIGS = sorted({cell.config for cell in CELLS})
MIXUP = 'configs/cls/cifar10/cifar10_preact18_mixup.py'
STANDARD = 'configs/cls/cifar10/cifar10_wide28_standard.py'
RISKS = 'configs/cls/cifar100/cifar100_preact18_mixup.py'
REMOVED = 'configs/cls/cifar100/cifar100_preact18_mixup_removed.py'
DETECTOR = '''"""A detector.

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc07.py --backbone NAME \\
        --data-root data/VOCdevkit --seed 0
"""
model = dict(type='FasterRCNN', backbone=dict(norm_eval=True))
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=16)
'''


def put(run_dir: Path, config: str, values: dict[str | None, list], *options: str, seed: int = 0,
        status: str = 'done', **more: list) -> Path:
    """A run directory as `launch` begins it and a finished run leaves it."""
    words = ['--work-dir', str(run_dir), '--seed', str(seed), '--data-root', 'elsewhere']
    args = launch.arguments('').parse_args(
        [str(ROOT / config), *words, *(['--cfg-options', *options] if options else [])])
    cfg = launch.load(args)
    for part in (cfg.train_dataloader, cfg.val_dataloader):  # as classification.train does
        part.dataset.classes = [str(number) for number in range(cfg.model.num_classes)]
    record = launch.prepare(cfg, args, 'classification', run_dir.name)
    record.status = status
    record.data = {part: dict(images=count) for part, count in (cfg.get('_images') or {}).items()}
    record.write(run_dir)
    rows = [{'phase': phase, 'top-1': value, 'top-5': value + 1}
            for phase, of_phase in values.items() for value in of_phase]
    (run_dir / history.FILE_NAME).write_text(json.dumps(
        [dict(row, epoch=number) for number, row in enumerate(rows, 1)]))
    return run_dir


def phases(augmented: float, refined: float, epochs: int = 10) -> dict[str | None, list]:
    """Medians of the last ten epochs; the phases end lower and had a better epoch before."""
    return {phase: [99.0, *[median + 1] * 4, *[median] * 2, *[median - 1] * 4][-epochs - 1:]
            for phase, median in (('augmented', augmented), ('refinement', refined))}


@pytest.fixture(autouse=True)
def one_argument(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train_cls.py'])


def cells_of(measured: Measured, config: str) -> list[dict]:
    return [cell for cell in measured.to_dict()['cells']
            if cell['config'] == config and cell['n']]


def test_every_exhibit_of_numbers_is_listed_once():
    assert list(EXHIBITS) == [*(f'table{number}' for number in range(1, 7)), 'figure4']
    assert [len(one.cells) for one in EXHIBITS.values()] == [52, 19, 8, 34, 24, 5, 10]
    places = [(name, cell.row, cell.column) for name, one in EXHIBITS.items() for cell in one.cells]
    assert len(set(places)) == len(places)
    assert all(one.seeds and one.note and one.title for one in EXHIBITS.values())
    assert {cell.published is None for cell in EXHIBITS['figure4'].cells} == {True}
    assert all(float(cell.published) for name in list(EXHIBITS)[:-1]
               for cell in EXHIBITS[name].cells)


def test_every_cell_has_a_config_and_every_recipe_a_cell():
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / 'configs/cls').rglob('*.py')
            if path.parent.name != '_base_' and not path.stem.startswith(('toy_', 'small_'))}
    assert {config for config in CONFIGS if config.startswith('configs/cls')} == ours
    assert all((ROOT / cell.pretraining).is_file() for cell in CELLS if cell.pretraining)
    with pytest.raises(UserError, match='not here'):
        recipes.commands(recipes.Recipe('configs/cls/nothing.py'), [0])


@pytest.mark.parametrize('config', CONFIGS)
def test_a_config_tells_the_published_numbers_and_no_others(config):
    docstring = ast.get_docstring(ast.parse((ROOT / config).read_text()))

    def told(text):
        return set(re.findall(r'\b\d\d\.\d+\b', text))

    listed = [cell.published for cell in CELLS if cell.config == config and cell.rule != 'risk'
              and cell.published]
    assert told(docstring) == set(listed)
    for number in listed:  # each of them matters
        assert told(docstring.replace(number, '12.34')) != set(listed)


def test_a_cell_is_the_mean_over_runs_of_the_median_of_the_last_ten_epochs(tmp_path):
    for seed, (augmented, refined) in enumerate([(95.0, 96.0), (96.0, 96.5), (97.0, 97.0)]):
        put(tmp_path / f'run{seed}', MIXUP, phases(augmented, refined), seed=seed)
    measured = paper.measure(EXHIBITS['table1'], [tmp_path])
    assert measured.left_out == ()
    first, second = cells_of(measured, MIXUP)
    assert (first['mean'], first['sd'], first['n']) == (96.0, 1.0, 3)
    assert first['difference'] == pytest.approx(96.0 - 95.92)
    assert (second['mean'], second['values']) == (96.5, {'0': 96.0, '1': 96.5, '2': 97.0})
    assert sum(cell['n'] for cell in measured.to_dict()['cells']) == 6


@pytest.mark.parametrize(('options', 'key'), [
    (['model.batch_augments.0.alpha=0.4'], 'model.batch_augments.0.alpha'),
    (['train_cfg.max_epochs=60'], 'train_cfg.max_epochs'),
    (['auto_scale_lr.base_batch_size=64'], 'auto_scale_lr.base_batch_size'),
    (['custom_hooks.0.lr=0.1'], 'custom_hooks.0.lr')])
def test_a_changed_run_does_not_pass_for_the_recipe(tmp_path, options, key):
    run = put(tmp_path / 'run', MIXUP, phases(95.0, 96.0), *options)
    measured = paper.measure(EXHIBITS['table1'], [run])
    assert not cells_of(measured, MIXUP)
    (path, why), = measured.left_out
    assert (path, why.startswith(f'not the recipe: {key} is ')) == (run, True)


@pytest.mark.parametrize(('change', 'key'), [
    (lambda record, stored: stored['train_cfg'].update(micro_batch=8), 'images at once'),
    (lambda record, stored: stored['train_dataloader'].update(batch_size=16), 'images at once'),
    (lambda record, stored: record['data']['train'].update(images=49_999), 'train images'),
    (lambda record, stored: record.update(data={}), 'train images')])
def test_few_images_at_once_or_other_data_are_another_run(tmp_path, change, key):
    run = put(tmp_path / 'run', MIXUP, phases(95.0, 96.0))
    files = [run / 'run.json', run / 'config.json']
    contents = [json.loads(path.read_text()) for path in files]
    change(*contents)
    for path, content in zip(files, contents, strict=True):
        path.write_text(json.dumps(content))
    measured = paper.measure(EXHIBITS['table1'], [run])
    assert not cells_of(measured, MIXUP)
    assert f'not the recipe: {key} is ' in measured.left_out[0][1]


@pytest.mark.parametrize('pattern', recipes.FILLED)
def test_what_a_launch_fills_in_makes_no_other_recipe(tmp_path, monkeypatch, pattern):
    """Nor does a device with less room, or another number of workers."""
    run = put(tmp_path / 'run', MIXUP, phases(95.0, 96.0), seed=3)
    resolved = json.loads((run / 'config.json').read_text())
    resolved['train_dataloader'] |= dict(batch_size=64, num_workers=0)
    resolved['train_cfg']['micro_batch'] = 32
    (run / 'config.json').write_text(json.dumps(resolved))
    assert cells_of(paper.measure(EXHIBITS['table1'], [run]), MIXUP)
    monkeypatch.delitem(recipes.FILLED, pattern)  # each of them is needed
    assert not cells_of(paper.measure(EXHIBITS['table1'], [run]), MIXUP)


def test_unfinished_short_and_repeated_runs_are_left_out_and_said(tmp_path):
    put(tmp_path / 'a', MIXUP, phases(95.0, 96.0), status='running')
    put(tmp_path / 'b', MIXUP, phases(95.0, 96.0, epochs=8), seed=1)
    put(tmp_path / 'c', MIXUP, phases(95.0, 96.0), seed=2)
    put(tmp_path / 'd', MIXUP, phases(90.0, 90.0), seed=2)
    put(tmp_path / 'e', REMOVED, phases(95.0, 96.0), seed=2)  # of another exhibit: no word of it
    (put(tmp_path / 'f', MIXUP, phases(95.0, 96.0), seed=4) / 'config.json').unlink()
    measured = paper.measure(EXHIBITS['table1'], [tmp_path])
    assert [cell['values'] for cell in cells_of(measured, MIXUP)] == [{'2': 95.0}, {'2': 96.0}]
    why = {path.name: why for path, why in measured.left_out}
    assert why['a'] == 'it is running, not done'
    assert why['b'].endswith('refined: top-1 in 9 of the 10 epochs it takes')
    assert why['d'] == 'seed 2 is counted already, as c'
    assert why['f'].startswith('not the recipe: config.json')
    assert set(why) == set('abdf')


def test_a_run_without_refinement_fills_its_one_cell(tmp_path):
    run = put(tmp_path / 'run', STANDARD, {None: phases(96.0, 0.0)['augmented']})
    cell, = cells_of(paper.measure(EXHIBITS['table1'], [run]), STANDARD)
    assert (cell['column'], cell['mean']) == ('augmented', 96.0)


@pytest.mark.parametrize(('exhibit', 'config', 'expected'), [
    ('table4', 'configs/cls/tiny_imagenet/tiny_preact18_mixup_02.py',
     {'augmented, best': 99.0, 'augmented, last': 94.0, 'refined, best': 99.0,
      'refined, last': 95.0}),
    ('table5', 'configs/cls/r50_mixup_refine.py',
     {'augmented, top-1': 94.0, 'augmented, top-5': 95.0, 'refined, top-1': 95.0,
      'refined, top-5': 96.0}),
    ('table2', RISKS, {})])
def test_other_tables_have_rules_of_their_own(tmp_path, exhibit, config, expected):
    run = put(tmp_path / 'run', config, phases(95.0, 96.0))
    measured = paper.measure(EXHIBITS[exhibit], [run])
    assert {cell['column']: cell['mean'] for cell in cells_of(measured, config)} == expected
    assert not measured.left_out


def test_figure_4_tells_its_runs_apart_by_their_options(tmp_path):
    put(tmp_path / 'a', REMOVED, phases(70.0, 80.0), 'custom_hooks.0.epochs=100')
    put(tmp_path / 'b', REMOVED, phases(70.0, 78.0))
    put(tmp_path / 'c', REMOVED, phases(70.0, 78.0), 'custom_hooks.0.epochs=99')
    measured = paper.measure(EXHIBITS['figure4'], [tmp_path])
    assert {cell['row']: cell['mean'] for cell in cells_of(measured, REMOVED)} == {
        'Mixup removed at epoch 300': 20.0, 'Mixup removed at epoch 350': 22.0}
    assert [path.name for path, _ in measured.left_out] == ['c']
    put(tmp_path / 'd', REMOVED, phases(70.0, 77.0), seed=1)
    told = paper_commands.table(paper.measure(EXHIBITS['figure4'], [tmp_path])).rows
    assert '22.50 ± 0.71 [22.00, 23.00]' in [row[2] for row in told]


def test_detectors_are_matched_by_backbone_and_protocol(tmp_path, monkeypatch):
    config = tmp_path / EXHIBITS['table6'].cells[0].config
    config.parent.mkdir(parents=True)
    config.write_text(DETECTOR)
    monkeypatch.setattr(recipes, 'ROOT', tmp_path)
    monkeypatch.setattr(recipes, 'commands', lambda *_: [])
    terms = {'model.type': 'FasterRCNN', 'model.backbone.norm_eval': True, 'total_batch': 16,
             'optim_wrapper.optimizer.lr': 0.01, 'data.train.images': 5011}
    for name, change, backbone in (
            ('a', {}, 'r50_standard'), ('b', {'optim_wrapper.optimizer.lr': 0.02}, 'r50_standard'),
            ('c', {}, 'other'), ('d', {}, 'r50_mixup_refine-refined')):
        records.RunRecord(
            name=name, stage='detection', status='done', seed=0, config=config.name,
            metrics={'AP50 (11-point)': 71.0} if name != 'd' else {}, protocol=terms | change,
            backbone={'name': backbone}).write(tmp_path / 'runs' / name)
    measured = paper.measure(EXHIBITS['table6'], [tmp_path / 'runs'])
    assert [cell['mean'] for cell in measured.to_dict()['cells']] == [71.0, *[None] * 4]
    assert {path.name: why for path, why in measured.left_out} == {
        'b': 'not the recipe: optim_wrapper.optimizer.lr is 0.02, not 0.01',
        'd': 'Mixup, refined: no AP50 (11-point) in its record'}


@functools.cache
def blank(name: str) -> list[str]:
    return paper.commands(paper.measure(EXHIBITS[name], []))


@pytest.mark.parametrize('name', EXHIBITS)
def test_the_commands_would_fill_every_blank(name):
    lines, exhibit = blank(name), EXHIBITS[name]
    for cell in exhibit.cells:
        assert any(cell.config in line and (cell.backbone or '') in line for line in lines)
        changes = ' '.join(f'--cfg-options {key}={value}' for key, value in cell.options.items())
        assert any(cell.config in line and changes in line for line in lines)
    for line in lines:
        assert '\\' not in line
        assert 'NAME' not in line
        for word in re.findall(r'(?:tools|configs)/\S+', line):
            assert (ROOT / word).is_file()
    seeds = ' '.join(map(str, exhibit.seeds))
    assert any(f'for seed in {seeds}; do' in line or f'--seed {seeds}' in line for line in lines)


def test_a_command_is_not_told_for_what_was_run(tmp_path):
    run = put(tmp_path / 'run', MIXUP, phases(95.0, 96.0), seed=1)
    lines = paper.commands(paper.measure(EXHIBITS['table1'], [run]))
    before, = [line for line in blank('table1') if MIXUP in line]
    after, = [line for line in lines if MIXUP in line]
    assert before == (f'for seed in 0 1 2; do python tools/train_cls.py {MIXUP} --data-root data '
                      '--seed $seed; done')
    assert after == before.replace('0 1 2', '0 2')


def test_a_risk_is_analysed_where_the_run_is(tmp_path):
    run = put(tmp_path / 'run', RISKS, phases(70.0, 80.0))
    lines = paper.commands(paper.measure(EXHIBITS['table2'], [run]))
    assert f'refaug-det analyze risk {run} --weights augmented' in lines
    assert not any(RISKS in line for line in lines)
    assert 'refaug-det analyze risk work_dirs/cifar100_preact18_cutmix-seed0' in lines
