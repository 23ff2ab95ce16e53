"""`refaug-det analyze errors`: numbers over seeds, tables, figure, words, and refusals."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest

from detection import detections, error_tables, error_types
from detection.evaluate import metrics_of
from refaug_det import cli
from refaug_det.runs.records import RunRecord

HOSTILE = 'a|b <i>$x^{$ \x1b[31m'


def write_run(folder, devkit, backbone, seed, draw, **terms):
    names = ('gt_boxes', 'gt_labels', 'gt_difficult', 'boxes', 'scores', 'labels')
    images = devkit.random_images(np.random.default_rng(draw), count=20)
    kept = detections.of_images('abc', [
        dict(zip(names, one, strict=True), image_ids=f'{n}', image_sizes=(80, 80))
        for n, one in enumerate(images)])
    detections.save(kept, folder / detections.FILE_NAME)
    RunRecord(backbone, 'detection', 'done', seed=seed, selection='last epoch',
              metrics=metrics_of(kept), protocol=dict(epochs=4, **terms),
              backbone=dict(name=backbone, sha256=backbone, run=None)).write(folder)
    return kept


@pytest.fixture
def runs(tmp_path, devkit):
    """Two seeds of one backbone, one of another."""
    return {(name, seed): write_run(tmp_path / 'runs' / f'{number}', devkit, name, seed, number)
            for number, (name, seed) in enumerate(
                [('standard', 0), ('standard', 1), (HOSTILE, 0)])}


@pytest.fixture
def analyze(tmp_path, capsys):
    def run(*words):
        capsys.readouterr()
        code = cli.main(['analyze', 'errors', str(tmp_path / 'runs'), '-o', str(tmp_path / 'out'),
                         *words])
        return (code, *capsys.readouterr())
    return run


def read(tmp_path):
    return json.loads((tmp_path / 'out' / 'errors.json').read_text())


def test_means_over_seeds_are_those_of_the_detections(runs, analyze, tmp_path):
    code, out, err = analyze()
    assert (code, err) == (0, '')
    found = read(tmp_path)
    assert (found['schema'], found['mode'], found['baseline']) == (1, '11-point', 'standard')
    arms = {arm['backbone']: arm for arm in found['arms']}
    assert {name: arm['seeds'] for name, arm in arms.items()} == {'standard': [0, 1], HOSTILE: [0]}
    for name, arm in arms.items():
        for threshold in (0.5, 0.75):
            expected = [error_types.decompose(error_types.overlaps(runs[name, seed]), threshold)
                        for seed in arm['seeds']]
            at = arm['at'][f'{threshold}']
            for kind in error_types.TYPES:
                gains = [one['gain'][kind] for one in expected]
                assert at['gain'][kind]['values'] == gains
                assert at['gain'][kind]['mean'] == pytest.approx(np.mean(gains))
                assert at['gain'][kind]['sd'] == (
                    statistics.stdev(gains) if len(gains) > 1 else None)
                assert at['count'][kind]['values'] == [one['count'][kind] for one in expected]
            assert at['ap']['values'] == [one['ap'] for one in expected]
    assert arms['standard']['at']['0.5']['gain'] != arms['standard']['at']['0.75']['gain']
    for suffix in ('svg', 'png', 'md'):
        assert (tmp_path / 'out' / f'errors.{suffix}').stat().st_size > 1000
    assert 'Poor localisation costs, in points of AP50: standard ' in out


def test_words_give_the_difference_to_the_baseline():
    def gain(mean, sd, values):
        one = dict(mean=mean, sd=sd, values=values)
        return dict(localisation=one, classification=dict(mean=None, sd=None, values=[None]))

    found = dict(baseline='b', arms=[
        dict(backbone='a', at={'0.5': dict(gain=gain(4.0, 0.3, [3.7, 4.3]))}),
        dict(backbone='b', at={'0.5': dict(gain=gain(5.0, 0.4, [4.6, 5.4]))}),
        dict(backbone='c', at={'0.5': dict(gain=gain(7.5, None, [7.5]))})])
    assert error_tables.words(found, '0.5') == [
        'Poor localisation costs, in points of AP50: b 5.00; a 4.00 (-1.00 ± 0.35); '
        'c 7.50 (+2.50).']


def test_options(runs, analyze, tmp_path):
    code, out, _ = analyze('--iou', '0.6', '--mode', 'area', '--baseline', HOSTILE, '--json')
    assert code == 0
    found = read(tmp_path)
    assert json.loads(out) == found
    assert (found['mode'], found['baseline']) == ('area', HOSTILE)
    assert list(found['arms'][0]['at']) == ['0.6']
    before = {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    analyze('--iou', '0.6', '--mode', 'area', '--baseline', HOSTILE)
    assert {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before
    analyze('--iou', '0.5', '0.75')
    assert list(read(tmp_path)['arms'][0]['at']) == ['0.5', '0.75']
    assert (tmp_path / 'out' / 'errors.svg').read_bytes() != before['errors.svg']


def test_names_are_text(runs, analyze, tmp_path):
    _, out, _ = analyze()
    assert '\x1b' not in out
    table = (tmp_path / 'out' / 'errors.md').read_text()
    assert '\x1b' not in table
    assert r'a\|b &lt;i&gt;\$x^{\$' in table
    assert len({line.count(' | ') for line in table.splitlines() if line.startswith('| ')}) == 1
    assert '<i>' not in (tmp_path / 'out' / 'errors.svg').read_text()


def test_runs_of_two_protocols_are_refused(runs, analyze, devkit, tmp_path):
    write_run(tmp_path / 'runs' / 'odd', devkit, 'third', 0, 3, frozen=2)
    code, _, err = analyze()
    assert (code, len(err.strip().splitlines())) == (2, 3)
    assert 'frozen' in err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('spoil', 'said'), [
    (lambda at: (at / '0' / 'detections.npz').unlink(), 'no detections here'),
    (lambda at: (at / '0' / 'detections.npz').replace(at / '1' / 'detections.npz'), 'no detec'),
    (lambda at: (at / '0' / 'detections.npz').write_bytes(
        (at / '1' / 'detections.npz').read_bytes()), 'the record says'),
    (lambda at: (at.parent / 'out').write_text('a file'), 'cannot write')])
def test_files_that_do_not_belong_together(runs, analyze, tmp_path, spoil, said):
    spoil(tmp_path / 'runs')
    code, _, err = analyze()
    assert (code, len(err.strip().splitlines())) == (2, 3)
    assert said in err


@pytest.mark.parametrize('words', [
    ('--iou', '0.1'), ('--iou', 'nan'), ('--mode', 'voc'), ('--baseline', 'nobody')])
def test_bad_options(runs, analyze, tmp_path, words):
    code, _, err = analyze(*words)
    assert (code, len(err.strip().splitlines())) == (2, 3)
    assert words[1] in err
    assert not (tmp_path / 'out').exists()


def test_a_copy_without_detections_does_no_harm(runs, analyze, tmp_path):
    copy = tmp_path / 'runs' / '-before' / 'run.json'
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / 'runs' / '0' / 'run.json').read_bytes())
    assert analyze()[0] == 0
    (tmp_path / 'runs' / '0' / 'detections.npz').unlink()
    assert analyze()[0] == 2
