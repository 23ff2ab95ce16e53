"""Figure R17: a name stays a name in every table and page, whatever it is made of."""

from __future__ import annotations

import base64
import functools
import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from refaug_det import escapes, tables
from refaug_det.comparison import tables as comparisons
from refaug_det.comparison.outcome import Comparison, Row
from refaug_det.errors import UserError
from refaug_det.tables import Table

PLAIN = 'plainname'
COUNT = 500


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = neighbour('hostile_names')
NAMES = hostile.names(COUNT)


def table(name: str) -> Table:
    """A table that has a name wherever one can stand: first and last, bold and not."""
    return Table(name, (name, 'mean', name), ((name, '70.00 ± 1.00', name), (name, name, '1')),
                 (f'{name}', f'Against {name}.'), frozenset({(0, 0), (1, 1)}))


def compared(name: str) -> Comparison:
    rows = [Row(one, 'ab', {0: 70.0}, (0,), 70.0, None, None, None, 0, 0, 0, 0)
            for one in (PLAIN, name)]
    return Comparison('AP', 'last epoch', '0123456789abcdef', PLAIN, (0,), tuple(rows))


@functools.cache
def plain(form: str) -> str:
    return getattr(table(PLAIN), form)()


JUDGES: dict[str, Callable[[str], bool]] = {
    'HTML': lambda name: hostile.html_differs(table(name).to_html(), plain('to_html')),
    'Markdown': lambda name: hostile.markdown_differs(
        table(name).to_markdown(), plain('to_markdown')),
    'LaTeX': lambda name: hostile.latex_differs(
        table(name).to_latex(), plain('to_latex'), PLAIN),
    'terminal': lambda name: hostile.terminal_differs(
        table(name).to_text(), plain('to_text')),
    'CSV': lambda name: hostile.csv_differs(
        comparisons.to_csv(compared(name)), [PLAIN, name], escapes.visible),
    'error': lambda name: hostile.terminal_differs(
        str(UserError(name, name, name)), str(UserError(PLAIN, PLAIN, PLAIN)))
    and bool(name.strip()),
}
if importlib.util.find_spec('markdown'):  # it comes with an extra only
    JUDGES['Markdown, another parser'] = lambda name: hostile.other_markdown_differs(
        table(name).to_markdown(), plain('to_markdown'))


@pytest.mark.figure('R17')
def test_no_name_becomes_markup(tally):
    live = {name: found for name in NAMES
            if (found := [kind for kind, judge in JUDGES.items() if judge(name)])}
    tally(len(live), len(NAMES))
    assert not live, list(live.items())[:5]
    assert len(set(NAMES)) == COUNT


@pytest.mark.figure('R17')
@pytest.mark.parametrize('kind', ['HTML', 'Markdown'])
def test_what_is_shown_is_the_name(kind):
    """Not less of it, as where markup is stripped: what a reader sees is the name, spelled out."""
    for name in NAMES:
        if kind == 'HTML':
            shown = hostile.Page(table(name).to_html()).text
        else:
            from markdown_it import MarkdownIt
            parser = MarkdownIt('commonmark', {'html': True}).enable(['table'])
            shown = hostile.Page(parser.render(table(name).to_markdown())).text
        assert ''.join(shown).split().count('Against') == 1 or 'Against' in name
        wanted = ' '.join(escapes.visible(name).split())
        assert wanted in ' '.join(' '.join(shown).split()), name


def as_it_is(text: str, keep: str = '') -> str:
    return text


@pytest.mark.figure('R17')
@pytest.mark.parametrize(('kind', 'guard', 'family'), [
    ('Markdown', (escapes, 'markdown'), 'html'), ('Markdown', (escapes, 'markdown'), 'markdown'),
    ('LaTeX', (escapes, 'latex'), 'latex'), ('terminal', (tables, 'visible'), 'terminal'),
    ('CSV', (comparisons, 'guard_formula'), 'formula')])
def test_without_its_guard_a_name_is_live(kind, guard, family, monkeypatch):
    monkeypatch.setattr(*guard, as_it_is)
    live = [name for name in hostile.FRAGMENTS[family] if JUDGES[kind](name)]
    assert len(live) > len(hostile.FRAGMENTS[family]) / 3, live


@pytest.mark.figure('R17')
def test_without_escaping_a_name_is_live_in_html(monkeypatch):
    tables.environment.cache_clear()
    monkeypatch.setattr(tables.environment(), 'autoescape', False)
    tables.environment().cache.clear()
    live = [name for name in hostile.FRAGMENTS['html'] if JUDGES['HTML'](name)]
    tables.environment.cache_clear()
    assert len(live) > 8, live


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """`runs(names)`: a folder with a finished run of stage 2 of a backbone of each name."""
    bad = neighbour('bad_world')
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)

    def make(folder, names):
        world = bad.World(tmp_path / folder, None)
        for number, name in enumerate(names):
            world.detected(f'n{number:03d}', notes=[name], error=name, backbone=dict(
                name=name, sha256=f'{number}', run=None))
        return tmp_path / folder
    return make


def structure(page: str) -> set[tuple]:
    """Kinds of elements with the names of their attributes and whereto they lead; of pictures,
    those inside."""
    found = set()
    for tag, *attrs in hostile.Page(page).events:
        if tag == 'comment':
            found.add((tag, *attrs))
            continue
        found.add((tag, *(name for name, _ in attrs)))
        for name, value in attrs:
            if name in ('href', 'src', 'action', 'xlink:href') and value:
                found.add((name, re.match('#|[a-z]+:|', value)[0]))
            if name == 'src' and value.startswith('data:image/svg+xml;base64,'):
                picture = base64.b64decode(value.partition(',')[2]).decode()
                found |= {('svg', name) for name, *_ in hostile.Page(picture).events}
    return found


@pytest.mark.figure('R17')
def test_no_name_becomes_markup_in_a_report(runs, tmp_path, capsys, tally, full):
    """Every name is a backbone, the note of a run, and in a command line to copy."""
    from refaug_det import cli

    def page(folder, names):
        out = tmp_path / f'{folder}.html'
        assert cli.main(['report', str(runs(folder, names)), '-o', str(out)]) == 0, (
            capsys.readouterr().err)
        return structure(out.read_text())

    chosen = [name for name in NAMES if name.strip()][:: 5 if full else 30]
    plain = page('plain', [f'p{n}' for n in range(16)])
    new = {number: page(f'{number}', chosen[number:number + 16]) - plain
           for number in range(0, len(chosen), 16)}
    tally(16 * sum(map(bool, new.values())), len(chosen))
    assert not any(new.values()), new
    assert '\x1b' not in capsys.readouterr().out
