"""The report in a browser: Chromium, driven by chromedriver over its own protocol."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from types import SimpleNamespace

import pytest
from PIL import Image

from refaug_det import report
from refaug_det.comparison.compare import METRIC
from refaug_det.reports import sections
from refaug_det.reports.sections import Picture, Section
from refaug_det.runs.records import RunRecord

DRIVER = shutil.which('chromedriver')
pytestmark = pytest.mark.skipif(
    not DRIVER or not (shutil.which('chromium') or shutil.which('google-chrome')),
    reason='no chromium and chromedriver here')
ENTER, SPACE = '\ue007', '\ue00d'
LONG = 'W' * 300  # a name without a place to break it
NAMES = ('b', 'a10', 'a9', LONG)
LIVE = '</title></style><img src=x onerror=throw><script>throw 1</script>"\' onload=x y="'
OPTIONS = ['--headless=new', '--no-first-run', *(f'--disable-{what}' for what in (
    'gpu', 'quic', 'sync', 'background-networking', 'component-update', 'dev-shm-usage'))]


class Browser:
    """One session of the WebDriver protocol, with its logs."""

    def __init__(self, port, profile):
        root = ['--no-sandbox'] if os.geteuid() == 0 else []
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.root = f'http://127.0.0.1:{port}/session'
        self.root += '/' + self.call('POST', '', capabilities=dict(alwaysMatch={
            'goog:chromeOptions': dict(args=[*OPTIONS, *root, f'--user-data-dir={profile}']),
            'goog:loggingPrefs': dict(browser='ALL', performance='ALL')}))['sessionId']

    def call(self, method, path, **body):
        request = urllib.request.Request(
            self.root + path, method=method, headers={'Content-Type': 'application/json'},
            data=json.dumps(body).encode() if method == 'POST' else None)
        with self.opener.open(request, timeout=60) as answer:
            return json.load(answer)['value']

    def run(self, script, *args):
        return self.call('POST', '/execute/sync', script=script, args=list(args))

    def cdp(self, command, **params):
        return self.call('POST', '/goog/cdp/execute', cmd=command, params=params)

    def log(self, kind):
        return self.call('POST', '/se/log', type=kind)

    def open(self, path, width=1200, **media):
        self.cdp('Emulation.setDeviceMetricsOverride', width=width, height=800,
                 deviceScaleFactor=1, mobile=width < 600)
        self.cdp('Emulation.setEmulatedMedia', media=media.pop('kind', ''), features=[
            dict(name='prefers-color-scheme', value=media.pop('scheme', 'light')),
            dict(name='prefers-reduced-motion', value='reduce')])  # a click waits for no scrolling
        self.log('browser'), self.log('performance')  # what was before is forgotten
        self.call('POST', '/url', url=path.as_uri())

    def errors(self):
        return [row['message'] for row in self.log('browser')
                if row['level'] in ('SEVERE', 'WARNING')]

    def requests(self):
        found = [json.loads(row['message'])['message'] for row in self.log('performance')]
        return [row['params']['request']['url'] for row in found
                if row['method'] == 'Network.requestWillBeSent']


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    driver = subprocess.Popen([DRIVER, '--port=0'], stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, HOME=str(tmp_path_factory.mktemp('home'))))
    try:
        said = next(line for line in driver.stdout if 'successfully on port' in line)
        port = re.search(r'port (\d+)', said)[1]
        session = Browser(port, tmp_path_factory.mktemp('profile'))
        yield session
        session.call('DELETE', '')
    finally:
        driver.terminate()
        driver.wait()


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """Four backbones, one with a long name, two runs each, and pictures."""
    folder = tmp_path_factory.mktemp('page')
    for number, name in enumerate(NAMES):
        for seed in (0, 1):
            value = (80.0, 9.5, 70.0, 60.0)[number] + seed
            metrics = {METRIC: value, f'{METRIC}/cat': value, f'{METRIC}/{LIVE}': value / 2}
            RunRecord(name, 'detection', 'done', seed=seed, protocol={'epochs': 12},
                      metrics=metrics, command=['python', LONG, LIVE], notes=[LONG, LIVE],
                      backbone=dict(name=name, sha256=name, run=None)).write(
                          folder / f'{number}-{seed}')

    def pictures(material):
        from refaug_det.figures import panels, to_svg

        data = io.BytesIO()
        Image.new('RGB', (900, 60), (20, 90, 30)).save(data, format='jpeg')
        with panels(2) as (figure, _):
            pass
        return Section(LONG, (LONG,), pictures=(
            Picture(to_svg(figure), 'svg', 'Two panels', LONG),
            *(Picture(data.getvalue(), 'jpeg', f'Photo {n}', LIVE, 'Photos') for n in range(3))))

    point = SimpleNamespace(name='more.pictures', load=lambda: pictures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, 'entry_points', lambda group: [point])
        return report([folder], folder / 'report.html', title=LONG)


def test_it_opens_without_error_and_asks_for_nothing(browser, page, tmp_path):
    browser.open(page)
    time.sleep(0.2)
    assert browser.errors() == []
    assert [url for url in browser.requests() if not url.startswith('data:')] == [page.as_uri()]
    assert browser.run('return [...document.images].filter(i => !i.naturalWidth).length') == 0
    spoilt = tmp_path / 'spoilt.html'
    spoilt.write_text(page.read_text('utf-8').replace(
        '<footer>', '<img src="http://127.0.0.1:9/x.png"><p style="color:red"></p>'
        '<script>document.title = "taken"</script><footer>'), 'utf-8')
    browser.open(spoilt)
    time.sleep(0.2)
    assert len([line for line in browser.errors() if 'Content Security Policy' in line]) >= 3
    assert browser.run('return document.title') == LONG  # what was put in did not run


def test_every_picture_has_a_text(browser, page):
    browser.open(page)
    assert browser.run('return [...document.images].map(i => i.alt.trim())') == [
        'Two panels', 'Photo 0', 'Photo 1', 'Photo 2']
    plots = browser.run('return document.querySelectorAll("svg[role=img][aria-label]").length')
    assert plots == len(NAMES) == browser.run('return document.querySelectorAll("td svg").length')
    assert browser.run('return document.documentElement.lang') == 'en'


ORDER = ('const t = document.querySelectorAll("table")[0]; return [[...t.tBodies[0].rows].map('
         'r => r.cells[0].textContent.trim()), [...t.tHead.rows[0].cells].map('
         'c => c.getAttribute("aria-sort"))]')
BUTTON = 'return document.querySelectorAll("table")[0].tHead.rows[0].cells[arguments[0]]' \
    '.querySelector("button")'


def test_tables_sort_by_click_and_by_key(browser, page):
    browser.open(page)
    by_value = ['b', 'a9', LONG, 'a10']
    assert browser.run(ORDER)[0] == by_value

    def press(column, key=None):
        element = next(iter(browser.run(BUTTON, column).values()))
        if key is None:
            browser.call('POST', f'/element/{element}/click')
        else:
            browser.run('arguments[0].focus()', browser.run(BUTTON, column))
            browser.call('POST', f'/element/{element}/value', text=key)
        return browser.run(ORDER)

    order, marks = press(0)
    assert order == ['a9', 'a10', 'b', LONG]  # as people count, not letter by letter
    assert marks[0] == 'ascending'
    assert press(0)[0] == [LONG, 'b', 'a10', 'a9']
    order, marks = press(1, ENTER)
    assert order == by_value
    assert (marks[0], marks[1]) == (None, 'descending')
    order, marks = press(1, SPACE)
    assert order == by_value[::-1]  # 9.5 is less than 60, as a number
    assert marks[1] == 'ascending'
    assert browser.run('return document.querySelector("[role=status]").textContent') == (
        'Sorted by mean ± sd, ascending')
    order, _ = press(4)  # differences; the baseline is there as a word, and counts as 0
    assert order == by_value
    assert browser.errors() == []


def test_it_fits_a_phone(browser, page):
    beyond = 'const d = document.documentElement; return d.scrollWidth - d.clientWidth'
    for width in (320, 375, 1200):
        browser.open(page, width=width)
        assert browser.run('return innerWidth') == width
        assert browser.run(beyond) == 0
    wider = ('return [...document.querySelectorAll(".scroll")].filter('
             'x => x.scrollWidth > x.clientWidth).length')
    on_a_screen = browser.run(wider)
    browser.open(page, width=375)
    assert browser.run(wider) > on_a_screen  # tables scroll, the page does not
    browser.run('document.querySelector("main").append("x".repeat(200));'
                'document.styleSheets[0].insertRule("body {overflow-wrap: normal !important}")')
    assert browser.run(beyond) > 0  # the control


CONTRAST = '''
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce(
    (sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const numbers = text => text.match(/[\\d.]+/g).map(Number).map(
    v => text.startsWith('color(') ? v * 255 : v);
const ground = element => {
  for (let at = element; at; at = at.parentElement) {
    const found = numbers(getComputedStyle(at).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
};
const seen = [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length);
return seen.map(e => {
  const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})'''


def test_light_and_dark_differ_and_both_can_be_read(browser, page):
    grounds, filters = [], []
    for scheme in ('light', 'dark'):
        browser.open(page, scheme=scheme)
        grounds.append(browser.run('return getComputedStyle(document.body).backgroundColor'))
        filters.append(browser.run('return getComputedStyle(document.images[0]).filter'))
        found = browser.run(CONTRAST, 'h1, h2, h3, p, a, dt, dd, th, td, code, li, figcaption')
        assert len(found) > 50
        assert min(found) >= 4.5
    assert len(set(grounds)) == 2
    assert (filters[0], filters[1].split('(')[0]) == ('none', 'invert')
    assert browser.run('return getComputedStyle(document.images[1]).filter') == 'none'  # a photo


def test_on_paper_it_is_light_and_without_contents(browser, page):
    browser.open(page, scheme='dark')
    display = 'return getComputedStyle(document.querySelector("nav")).display'
    assert browser.run(display) != 'none'
    browser.open(page, scheme='dark', kind='print')
    assert browser.run(display) == 'none'
    assert browser.run('return getComputedStyle(document.body).backgroundColor') == (
        'rgb(255, 255, 255)')
    assert min(browser.run(CONTRAST, 'h1, p, td, dt')) >= 4.5
