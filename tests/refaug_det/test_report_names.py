"""Names in a report are text: whatever a backbone, class, note or picture is called."""

from __future__ import annotations

import random
import shutil
import unicodedata
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from refaug_det import report
from refaug_det.comparison.compare import METRIC
from refaug_det.reports import page, sections
from refaug_det.reports.sections import Listing, Missing, Picture, Section, Shaded
from refaug_det.runs.records import RunRecord

HOSTILE = ('<script>alert(1)</script>', '"><img src=x onerror=y>', "' onload='z", ']]>',
           '--></style><script>w</script>', '{{ 7 * 7 }}', '\u202egnp.exe', '\x1b[31m\x00\u2028',
           '\ud800', '$x^{$', '</title></textarea><b>', '&lt;i&gt;', '{% raw %}', ' onclick=a b=')
PARTS = ('<', '>', '"', "'", '`', '&', '</', '/>', '=', '<script>', '</script>', '<svg onload=x>',
         '<!--', '-->', '{{', '}}', '{%', '%}', '\u202e', '\x00', '\x1b', '\ud800', '&#60;', '$',
         'javascript:', 'a', 'B7', ' ', '\n', '\\', '%3C', '<style>', '</td>', '</p>', 'on')


class Elements(HTMLParser):
    """What of a page is live, and what is text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def elements(tmp_path, monkeypatch):
    """`elements(name)`: of a report in which all that can have a name has this one."""
    def of(name):
        folder = tmp_path / 'runs'
        for seed in (0, 1, 2):
            for backbone in (name, 'other'):
                value = 70.0 + seed + len(backbone) / 300
                RunRecord(backbone, 'detection', 'done' if seed < 2 else 'failed', seed=seed,
                          protocol={'epochs': 1, name: name}, selection=name, error=name,
                          metrics={METRIC: value, f'{METRIC}/{name}': value}, notes=[name],
                          command=[name], versions={name: name}, device=dict(name=name),
                          operators=name, backbone=dict(name=backbone, sha256=backbone, run=None),
                          ).write(folder / f'{backbone == name}{seed}')
        section = Section(
            name, (name,), ((name, name),), notes=(name,), missing=(Missing(name, name),),
            tables=(Shaded(name, (name, 'n'), ((name, name), ('x', '1')), (name,)),),
            pictures=(Picture(b'', 'png', f'{name}.', name, name),),
            listings=(Listing(name, name), Listing(name, name, True)))
        point = SimpleNamespace(name=f'more.{name}', load=lambda: lambda material: section)
        monkeypatch.setattr(sections, 'entry_points', lambda group: [point])
        path = report([folder], tmp_path / 'report.html', title=name, baseline='other')
        shutil.rmtree(folder)
        return Elements(path.read_text('utf-8'))
    return of


def shown(name):
    """A name as a reader sees it: what would steer the text is spelled out."""
    return ''.join(c if unicodedata.category(c) not in ('Cc', 'Cf', 'Cs', 'Cn', 'Zl', 'Zp') else
                   c.encode('unicode_escape').decode() for c in name)


def harmed(made, plain, name):
    """What a name did to a page, against the page of a name that is a word."""
    steering = [c for c in made.text if unicodedata.category(c) in ('Cf', 'Cs', 'Zl')]
    if sorted(made.found) != sorted(plain.found):
        return 'an element'
    return 'a direction' if steering else '' if made.text.count(shown(name)) > 15 else 'a loss'


@pytest.mark.figure('R17')
def test_a_name_becomes_no_markup(elements, full, tally):
    rng = random.Random(17)
    made_up = [''.join(rng.choices(PARTS, k=rng.randint(2, 7))) for _ in range(500 if full else 5)]
    names = [*HOSTILE, *(name for name in made_up if name.strip())]
    plain = {True: elements('w ' * 30), False: elements('word')}  # a long cell has a class
    harm = {name: what for name in names
            if (what := harmed(elements(name), plain[len(name) > 40], name))}
    tally(len(harm), len(names))
    assert harm == {}


@pytest.mark.figure('R17')
def test_it_would_without_escapes(elements, monkeypatch):
    plain = elements('word')
    monkeypatch.setattr(page.environment(), 'autoescape', False)
    page.environment().cache.clear()
    try:
        assert harmed(elements(HOSTILE[0]), plain, HOSTILE[0]) == 'an element'
    finally:
        page.environment().cache.clear()
