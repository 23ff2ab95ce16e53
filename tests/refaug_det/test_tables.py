"""Tables: nothing in a name is live, nothing is lost, and the tool's exit codes."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from refaug_det import escapes
from refaug_det.comparison import tables
from refaug_det.comparison.compare import METRIC, Comparison, Row, compare
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord
from refaug_det.tables import MISSING, Table

FORMS = ('md', 'tex', 'html', 'csv')
TOOL = Path(__file__).parents[2] / 'tools' / 'compare.py'
HOSTILE = [
    '=1+1', "=cmd|' /C calc'!A0", '+1', '-1', '@SUM(A1)', '\t=1', ' =1', "'=1", '\uff1d1',
    'a,b;c', 'a;=1+1', '"quoted"', 'two\nlines', 'a\r\nb', 'a|b', r'a\|b', '<script>x</script>',
    '<img src=x onerror=y>', '&lt;b&gt;', '**bold**', '_it_', '`code`', '[a](http://b.c)',
    'http://b.c', 'www.b.c', 'a@b.c', '![i](j)', '~~gone~~', '[red]x[/red]', ':smile:',
    '\x1b[31mred', '\x00', '\u202egnp', '\u2028', '\ud800', 'mixup-0.2_r50', 'Ünïcode', ' pad ']
texts = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=20))
generated = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def comparison(*names: str) -> Comparison:
    rows = [Row(name, 'ab', {0: 70.0, 1: 71.5}, (0, 1), 70.75, 1.0606601717798212,
                None if name == names[0] else 1.25, None if name == names[0] else 0.5,
                0, 0, 0, 0) for name in names]
    return Comparison(METRIC, 'last epoch', '0123456789abcdef', names[0], (0, 1), tuple(rows))


def put(folder: Path, name: str, seed: int, value: float, **fields: object) -> None:
    RunRecord(**{**dict(
        name=name, stage='detection', status='done', seed=seed, selection='last epoch',
        metrics={METRIC: value}, protocol={'epochs': 12},
        backbone={'name': name, 'sha256': name, 'run': None}), **fields}).write(
            folder / f'{len(list(folder.glob("*")))}')


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two backbones; the second lacks a seed, with a failed run in its place."""
    folder = tmp_path / 'runs'
    put(folder, 'standard', 0, 72.0)
    put(folder, 'standard', 1, 72.5)
    put(folder, 'mixup_r50', 0, 73.25)
    put(folder, 'mixup_r50', 1, 0.0, status='failed', metrics={})
    put(folder, 'mixup_r50', 0, 0.0, stage='classification')
    return folder


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('compare_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@generated
@given(texts)
def test_names_survive_csv_and_compute_nothing(name: str) -> None:
    text = tables.to_csv(comparison('standard', name))
    text.encode('utf-8')
    rows = list(csv.reader(io.StringIO(text, newline=''), strict=True))
    assert {len(row) for row in rows} == {len(rows[0])}
    cell = rows[2][0]
    assert len(rows) == 3
    assert cell.lstrip()[:1] not in escapes.FORMULA
    assert cell[:1] not in '\t\r\n'
    back = cell[1:] if cell.startswith("'") else cell  # undone without loss
    assert back == escapes.visible(name, keep='\t\r\n')


@pytest.mark.parametrize('name', ['=1+1', '\t=1', ' =1', '\uff1d1', '@a', "'=1"])
def test_formulas_are_guarded_and_plain_names_are_not(name: str) -> None:
    assert escapes.guard_formula(name) == f"'{name}"
    assert escapes.guard_formula(f'a{name}') == f'a{name}'


def test_text_in_csv_is_quoted_so_that_no_other_separator_splits_it() -> None:
    text = tables.to_csv(comparison('standard', 'a;=1+1'))
    assert '\r\n"a;=1+1",2,2,70.75,' in text
    assert '"",""' in text  # the baseline has no difference


@generated
@given(texts)
@example('<b>x</b>')
def test_names_are_text_in_markdown(name: str) -> None:
    markdown_it = pytest.importorskip('markdown_it')
    parser = markdown_it.MarkdownIt('commonmark', {'html': True}).enable(
        ['table', 'strikethrough'])
    tokens = parser.parse(comparison('standard', name).to_markdown())
    cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == 'td_open']
    assert len(cells) == 2 * 8
    assert {child.type for child in cells[8].children} <= {'text', 'text_special'}
    shown = ''.join(child.content for child in cells[8].children)
    assert shown.strip() == escapes.visible(name).strip()
    assert 'html_block' not in {token.type for token in tokens}


