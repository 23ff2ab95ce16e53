"""`refaug-det analyze transfer`: whose accuracy, what is told, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import stats

from refaug_det import cli
from refaug_det.backbones import zoo as zoo_of
from refaug_det.comparison import accuracies, transfer_command, transfer_tables
from refaug_det.comparison.compare import METRIC, compare
from refaug_det.errors import UserError
from refaug_det.reports.sections import Material
from refaug_det.runs import files
from refaug_det.runs.records import RunRecord

HOSTILE = 'a|b <i>$x^{$ \x1b[31m'
TOP_1 = 'top-1'


def detect(folder, name, values, run=None, sha256=None):
    """Runs of stage 2 with seeds 0, 1, ..."""
    for seed, value in enumerate(values):
        RunRecord(name, 'detection', 'done', seed=seed, selection='last epoch',
                  metrics={METRIC: value}, protocol=dict(epochs=12),
                  backbone=dict(name=name, sha256=sha256 or f'{name} weights', run=run)).write(
                      folder / f'det-{len(list(folder.glob("det-*")))}')


def classify(folder, name, top_1, before=None, seed=0, lr=0.1, status='done', registered=''):
    """A run of stage 1; with a value before the switch it has a refinement."""
    names = [registered or name] if before is None else [f'{name}-augmented', f'{name}-refined']
    record = RunRecord(name, 'classification', status, seed=seed, registered=names,
                       metrics={TOP_1: top_1, 'cross entropy': 1.0})
    run = folder / f'cls-{name}-{seed}'
    record.write(run)
    files.write_json(run / 'config.json', dict(randomness=dict(seed=seed), lr=lr, what=name))
    rows = [dict(epoch=1, phase='augmented', loss=1.0, **{TOP_1: 11.0}),
            dict(epoch=2, phase='augmented', loss=1.0, **{TOP_1: before})]
    rows = rows if before is not None else [dict(rows[0], phase=None)]
    files.write_json(run / 'history.json', [*rows, dict(
        epoch=3, phase='refinement' if before is not None else None, loss=1.0, **{TOP_1: top_1})])
    return record.id


@pytest.fixture
def runs(tmp_path):
    """Four backbones of three stage 1 runs, and the floor of a table."""
    folder = tmp_path / 'runs'
    standard = classify(folder, 'standard', 76.0)
    mixup = classify(folder, 'mixup', 77.7, before=77.4)
    cutmix = classify(folder, 'cutmix', 78.5)
    detect(folder, 'standard', [72.0, 72.4, 71.8], standard)
    detect(folder, 'mixup-augmented', [67.4, 68.0, 66.9], mixup)
    detect(folder, 'mixup-refined', [73.3, 72.9, 73.9], mixup)
    detect(folder, 'cutmix', [74.0, 73.0, 74.4], cutmix)
    detect(folder, 'random', [20.0])
    return folder


@pytest.fixture
def analyze(tmp_path, capsys):
    def run(*words):
        capsys.readouterr()
        code = cli.main(['analyze', 'transfer', str(tmp_path / 'runs'),
                         '-o', str(tmp_path / 'out'), *map(str, words)])
        return (code, *capsys.readouterr())
    return run


def read(tmp_path):
    return json.loads((tmp_path / 'out' / 'transfer.json').read_text())


def measured(folder):
    return transfer_command.measure(compare([folder]), transfer_command.stage_1_runs([folder]))


def test_accuracies_are_those_of_the_weights_that_were_fine_tuned(runs):
    found = measured(runs)
    assert {one['backbone']: one['accuracy'] for one in found['points']} == {
        'standard': 76.0, 'mixup-augmented': 77.4, 'mixup-refined': 77.7, 'cutmix': 78.5}
    assert {one['source'] for one in found['points']} == {'stage 1 run'}
    assert found['without'] == [dict(backbone='random', why='no stage 1 run is known')]
    x, y = ([one[key] for one in found['points']] for key in ('accuracy', 'mean'))
    kendall, spearman = found['correlations']
    assert kendall['value'] == pytest.approx(stats.kendalltau(x, y).statistic)
    assert spearman['value'] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert (kendall['method'], kendall['exact']) == ('simulation', True)
    assert kendall['over_backbones'][0] < kendall['value'] < kendall['over_backbones'][1]
    assert [one['backbone'] for one in found['ranking']['backbones']] == [
        'cutmix', 'mixup-refined', 'standard', 'mixup-augmented', 'random']
    assert found['ranking']['probabilities'][0][:2] == pytest.approx([7 / 9, 2 / 9])
    assert found['ranking']['probabilities'][4] == [0, 0, 0, 0, 1]


def test_what_is_told(runs, analyze, tmp_path):
    code, out, err = analyze()
    assert (code, err) == (0, '')
    assert f'It is not shown that top-1 says which backbone has the higher {METRIC}' in out
    assert 'With 3 recipes p is never below 0.333' in out
    assert 'with a point a recipe, 3 of them, Kendall tau-b is' in out
    assert 'Of one run only, as if others would not differ: random.' in out
    assert '78 % have cutmix first, as the means do.' in out
    before = {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    code, out, err = analyze('--json')
    assert json.loads(out) == read(tmp_path)
    assert 'wrote' in err
    assert {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before
    assert sorted(before) == [f'transfer.{kind}' for kind in ('json', 'md', 'png', 'svg')]


def test_many_backbones_are_resampled_and_told_as_shown(analyze, tmp_path):
    folder = tmp_path / 'runs'
    rng = np.random.default_rng(0)
    for number in range(9):
        run = classify(folder, f'b{number}', 70.0 + number)
        value = 60.0 + (number if number != 4 else 5.5)
        detect(folder, f'b{number}', value + 0.1 * rng.normal(size=2), run)
    _, out, _ = analyze()
    kendall = read(tmp_path)['correlations'][0]
    assert kendall['method'] == 'bootstrap'
    assert kendall['value'] < 1
    assert kendall['over_runs'][0] > 0.8
    assert f'A backbone with a higher top-1 tends to have a higher {METRIC}: over 9' in out
    _, out, _ = analyze('--classification-metric', 'cross entropy')  # the same for all
    assert read(tmp_path)['correlations'] == [None, None]
    assert 'No rank correlation is defined: all 9 backbones have the same cross entropy.' in out


def test_the_file_goes_before_the_runs(runs, analyze, tmp_path):
    given = tmp_path / 'published.csv'
    given.write_text('backbone,top-1\n"standard", 50\nrandom,0.1\nnobody,1\n')
    out = analyze('--accuracy', given)[1]
    points = {one['backbone']: one for one in read(tmp_path)['points']}
    assert (points['standard']['accuracy'], points['standard']['source']) == (50, 'the file')
    assert points['cutmix']['source'] == 'stage 1 run'
    assert 'of no backbone here: nobody.' in out
    assert 'are they of one test set?' in out
    given.write_text('\n'.join(f'{name},{number}' for number, name in enumerate(points)))
    assert 'test set?' not in analyze('--accuracy', given)[1]


def test_two_backbones_are_refused(runs, analyze, tmp_path):
    for place in [*runs.glob('cls-cutmix*'), *runs.glob('cls-standard*')]:
        (place / 'run.json').unlink()
    code, _, err = analyze()
    assert (code, len(err.strip().splitlines())) == (2, 3)
    assert 'top-1 is known of 2 backbones' in err
    assert 'a rank correlation of two says nothing' in err
    assert 'cutmix: its stage 1 run is not among the paths' in err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('words', [
    ('--resamples', '99'), ('--metric', 'mAP'), ('--classification-metric', 'top-7'),
    ('--accuracy', 'gone.csv')])
def test_bad_options(runs, analyze, tmp_path, words):
    code, _, err = analyze(*words)
    assert (code, len(err.strip().splitlines())) == (2, 3)
    assert words[1] in err
    assert not (tmp_path / 'out').exists()


def test_names_are_text(runs, analyze, tmp_path):
    detect(runs, HOSTILE, [70.0, 71.0], classify(runs, 'hostile', 75.0, registered=HOSTILE))
    code, out, _ = analyze()
    assert code == 0
    assert '\x1b' not in out
    table = (tmp_path / 'out' / 'transfer.md').read_text()
    assert '\x1b' not in table
    assert r'a\|b &lt;i&gt;\$x^{\$' in table
    assert '<i>' not in (tmp_path / 'out' / 'transfer.svg').read_text()


def found_in(folder, metric=TOP_1):
    return accuracies.of_backbones(
        compare([folder]).trials, transfer_command.stage_1_runs([folder]), metric, {})


def test_the_spread_is_over_seeds_of_one_config(runs):
    for seed, values in enumerate([(78.1, 77.8), (77.3, 77.0)], start=1):
        classify(runs, 'mixup', values[0], before=values[1], seed=seed)
    classify(runs, 'mixup', 60.0, before=60.0, seed=3, lr=0.2)  # another config
    classify(runs, 'mixup', 61.0, before=61.0, seed=4, status='failed')
    known, _ = found_in(runs)
    refined, augmented = known['mixup-refined'], known['mixup-augmented']
    assert (refined.value, refined.runs) == (77.7, 3)
    assert refined.sd == pytest.approx(np.std([77.7, 78.1, 77.3], ddof=1))
    assert augmented.sd == pytest.approx(np.std([77.4, 77.8, 77.0], ddof=1))
    assert (known['standard'].sd, known['standard'].runs) == (None, 1)
    (runs / 'cls-standard-0' / 'config.json').write_text('{')
    with pytest.raises(UserError, match='not JSON'):
        found_in(runs)


def test_the_zoo_counts_where_its_weights_are_those_fine_tuned(tmp_path, zoo):
    folder = tmp_path / 'runs'
    spec = zoo_of.BackboneSpec('resnet18', 64, (1,) * 4, (4, 8, 16, 32), (0.0,) * 3, (1.0,) * 3)
    for number, name in enumerate(['kept', 'changed']):
        card = zoo_of.register(name, {'a': torch.full((2,), number)}, spec, provenance={},
                               metrics={TOP_1: 70.0 + number})
        detect(folder, name, [50.0], 'a run elsewhere', card.sha256)
    detect(folder, 'torchvision://resnet50', [51.0])
    zoo_of.register('changed', {'a': torch.full((2,), 9)}, spec, provenance={},
                    metrics={TOP_1: 99.0}, overwrite=True)
    known, lacking = found_in(folder)
    assert [(name, one.value, one.source) for name, one in known.items()] == [('kept', 70, 'zoo')]
    assert lacking == {'changed': 'its stage 1 run is not among the paths',
                       'torchvision://resnet50': 'no stage 1 run is known'}
    assert found_in(folder, 'top-5')[0] == {}
    comparison = compare([folder])
    assert len(transfer_command.measure(comparison, {})['points']) == 1
    assert not transfer_command.measure(comparison, {}, in_zoo=False)['points']


def test_weights_of_another_epoch_of_a_run_are_not_its_last(runs):
    run = json.loads((runs / 'cls-standard-0' / 'run.json').read_text())['id']
    detect(runs, 'added by hand', [60.0], run)
    lacking = found_in(runs)[1]
    assert lacking['added by hand'] == 'its stage 1 run has no top-1 of these weights'


def test_the_section_of_a_report(runs, tmp_path):
    section = transfer_command.section(
        Material(compare([runs]), transfer_command.stage_1_runs([runs])))
    assert section.title == 'Does accuracy predict AP?'
    assert section.words[0].startswith('It is not shown that top-1 says')
    assert [len(table.rows) for table in section.tables] == [3, 4, 5]
    assert not {*section.words} & {note for table in section.tables for note in table.notes}
    assert section.pictures[0].data.startswith(b'<?xml')
    assert 'cutmix 78.5 and 73.80' in section.pictures[0].alt
    assert transfer_command.section(Material(compare([runs]), {})) is None


def test_single_runs_leave_the_ranks_open(tmp_path):
    folder = tmp_path / 'runs'
    for number, name in enumerate('abc'):
        detect(folder, name, [70.0 + number], classify(folder, name, 70.0 - number))
    found = measured(folder)
    kendall = found['correlations'][0]
    assert (kendall['value'], kendall['over_runs']) == (-1, None)
    assert found['ranking']['agreement'] is None
    assert 'not known: no backbone has two' in transfer_tables.words(found)[-1]
    points, correlations, _ = transfer_tables.tables(found)
    assert correlations.rows[0][4] == points.rows[0][5] == '—'
