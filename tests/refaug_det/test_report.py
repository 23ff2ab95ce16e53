"""The page of a report: its order, its honesty, nothing live in a name, the same bytes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from refaug_det import cli, report
from refaug_det.comparison.compare import METRIC
from refaug_det.errors import UserError
from refaug_det.reports import page, sections
from refaug_det.reports.sections import Missing, Picture, Section
from refaug_det.runs.records import RunRecord

PIXEL = base64.b64decode(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')


def put(folder, name, seed, value, **fields):
    """A record of stage 2, with two classes and three sizes."""
    metrics = {METRIC: value, f'{METRIC}/cat': value + 3, f'{METRIC}/dog': value - 3 + seed / 7,
               'AP (small)': value / 3, 'AP (large)': value / 2}
    RunRecord(**{**dict(
        name=name, stage='detection', status='done', seed=seed, selection='last epoch',
        id=f'{name} {seed}', metrics=metrics, protocol={'epochs': 12, 'data.test.images': 4952},
        command=['train', '--seed', str(seed), '--work-dir', f'w{seed}', '--backbone', name],
        versions={'torch': '2.15.0'}, backbone=dict(name=name, sha256=f'{name}!', run=None)),
        **fields}).write(folder / f'{len(list(folder.glob("*")))}')


@pytest.fixture
def runs(tmp_path):
    """Four seeds of two backbones, far apart; one of a third, and a run that failed."""
    folder = tmp_path / 'runs'
    for seed, shift in enumerate((0.0, 0.4, -0.3, 0.1)):
        put(folder, 'standard', seed, 72.0 + shift)
        put(folder, 'mixup', seed, 75.0 - shift)
    put(folder, 'cutmix', 0, 60.0)
    put(folder, 'cutmix', 1, 0.0, status='failed', metrics={}, error='RuntimeError: NaN\nlong')
    return folder


@pytest.fixture
def offer(monkeypatch):
    """`offer(name=function)`: the sections of other packages, instead of the installed ones."""
    def replace(**functions):
        points = [SimpleNamespace(name=name.replace('_', '.'), load=lambda make=make: make)
                  for name, make in functions.items()]
        monkeypatch.setattr(sections, 'entry_points', lambda group: points)
    replace()
    return replace


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.inside, self.now = [], [], '', {}, ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.now = tag
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        self.now = ''

    def handle_data(self, data):
        self.text += data
        self.inside.setdefault(self.now, []).append(data)

    def values(self, *names):
        return [value for _, name, value in self.attributes if name in names]


def page_of(folder, tmp_path, **options):
    return Page(report([folder], tmp_path / 'report.html', **options).read_text('utf-8'))


def test_chapters_are_in_the_order_of_the_questions(runs, offer, tmp_path):
    offer(training_b=lambda material: Section('Curves'), origin_a=lambda material: Section('Kinds'),
          nowhere_c=lambda material: Section('Else'), origin_n=lambda material: None)
    made = page_of(runs, tmp_path)
    assert made.inside['h2'] == list(page.CHAPTERS.values())
    assert [text for text in made.inside['h3'] if text in ('Kinds', 'Curves', 'Else')] == [
        'Kinds', 'Curves', 'Else']
    anchors = {value[1:] for value in made.values('href') if value.startswith('#')}
    assert anchors <= set(made.values('id'))
    assert 'absent' not in made.values('id')


def test_every_kind_of_content_is_shown(runs, offer, tmp_path):
    from refaug_det.reports.sections import Listing, Shaded
    from refaug_det.tables import Table

    offer(more_all=lambda material: Section(
        'All', ('Words.',), (('Term', 'Fact'),),
        tables=(Table('T', ('a', 'b'), (('x', '1'), ('y', '2')), ('Foot.', 'Words.'),
                      frozenset({(0, 1)})),
                Shaded('S', ('a', 'b'), (('x', '1'),), levels={(0, 1): -4})),
        pictures=(Picture(PIXEL, 'png', 'A pixel', 'Small.', 'Group'),),
        listings=(Listing('Open', 'one\ntwo'), Listing('Closed', 'three', True)),
        notes=('Note.',), missing=(Missing('Lacking.', 'get it'),)))
    made = page_of(runs, tmp_path)
    for text in ('Words.', 'Term', 'Fact', 'Foot.', 'Small.', 'Group', 'one', 'Closed', 'Note.',
                 'Lacking.', 'get it'):
        assert text in made.text
    assert made.text.count('Lacking.') == 2  # there, and in the last chapter
    assert made.text.count('Words.') == 1  # a footnote does not say it again
    assert 'down4' in made.values('class')
    assert made.tags.count('details') == 2  # with that of the protocol
    assert ('img', 'alt', 'A pixel') in made.attributes


def test_the_policy_admits_this_style_and_this_script_alone(runs, offer, tmp_path):
    text = report([runs], tmp_path / 'report.html').read_text('utf-8')
    made = Page(text)
    policy = next(v for v in made.values('content') if 'default-src' in v)
    assert "default-src 'none'" in policy
    for tag in ('style', 'script'):
        body = re.search(f'<{tag}>(.*?)</{tag}>', text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        other = base64.b64encode(hashlib.sha256((body + ' ').encode()).digest()).decode()
        assert other not in policy
    assert 'unsafe' not in policy
    assert made.values('style') == []  # the policy forbids them
    assert all(value.startswith(('#', 'data:')) for value in made.values('src', 'href', 'srcset'))


def test_a_section_that_fails_becomes_a_note(runs, offer, tmp_path):
    def broken(material):
        raise ZeroDivisionError('<b>by zero')

    def refused(material):
        raise UserError('no such thing', 'there', 'do this')

    offer(more_broken=broken, more_refused=refused, more_wrong=lambda material: 'text',
          more_blind=lambda material: Section('B', pictures=(Picture(PIXEL, 'png', ' '),)),
          training_whole=lambda material: Section('Whole', ('Still here.',)))
    made = page_of(runs, tmp_path)
    for text in ('ZeroDivisionError: <b>by zero', 'no such thing (there); do this',
                 'str is no Section', "a picture of kind 'png'", 'Still here.'):
        assert text in made.text
    assert 'b' not in made.tags

    def stopped(material):
        raise KeyboardInterrupt

    offer(more_stopped=stopped)
    with pytest.raises(KeyboardInterrupt):
        page_of(runs, tmp_path)


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(runs, offer, tmp_path):
    first = report([runs], tmp_path / 'a.html').read_bytes()
    shutil.copytree(runs, tmp_path / 'elsewhere' / 'there')
    assert report([tmp_path / 'elsewhere'], tmp_path / 'b.html').read_bytes() == first
    assert str(tmp_path).encode() not in first
    put(runs, 'cutmix', 2, 61.0)
    assert report([runs], tmp_path / 'c.html').read_bytes() != first


def test_what_is_missing_is_said(runs, offer, tmp_path):
    made = page_of(runs, tmp_path)
    for text in ('cutmix: no finished run with seed 1, 2, 3.', 'RuntimeError: NaN', 'failed'):
        assert text in made.text
    assert 'Every run that was begun is finished' not in made.text
    for folder in runs.iterdir():
        record = json.loads((folder / 'run.json').read_text())
        if record['name'] == 'cutmix':
            shutil.rmtree(folder)
    made = page_of(runs, tmp_path)
    assert 'Every run that was begun is finished and measured.' in made.text
    assert 'Every part of this report is here.' in made.text


def test_commands_are_those_of_the_records_without_their_folders(runs, offer, tmp_path):
    made = page_of(runs, tmp_path)
    assert '# mixup, seeds 0, 1, 2, 3\ntrain --seed S --backbone mixup\n' in made.text
    assert '--work-dir' not in made.text
    for path in runs.rglob('run.json'):  # the other way to write an option
        value = json.loads(path.read_text())
        value['command'] = ['train', f'--seed={value["seed"]}', f'--work-dir=/home/me/{path}']
        path.write_text(json.dumps(value))
    made = page_of(runs, tmp_path)
    assert '# mixup, seeds 0, 1, 2, 3\ntrain --seed S\n' in made.text
    assert '/home/me' not in made.text
    assert 'mixup!' in made.text  # the digest of its weights
    assert 'epochs = 12' in made.text


def test_it_is_written_whole_or_not_at_all(runs, offer, tmp_path):
    output = tmp_path / 'report.html'
    report([runs], output)
    before = output.read_bytes()
    with pytest.raises(UserError, match='no run has the metric'):
        report([runs], output, metric='AP9')
    assert output.read_bytes() == before
    (tmp_path / 'file').write_text('')
    for place in (tmp_path, tmp_path / 'file' / 'report.html'):
        with pytest.raises(UserError, match='cannot write the report'):
            report([runs], place)
    assert not list(tmp_path.glob('.*'))


def test_the_command(runs, offer, tmp_path, capsys):
    output = tmp_path / 'report.html'
    assert cli.main(['report', str(runs), '-o', str(output), '--title', 'Mine']) == 0
    assert f'wrote {output}: 0.' in capsys.readouterr().out
    assert Page(output.read_text('utf-8')).inside['h1'] == ['Mine']
    assert cli.main(['report', str(runs), '-o', str(output), '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told['file'], told['bytes']) == (str(output), output.stat().st_size)
    assert 'cutmix: no finished run' in told['missing'][0]['what']
    for words in (['--images', '-1'], ['--baseline', 'nobody'], ['--resamples', '1']):
        assert cli.main(['report', str(runs), *words]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 3
    assert cli.main(['report', str(tmp_path / 'nothing')]) == 2


def test_pretraining_runs_are_found_by_the_backbones_that_came_from_them(runs, offer, tmp_path):
    for folder in runs.iterdir():
        record = json.loads((folder / 'run.json').read_text())
        record['backbone']['run'] = {'mixup': 'abc', 'cutmix': 'gone'}.get(record['name'])
        (folder / 'run.json').write_text(json.dumps(record))
    stage_1 = RunRecord('pre', 'classification', 'done', id='abc', command=['cls'], seed=0)
    stage_1.write(tmp_path / 'pre')
    dataclasses.replace(stage_1, id='other').write(tmp_path / 'other')
    material = page.gather([runs, tmp_path / 'pre', tmp_path / 'other'])
    assert list(material.sources) == ['abc']
    assert material.origins == {'mixup': 'abc', 'standard': None, 'cutmix': 'gone'}
    assert material.place(material.sources['abc'][0]) == 'pre'
    made = Page(page.render(page.chapters(material), material))
    assert '# pre, seed 0\ncls\n' in made.text
    assert 'Not pretrained by a run that is here: standard, cutmix.' in made.text
    assert '1 run of classification that no backbone of this table came from' in made.text