def test_an_unescaped_name_would_be_live() -> None:
    markdown_it = pytest.importorskip('markdown_it')
    parser = markdown_it.MarkdownIt('commonmark', {'html': True}).enable('table')
    assert '<script>' in parser.render('| a |\n|--|\n| <script>x</script> |\n')
    shown = parser.render(comparison('<script>x</script>').to_markdown())
    assert '<script>' not in shown
    assert '&lt;script&gt;' in shown


@pytest.mark.parametrize(('text', 'escaped'), [
    ('http://b.c', r'http\://b.c'), ('www.b.c', r'www\.b.c'), ('a@b.c', r'a\@b.c'),
    ('<b>', '&lt;b&gt;'), ('mixup-0.2', 'mixup-0.2'), ('AP50 (11-point)', 'AP50 (11-point)')])
def test_what_github_would_link_is_broken_up(text: str, escaped: str) -> None:
    assert escapes.markdown(text) == escaped


def latex_faults(text: str) -> list[str]:
    """What in a piece of LaTeX is live, beyond the commands and pairs that `latex` writes."""
    rest = re.sub(r'\\text[a-z]+\{\}|\\[&%$#_{}]|\$\\(pm|times)\$|\{[][*-]\}', '', text)
    return re.findall(r'[\\&%$#_{}~^\[\]*<>|"`\'\n]', rest)


@generated
@given(texts)
@example(r'\input{/etc/passwd}')
@example('[2cm]')
def test_names_are_text_in_latex(name: str) -> None:
    text = comparison('standard', name).to_latex()
    row, = (line for line in text.splitlines() if 'textbf' not in line and '+1.25' in line)
    cells = row.removesuffix(r' \\').split(' & ')
    assert not latex_faults(cells[0])
    assert len(cells) == 8
    for live in (r'\input{x}', '[2cm]', 'a_b', '50 %', '$x$', 'a & b'):
        assert latex_faults(live)


