"""`refaug-det analyze ... --json`: the entry that was written, and nothing else, on stdout."""

from __future__ import annotations

import json

import pytest

from refaug_det import cli
from refaug_det.runs import results


@pytest.fixture
def answer(capsys):
    """`answer(*words)` is the document of a command, and its words on stderr."""
    def run(*words: object):
        capsys.readouterr()
        assert cli.main(['analyze', *map(str, words), '--json']) == 0
        out, err = capsys.readouterr()
        return json.loads(out, parse_constant=lambda name: pytest.fail(name)), err
    return run


def stored(path, weights):
    return next(entry for entry in results.read(path) if entry['weights'] == weights)


def test_one_run(answer, mixup_run):
    told, words = answer('risk', mixup_run, '--weights', 'augmented', '--images', 8)
    assert told == stored(mixup_run / 'risk.json', 'augmented')
    assert 'clean train' in words
    assert 'wrote ' in words
    told, words = answer('curves', mixup_run)
    assert told == stored(mixup_run / 'curves.json', 'last')
    assert 'augmentation ended after epoch' in words


def test_several_runs(answer, mixup_run, standard_run, tmp_path):
    told, words = answer('spectrum', f'{mixup_run}:augmented', mixup_run, '-o', tmp_path)
    assert told == [stored(mixup_run / 'spectrum.json', name) for name in ('augmented', 'last')]
    assert words.count('effective rank') == 2
    told, _ = answer('surface', '--standard', standard_run, '--augmented',
                     f'{mixup_run}:augmented', '--refined', mixup_run, '--images', 16,
                     '--steps', 1, '-o', tmp_path)
    assert [told] == results.read(tmp_path / 'surface.json')


def test_bad_input_answers_nothing(tmp_path, capsys):
    for words in (('risk', tmp_path), ('curves', tmp_path), ('switch', tmp_path)):
        assert cli.main(['analyze', *map(str, words), '--json']) == 2
        out, err = capsys.readouterr()
        assert out == ''
        assert len(err.splitlines()) <= 3
