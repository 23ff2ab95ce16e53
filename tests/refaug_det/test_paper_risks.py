"""Table 2 from the risks that an analysis left in a run directory."""

import pytest

from refaug_det.comparison import paper
from refaug_det.errors import UserError
from refaug_det.runs import results
from refaug_det.runs.records import RunRecord

CELLS = {(cell.row, cell.column): cell for cell in paper.exhibit('table2').cells}
MIXUP = [CELLS['Mixup', f'{phase}, {risk} risk'] for phase in ('augmented', 'refined')
         for risk in ('augmented', 'clean')]
RECORD = RunRecord(name='net', stage='classification', id='mine')


def analysed(run_dir, weights, run='mine', **entry):
    risks = dict(clean_train=0.098, standard_train=0.0047, augmented_train=1.356)
    results.keep(run_dir / 'risk.json', run, weights, {
        **{name: dict(value=value) for name, value in risks.items()}, 'status': 'done',
        'options': dict(draws=1, images=None, bn='eval', clean='center'), **entry})


def test_every_cell_reads_its_own_number(tmp_path):
    analysed(tmp_path, 'augmented', trained_on='augmented_train')
    analysed(tmp_path, 'last', trained_on='standard_train', clean_train=dict(value=0.0024))
    found = [paper.risk_of(tmp_path, RECORD, cell) for cell in MIXUP]
    assert found == [(pytest.approx(value), '') for value in (1356, 98, 4.7, 2.4)]
    assert [cell.published for cell in MIXUP] == ['1356', '98', '4.7', '2.4']


def test_without_an_analysis_of_this_run_a_cell_is_blank(tmp_path):
    assert paper.risk_of(tmp_path, RECORD, MIXUP[0]) == (None, '')
    analysed(tmp_path, 'augmented', run='another', trained_on='augmented_train')
    assert paper.risk_of(tmp_path, RECORD, MIXUP[0]) == (None, '')
    analysed(tmp_path, 'augmented', trained_on='augmented_train')
    assert paper.risk_of(tmp_path, RECORD, MIXUP[0])[0] == pytest.approx(1356)
    assert paper.risk_of(tmp_path, RECORD, MIXUP[2]) == (None, '')  # only the other weights were


def test_a_risk_that_is_not_there_is_said(tmp_path):
    analysed(tmp_path, 'augmented', trained_on=None)
    value, why = paper.risk_of(tmp_path, RECORD, MIXUP[0])
    assert value is None
    assert 'no augmented risk of the augmented weights' in why
    assert paper.risk_of(tmp_path, RECORD, MIXUP[1])[0] == pytest.approx(98)


def test_another_file_is_refused(tmp_path):
    (tmp_path / 'risk.json').write_text('<html>')
    with pytest.raises(UserError, match='no file of an analysis'):
        paper.risk_of(tmp_path, RECORD, MIXUP[0])


@pytest.mark.parametrize('entry', [
    dict(status='interrupted'), dict(options=dict(images=10, bn='eval', clean='center')),
    dict(options=dict(images=None, bn='train', clean='center')),
    dict(options=dict(images=None, bn='eval', clean='standard')), dict(options=None)])
def test_a_partial_or_other_analysis_fills_no_cell(tmp_path, entry):
    analysed(tmp_path, 'augmented', trained_on='augmented_train', **entry)
    value, why = paper.risk_of(tmp_path, RECORD, MIXUP[0])
    assert value is None
    assert 'not of the finished run' in why
