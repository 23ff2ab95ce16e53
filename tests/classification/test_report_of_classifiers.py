"""What stage 1 adds to a report: all of it from files, and a command where there is none."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from classification import report_sections
from classification.analysis.features import describe
from refaug_det.comparison.compare import METRIC, compare
from refaug_det.reports.page import gather
from refaug_det.reports.sections import Material
from refaug_det.runs import results
from refaug_det.runs.records import RunRecord
from refaug_det.spectrum import FeatureMoments

NAMES = {'standard': 'one', 'mix $x^{$': 'two'}  # stage 1 run -> its id


def estimate(value):
    return dict(value=value, low=value - 0.1, high=value + 0.1, n=50)


def risk(shift):
    risks = dict(clean_train=1.0, standard_train=1.1, augmented_train=1.5, test=1.25,
                 augmentation_gap=0.5, generalisation_gap=0.25)
    return {name: estimate(value + shift) for name, value in risks.items()}


def spectrum(seed):
    rng = np.random.default_rng(seed)
    moments = FeatureMoments(6, 3, watched=(0,))
    moments.update(rng.normal(size=(60, 6)) * np.arange(1, 7), rng.integers(0, 3, 60))
    return describe(moments, {0: 'first'})


@pytest.fixture
def runs(tmp_path):
    """Two stage 1 runs, the second of which refines, and the backbones that came from them."""
    for name, run in NAMES.items():
        folder = tmp_path / run
        RunRecord(name, 'classification', 'done', id=run, seed=0).write(folder)
        refines = run == 'two'
        (folder / 'history.json').write_text(json.dumps([
            dict(epoch=epoch, iteration=epoch, lr=0.1, loss=2 / epoch,
                 phase='refinement' if refines and epoch > 4 else 'augmented',
                 **{'cross entropy': 3 / epoch}) for epoch in range(1, 7)]))
        if refines:
            (folder / 'weights_augmented.safetensors').write_text('')
    for backbone, run in (('s', 'one'), ('m-augmented', 'two'), ('m-refined', 'two'), ('r', None)):
        RunRecord(backbone, 'detection', 'done', seed=0, protocol=dict(epochs=1),
                  metrics={METRIC: 50.0 + len(backbone)}, backbone=dict(
                      name=backbone, sha256=backbone, run=run)).write(tmp_path / 'det' / backbone)
    return tmp_path


def analyse(runs, run, weights, number):
    results.keep(runs / run / 'risk.json', run, weights, risk(number))
    results.keep(runs / run / 'spectrum.json', run, weights, spectrum(number))


def test_curves_mark_the_switch(runs):
    section = report_sections.curves(gather([runs]))
    captions = {picture.caption for picture in section.pictures}
    assert captions == {
        'standard: no switch.',
        'mix $x^{$: augmentation ends after epoch 4, where refinement begins.'}
    path = runs / 'two' / 'history.json'
    path.write_text(json.dumps([dict(row, augmented_share=0.0)
                                for row in json.loads(path.read_text())]))
    assert 'mix $x^{$: refinement begins after epoch 4; nothing was augmented before it.' in {
        picture.caption for picture in report_sections.curves(gather([runs])).pictures}
    svg = {'refinement' in picture.data.decode(): picture for picture in section.pictures}
    assert svg.keys() == {True, False}
    assert 'mix $x^{$' in svg[True].data.decode()  # no mathematics
    assert 'test 0.500' in svg[True].alt
    assert section.missing == ()
    assert section.notes[1] == 'Not made by a run of stage 1: r.'


def test_a_run_without_history_does_not_cost_the_others_their_curves(runs):
    (runs / 'one' / 'history.json').unlink()
    section = report_sections.curves(gather([runs]))
    assert len(section.pictures) == 1
    assert section.missing[0].what.startswith('standard: the run has no history yet')


def test_runs_that_are_not_named_are_asked_for(runs):
    material = gather([runs / 'det', runs / 'one'])
    section = report_sections.curves(material)
    assert len(section.pictures) == 1
    assert 'm-augmented, m-refined are not among the folders' in section.missing[0].what.replace(
        'm-refined, m-augmented', 'm-augmented, m-refined')
    nothing = Material(compare([runs / 'det']))
    assert report_sections.curves(nothing).pictures == ()
    assert report_sections.risks(nothing) is None
    assert report_sections.spectra(nothing) is None


def test_what_was_not_analysed_names_its_command(runs):
    material = gather([runs])
    section = report_sections.risks(material)
    assert section.pictures == ()
    assert {one.command for one in section.missing} == {
        'refaug-det analyze risk one', 'refaug-det analyze risk two',
        'refaug-det analyze risk two --weights augmented'}
    assert {one.command for one in report_sections.spectra(material).missing} == {
        'refaug-det analyze spectrum one', 'refaug-det analyze spectrum two',
        'refaug-det analyze spectrum two:augmented'}
    analyse(runs, 'one', 'last', 0)
    assert len(report_sections.risks(material).missing) == 2
    assert len(report_sections.spectra(material).missing) == 2


def test_risks_and_spectra_are_those_of_the_files(runs):
    for number, (run, weights) in enumerate((('one', 'last'), ('two', 'augmented'),
                                             ('two', 'last'))):
        analyse(runs, run, weights, number)
    material = gather([runs])
    section = report_sections.risks(material)
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    assert rows.keys() == {'standard (last)', 'mix $x^{$ (augmented)', 'mix $x^{$ (refined)'}
    assert rows['mix $x^{$ (refined)'][0] == '3.000 [2.900, 3.100]'
    assert section.words == (
        'mix $x^{$: refinement took the augmentation gap from 1.500 to 2.500 and the '
        'generalisation gap from 1.250 to 2.250 nats, the test risk from 2.250 to 3.250.',)
    assert 'mix $x^{$ (refined)' in section.pictures[0].data.decode()
    section = report_sections.spectra(material)
    ranks = {row[0]: row[1] for row in section.tables[0].rows}
    assert ranks['standard (last)'] == f'{spectrum(0)["intra_class"]["effective_rank"]:.1f}'
    assert section.missing == ()
    assert (section.tables[0].header[-1], section.tables[0].rows[0][-1]) == ('images', '60')


def test_an_analysis_of_an_earlier_run_of_the_folder_does_not_count(runs):
    analyse(runs, 'one', 'last', 0)
    assert len(report_sections.risks(gather([runs])).tables) == 1
    record = RunRecord('standard', 'classification', 'done', id='one', seed=0)
    dataclasses.replace(record, id='anew').write(runs / 'one')
    for file in runs.glob('det/s/run.json'):
        file.write_text(file.read_text().replace('"run": "one"', '"run": "anew"'))
    section = report_sections.risks(gather([runs]))
    assert section.tables == ()
    assert len(section.missing) == 3
