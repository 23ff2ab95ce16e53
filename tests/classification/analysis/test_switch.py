"""The switch curve, from records that are written by hand."""

import json

import pytest

from classification.analysis import switch as switches
from classification.analysis.switch import Trial, collect, curve, trial
from refaug_det import cli
from refaug_det.errors import UserError
from refaug_det.runs import history, results
from refaug_det.runs.records import RunRecord


def rows(switch, epochs=6, accuracy=70.0):
    """Accuracy rises by one an epoch; every epoch is measured."""
    return [dict(epoch=epoch, phase='augmented' if epoch <= switch else 'refinement', loss=1.0,
                 **{'top-1': accuracy + epoch}) for epoch in range(1, epochs + 1)]


@pytest.fixture
def write(tmp_path):
    def make(name, made, seed=0, config=None, **more):
        record = RunRecord(**dict(dict(name=name, stage='classification', status='done',
                                       seed=seed), **more))
        record.write(tmp_path / name)
        (tmp_path / name / history.FILE_NAME).write_text(json.dumps(made))
        (tmp_path / name / 'config.json').write_text(json.dumps(config or {}))
        return tmp_path / name
    return make


def test_one_run():
    assert trial(rows(4)) == Trial(4, 6, 100 - 76, None)
    assert trial(rows(6)).switch == 6  # never refined
    assert trial(rows(0)).switch == 0
    assert trial([]) is None
    assert trial([dict(epoch=1, phase='augmented')]) is None


def test_the_median_does_not_reach_before_the_switch():
    assert trial(rows(3), median_of=3).error == 100 - 75
    assert trial(rows(4), median_of=10).error == 100 - 75.5
    assert trial(rows(6), median_of=3).error == 100 - 75
    unmeasured = [dict(row, **{'top-1': None}) if row['epoch'] == 6 else row for row in rows(3)]
    assert trial(unmeasured).error == 100 - 75


def test_mean_and_range():
    points = curve([Trial(9, 9, 20.0, 0), Trial(5, 9, 10.0, 0), Trial(5, 9, 13.0, 1)])
    assert points == [
        dict(switch=5, mean=11.5, low=10.0, high=13.0, n=2, seeds=[0, 1]),
        dict(switch=9, mean=20.0, low=20.0, high=20.0, n=1, seeds=[0])]


def test_runs_of_a_folder(write, tmp_path):
    write('a', rows(4, accuracy=60), seed=0)
    write('b', rows(4, accuracy=62), seed=1)
    write('c', rows(6, accuracy=50), id='same')
    write('copy', rows(6, accuracy=50), id='same')
    write('d', rows(6), status='failed')
    write('e', rows(6), stage='detection')
    write('f', [dict(epoch=6, phase='augmented')])
    found = collect([tmp_path])
    assert found['points'] == [
        dict(switch=4, mean=33.0, low=32.0, high=34.0, n=2, seeds=[0, 1]),
        dict(switch=6, mean=44.0, low=44.0, high=44.0, n=1, seeds=[0])]
    assert found['set_aside'] == {'other stage': 1, 'unfinished': 1, 'copies': 1,
                                  'no test error': 1}
    assert found['differences'] == []


def test_other_differences_are_told(write, tmp_path):
    def config(seed, lr, epochs, rate=None):
        return dict(randomness=dict(seed=seed), optim_wrapper=dict(optimizer=dict(lr=lr)),
                    custom_hooks=[dict(type='RefAugRefinementHook', epochs=epochs, lr=rate)],
                    param_scheduler=[dict(end=epochs)], work_dir=str(epochs))

    write('a', rows(4), config=config(0, 0.1, 2))
    write('b', rows(5), config=config(1, 0.1, 1))
    assert collect([tmp_path])['differences'] == []
    write('c', rows(6), config=config(0, 0.2, 0))
    assert collect([tmp_path])['differences'] == ['optim_wrapper.optimizer.lr']
    write('c', rows(3), config=config(0, 0.1, 3, rate=0.01))
    assert collect([tmp_path])['differences'] == ['RefAugRefinementHook.lr']


def test_what_is_no_curve_is_refused(write, tmp_path):
    write('a', rows(4))
    with pytest.raises(UserError, match='1 switch epochs'):
        collect([tmp_path])
    write('b', rows(4, epochs=8))
    with pytest.raises(UserError, match='one length'):
        collect([tmp_path])
    with pytest.raises(UserError):
        collect([tmp_path / 'a'], median_of=0)
    with pytest.raises(UserError):
        collect([tmp_path / 'nothing'])


def test_the_command(write, tmp_path, capsys):
    paths = [write('a', rows(4)), write('b', rows(6, accuracy=60)), write('c', rows(6))]
    write('d', rows(4), status='running')
    assert cli.main(['analyze', 'switch', str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert 'least test error 24.00 %' in said
    assert '1 set aside (unfinished)' in said
    (entry,) = results.read(tmp_path / 'switch.json')
    assert [point['n'] for point in entry['points']] == [1, 2]
    before = (tmp_path / 'switch.svg').read_bytes()
    assert cli.main(['analyze', 'switch', *map(str, paths[::-1])]) == 0
    assert (tmp_path / 'switch.svg').read_bytes() == before
    assert cli.main(['analyze', 'switch', *map(str, paths[:2]), '-o', str(tmp_path / 'two')]) == 0
    assert (tmp_path / 'two' / 'switch.svg').read_bytes() != before
    capsys.readouterr()
    assert cli.main(['analyze', 'switch', str(tmp_path), '--json']) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == entry
    assert 'least test error' in err
    assert cli.main(['analyze', 'switch', str(paths[0])]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert switches.collect([tmp_path])['epochs'] == 6
