"""One JSON document on stdout, and everything else on stderr."""

from __future__ import annotations

import inspect
import json
import math

import pytest
from rich.console import Console

from refaug_det import answers, tables


@answers.document
def measure(words: str, /, *, json: bool = False) -> object:
    """Measure."""
    print(words)
    Console().print('by rich')
    return dict(value=words)


def test_words_for_people(capsys):
    assert measure('a') == 0
    assert capsys.readouterr() == ('a\nby rich\n', '')


def test_a_document_for_programs(capsys):
    assert measure('a', json=True) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == dict(value='a')
    assert err == 'a\nby rich\n'


def test_what_raises_answers_nothing(capsys):
    @answers.document
    def broken(*, json: bool = False):
        print('begun')
        raise ValueError('stopped')

    with pytest.raises(ValueError, match='stopped'):
        broken(json=True)
    assert capsys.readouterr() == ('', 'begun\n')
    print('out')  # stdout is back
    assert capsys.readouterr().out == 'out\n'


def test_json_is_strict(capsys):
    with pytest.raises(ValueError, match='not JSON compliant'):
        answers.print_json([math.nan])
    assert capsys.readouterr().out == ''


def test_the_command_line_sees_the_function():
    assert list(inspect.signature(measure).parameters) == ['words', 'json']
    assert measure.__doc__ == 'Measure.'


def test_a_table_is_plain_where_no_colour_is_wanted(monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('TERM', 'xterm-256color')
    for value, coloured in (('1', False), ('', True)):
        monkeypatch.setenv('NO_COLOR', value)
        tables.say(tables.Table('title', ('a', 'b'), (('x', '1'),), ('a note',)).show)
        out = capsys.readouterr().out
        assert 'title' in out
        assert ('\x1b' in out) == coloured