class Elements(HTMLParser):
    """Names of a page's elements, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names, self.attributes, self.text = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@generated
@given(texts)
@example('"><img src=x onerror=y>')
def test_names_are_text_in_html(name: str) -> None:
    plain, named = (Elements(comparison('standard', one).to_html()) for one in ('x', name))
    assert named.names == plain.names
    assert named.attributes == plain.attributes
    assert escapes.visible(name) in ''.join(named.text)
    assert Elements(f'<p>{HOSTILE[16]}').names == ['p', 'script']  # what it would be, unescaped


def test_bold_is_shown_in_every_form() -> None:
    table = Table('t', ('name', 'x'), (('a', '1'), ('b', '2')), bold=frozenset({(1, 1)}))
    assert '| b | **2** |' in table.to_markdown()
    assert r'b & \textbf{2} \\' in table.to_latex()
    assert '<td><strong>2</strong></td>' in table.to_html()
    assert table.to_html().count('<strong>') == 1
    assert table._repr_html_() == table.to_html()


@generated
@given(texts)
def test_names_are_text_in_the_terminal(name: str) -> None:
    text = str(comparison('standard', name))
    assert '\x1b' not in text
    assert len(text.splitlines()) == 5
    assert escapes.visible(name).strip() in text
    text.encode('utf-8')


def test_visible_spells_out_what_does_not_show() -> None:
    assert escapes.visible('a\x1b\n\u202e\ud800é') == r'a\x1b\n\u202e\ud800é'


def test_missing_values_are_dashes_and_empty_cells(runs: Path) -> None:
    result = compare([runs])
    mixup = result.to_markdown().splitlines()[4]
    assert mixup == r'| mixup\_r50 | 73.25 ± — | — | 1/2 | +1.00 ± — | 1 failed | 73.25 | — |'
    assert '| baseline |' in result.to_markdown().splitlines()[5]
    cells = next(csv.DictReader(io.StringIO(result.to_csv(), newline='')))
    assert (cells['sd'], cells['standard_error'], cells['seed 1']) == ('', '', '')
    assert (cells['n'], cells['expected'], cells['failed']) == ('1', '2', '1')
    assert float(cells['mean']) == 73.25
    assert MISSING not in result.to_csv()
    assert result.to_csv().count('\r\n') == result.to_csv().count('\n') == 3


def test_title_and_footnotes_say_what_a_reader_must_know(runs: Path) -> None:
    result = compare([runs])
    assert tables.title(result) == (
        f'{METRIC} in percent, last epoch, protocol {result.fingerprint}, 2 seeds')
    text = str(result)
    for part in ('standard error (Welch)', 'n < 3', 'proves nothing', 'against standard',
                 'Missing: mixup_r50 seed 1.', 'not averaged: mixup_r50 1 failed.',
                 'Left out: 1 run of classification.'):
        assert part in text
    plain = str(comparison('standard', 'mixup'))
    assert 'Welch' in plain
    assert not [part for part in ('Missing', 'Left out', 'Merged', 'Noted') if part in plain]


def test_a_narrow_terminal_gets_the_table_without_single_trials() -> None:
    console = pytest.importorskip('rich.console')

    def at(width: int) -> str:
        screen = console.Console(file=io.StringIO(), width=width, color_system=None)
        comparison('standard', 'mixup').table().show(screen)
        return screen.file.getvalue()

    assert 'seed 1' in at(120)
    assert 'Left out' in at(90)
    assert 'Left out' not in at(120)
    for width in (80, 60, 40, 20):  # no cell is cut, however narrow it is
        for cell in ('standard', 'mixup', '70.75 ± 1.06', '[61.22, 80.28]', '+1.25 ± 0.50'):
            assert cell in at(width)
    wide = Table('t', ('name', *map(str, range(100))), (('a' * 300, *['12.3456'] * 100),))
    assert wide.to_text().count('12.3456') == 100
    assert 'seed 1' not in at(90)
    assert '70.75 ± 1.06' in at(90)
    assert max(map(len, at(90).splitlines())) <= 90


def test_write_is_whole(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = compare([runs])
    target = tmp_path / 'out' / 'tables'
    paths = tables.write(result, result.tables(), target)
    assert [path.name for path in paths] == [f'comparison.{end}' for end in FORMS]
    texts = [result.to_markdown(), result.to_latex(), result.to_html(), result.to_csv()]
    assert [path.read_bytes().decode('utf-8') for path in paths] == texts
    assert len(list(target.iterdir())) == 4
    monkeypatch.setattr(os, 'replace', lambda *_: (_ for _ in ()).throw(OSError(28, 'full')))
    other = comparison('other')
    with pytest.raises(UserError, match='No space'):
        tables.write(other, other.tables(), target)
    assert len(list(target.iterdir())) == 4
    assert [path.read_bytes().decode('utf-8') for path in paths] == texts


def test_the_tool_prints_and_writes(
        runs: Path, tmp_path: Path, tool: ModuleType, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'out'
    assert tool.main([str(runs), '--baseline', 'mixup_r50', '-o', str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ''
    assert 'against mixup_r50' in captured.out
    assert '-1.00' in (out / 'comparison.md').read_text(encoding='utf-8')
    assert {path.name for path in out.iterdir()} == {
        f'comparison.{end}' for end in (*FORMS, 'svg', 'png')}


def test_the_tool_prints_json_and_nothing_else(
        runs: Path, tmp_path: Path, tool: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert tool.main([str(runs), '--json', '-o', str(tmp_path / 'out')]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value == compare([runs]).to_dict()
    assert value['seeds'] == [0, 1]
    assert value['verdicts'] == []
    assert value['rows'][0]['values'] == [73.25, None]
    assert [value['rows'][0][key] for key in ('n', 'failed', 'missing')] == [1, 1, [1]]


@pytest.mark.parametrize(('arguments', 'told'), [
    (['{runs}', '--metric', 'mAP'], 'AP50 (11-point)'),
    (['{runs}', '--baseline', 'standrad'], "did you mean 'standard'?"),
    (['{runs}/nowhere'], 'nowhere'),
    (['{runs}', '-o', '{runs}/0/run.json'], 'cannot write'),
])
def test_what_a_person_can_mend_is_exit_2_in_three_lines(
        arguments: list[str], told: str, runs: Path, tool: ModuleType,
        capsys: pytest.CaptureFixture) -> None:
    assert tool.main([argument.format(runs=runs) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) <= 3
    assert captured.out == ''


def test_mixed_protocols_through_the_tool(
        runs: Path, tool: ModuleType, capsys: pytest.CaptureFixture) -> None:
    put(runs, 'cutmix', 0, 74.0, protocol={'epochs': 24})
    assert tool.main([str(runs)]) == 2
    captured = capsys.readouterr()
    assert 'epochs: 24 / 12' in captured.err
    assert len(captured.err.splitlines()) <= 3
    assert captured.out == ''


def test_a_stdout_without_a_dash_is_served(
        runs: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    screen = io.TextIOWrapper(raw, encoding='ascii')
    monkeypatch.setattr('sys.stdout', screen)
    assert tool.main([str(runs)]) == 0
    screen.flush()
    assert b'73.25 ? ?' in raw.getvalue()
