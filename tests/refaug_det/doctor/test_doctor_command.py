"""`refaug-det doctor`: table, JSON, exit codes, and checks that break."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from refaug_det import cli
from refaug_det.doctor import command, findings
from refaug_det.doctor.findings import FAULT, OK, WARNING, Finding, Places, examine
from refaug_det.errors import UserError


@pytest.fixture
def doctor(capsys, monkeypatch):
    """`doctor(findings, *words)` is what the command says of what one check finds."""
    def run(found, *words):
        def check(places):
            print('chatter')
            return found

        monkeypatch.setattr(command, 'checks', lambda: [('one', lambda: check)])
        capsys.readouterr()
        code = cli.main(['doctor', *words])
        return (code, *capsys.readouterr())
    return run


FINDINGS = {status: Finding(f'{status}s', status, f'found {status}', f'mend {status}')
            for status in (OK, WARNING, FAULT)}


@pytest.mark.parametrize(('statuses', 'code', 'summary'), [
    ((OK,), 0, 'no faults, no warnings'), ((OK, WARNING), 0, 'no faults, 1 warning'),
    ((WARNING, WARNING), 0, 'no faults, 2 warnings'), ((OK, FAULT), 1, '1 fault, no warnings'),
    ((FAULT, WARNING, FAULT), 1, '2 faults, 1 warning'), ((), 0, 'no faults, no warnings')])
def test_exit_code_and_summary(doctor, statuses, code, summary):
    found = [FINDINGS[status] for status in statuses]
    ended, out, _ = doctor(found)
    assert ended == code
    assert out.splitlines()[-1] == summary
    for status in statuses:
        assert f'found {status}' in out
        assert (f'to do: mend {status}' in out) == (status != OK)
    ended, out, err = doctor(found, '--json')
    assert ended == code
    assert err == 'chatter\n'
    assert json.loads(out) == {
        **{status: statuses.count(status) for status in FINDINGS},
        'findings': [one._asdict() for one in found]}


def test_what_was_found_cannot_steer_the_terminal(doctor):
    out = doctor([Finding('\x1b[2J', FAULT, '[red]\x1b[31m', '\x1b[0m')])[1]
    assert '\x1b' not in out
    assert '[red]\\x1b[31m' in out


def broken_import():
    raise ImportError('no module of this name')


def broken(places):
    yield FINDINGS[OK]
    raise KeyError('x')


def quits(places):
    raise SystemExit('bye')


def refuses(places):
    raise UserError('it is wrong', 'here', 'mend it')


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on():
    found = list(examine([('import', broken_import), ('half', lambda: broken),
                          ('quits', lambda: quits), ('refuses', lambda: refuses),
                          ('fine', lambda: lambda places: [FINDINGS[OK]])], Places()))
    assert [(one.name, one.status) for one in found] == [
        ('import', FAULT), ('oks', OK), ('half', FAULT), ('quits', FAULT), ('refuses', FAULT),
        ('oks', OK)]
    assert 'ImportError: no module of this name' in found[0].found
    assert found[4] == Finding('refuses', FAULT, 'it is wrong: here', 'mend it')


def test_an_interrupt_is_not_taken_for_a_fault():
    def interrupted(places):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(examine([('x', lambda: interrupted)], Places()))


def test_checks_of_other_packages(monkeypatch):
    assert 'operators' in [name for name, _ in command.checks()]
    point = importlib.metadata.EntryPoint('theirs', 'nowhere:check', findings.GROUP)
    monkeypatch.setattr(command, 'entry_points', lambda group: [point])
    names = [name for name, _ in command.checks()]
    assert names == [*command.CHECKS, 'theirs']
    (found,) = examine(command.checks()[-1:], Places())
    assert (found.name, found.status) == ('theirs', FAULT)


def test_the_real_checks_all_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    code = cli.main(['doctor', '--data-root', str(tmp_path), '--work-dirs', str(tmp_path),
                     '--json'])
    told = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert code == (1 if told['fault'] else 0)
    assert len(told['findings']) >= 15
    assert not [one for one in told['findings'] if 'this check failed' in one['found']]
    assert all(one['fix'] for one in told['findings'] if one['status'] != OK)
    assert {'Python', 'packages', 'torch', 'JPEG', 'mmcv operators', 'zoo', 'data sets',
            'cores'} <= {one['name'] for one in told['findings']}
