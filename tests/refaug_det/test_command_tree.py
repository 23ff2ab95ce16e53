"""Every command of `refaug-det`: an example, JSON, exit codes, help for each option, no colour."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from cyclopts import App, Parameter

from refaug_det import cli

WITHOUT_JSON = {('completion',)}  # its answer is a script


def leaves(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Words and application of every command that has no subcommands."""
    for name in app:
        if name.startswith('-'):
            continue
        below = app[name]
        if below.default_command is None:
            yield from leaves(below, (*path, name))
        else:
            yield (*path, name), below


def faults(path: tuple[str, ...], command: App, default: Parameter | None) -> list[str]:
    """What a command lacks of what every command has."""
    said = command.default_command.__doc__ or ''
    arguments = [(argument.names, argument.parameter.help or '')
                 for argument in command.assemble_argument_collection(
                     default_parameter=default, parse_docstring=True)]
    names = [name for these, _ in arguments for name in these]
    found = [f'no help: {these[0]}' for these, text in arguments if not text.strip()]
    if 'Example: refaug-det ' + ' '.join(path) not in said:
        found.append('no example')
    if 'Returns' not in said or 'Exit code' not in said:
        found.append('no exit codes')
    if '--json' not in names and path not in WITHOUT_JSON:
        found.append('no --json')
    return found + [f'negative: {name}' for name in names if name.startswith(('--no-', '--empty-'))]


APP = cli.app()
TREE = dict(leaves(APP))


def test_the_tree_has_the_commands():
    assert {path[0] for path in TREE} >= {
        'analyze', 'backbone', 'bench', 'compare', 'completion', 'data', 'doctor', 'eval',
        'paper', 'protocol', 'show'}
    assert {path[1] for path in TREE if path[0] == 'analyze'} >= {
        'curves', 'errors', 'probe', 'risk', 'spectrum', 'surface', 'switch'}


@pytest.mark.parametrize('path', TREE, ids=' '.join)
def test_every_command_has_what_all_have(path):
    assert faults(path, TREE[path], APP.default_parameter) == []


def test_that_rule_sees_what_is_missing():
    def bare(number: int, /, *, deep: bool = False):
        """Do it."""

    app = App(name='x')
    app.command(bare)
    assert faults(('bare',), app['bare'], None) == [
        'no help: NUMBER', 'no help: --deep', 'no example', 'no exit codes', 'no --json',
        'negative: --no-deep']


@pytest.mark.parametrize('path', [(), ('analyze',), ('backbone',), *TREE], ids=' '.join)
def test_help_is_plain_where_no_colour_is_wanted(path, monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')  # rich takes stdout for a terminal
    monkeypatch.setenv('NO_COLOR', '1')
    assert cli.main([*path, '--help']) == 0
    plain = capsys.readouterr().out
    assert '\x1b' not in plain
    assert 'Exit codes: 0 done; 1 ' in plain
    assert f'Usage: refaug-det {" ".join(path)}'.strip() in plain


def test_and_otherwise_it_is_not(monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.delenv('NO_COLOR', raising=False)
    monkeypatch.setenv('TERM', 'xterm-256color')
    assert cli.main(['--help']) == 0
    assert '\x1b' in capsys.readouterr().out


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion_knows_every_command(shell, capsys, tmp_path):
    assert cli.main(['completion', shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for path in TREE for word in path)
    assert 'no-such-command' not in script
    if shell == 'bash':
        assert '--data-root' in script
        (tmp_path / 'script').write_text(script)
        (tmp_path / 'broken').write_text(f'{script}\nif true; then')
        codes = [subprocess.run(['bash', '-n', str(tmp_path / name)], capture_output=True,
                                check=False).returncode for name in ('script', 'broken')]
        assert codes[0] == 0
        assert codes[1] != 0


def test_completion_of_an_unknown_shell(capsys):
    assert cli.main(['completion', 'csh']) == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert len(err.splitlines()) <= 3
