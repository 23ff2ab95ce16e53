"""`refaug-det show`: which images come first, what is drawn on them, the page, and refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from detection import detections
from detection import show as pictures
from refaug_det import cli
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord

A, B, FAR = (5, 5, 34, 34), (50, 10, 79, 39), (60, 50, 69, 59)
HOSTILE = '<script>alert(1)</script> $x^{$'


def scene(found, difficult=False):
    """Objects A of class 0 and B of class 1, and what was found: (box, label, score)."""
    return dict(image_sizes=(90, 70), gt_boxes=np.array([A, B]), gt_labels=np.array([0, 1]),
                gt_difficult=np.array([False, difficult]),
                boxes=np.array([box for box, *_ in found], float).reshape(-1, 4),
                labels=np.array([label for _, label, _ in found], int),
                scores=np.array([score for *_, score in found], float))


BOTH = [(A, 0, 0.9), (B, 1, 0.8)]
FIRST = [BOTH, [(A, 0, 0.9)], BOTH, [(FAR, 0, 0.9)]]
SECOND = [BOTH, [(B, 1, 0.9)], [*BOTH, (FAR, 1, 0.7), (FAR, 0, 0.6), (FAR, 0, 0.2)],
          [(FAR, 0, 0.8)]]


def kept(scenes, classes=('cat', '<b>dog</b>'), ids='abcd'):
    rows = [dict(scene(found, difficult=n == 0), image_ids=ids[n])
            for n, found in enumerate(scenes)]
    return detections.of_images(classes, rows)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'data' / 'VOC2007' / 'JPEGImages'
    folder.mkdir(parents=True)
    for n, name in enumerate('abcd'):
        Image.new('RGB', (90, 70), (40 * n, 90, 120)).save(folder / f'{name}.jpg')
    return tmp_path / 'data'


@pytest.fixture
def show(tmp_path, root, capsys):
    def run(*words, data_root=root):
        capsys.readouterr()
        code = cli.main(['show', *map(str, words), '--data-root', str(data_root),
                         '-o', str(tmp_path / 'out')])
        return (code, *capsys.readouterr())
    return run


@pytest.fixture
def runs(tmp_path):
    for name, scenes in (('one', FIRST), ('two', SECOND)):
        detections.save(kept(scenes), tmp_path / name / detections.FILE_NAME)
    RunRecord('x', 'detection', 'done', seed=3, backbone=dict(
        name=HOSTILE, sha256=None, run=None)).write(tmp_path / 'two')
    return tmp_path / 'one', tmp_path / 'two'


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = set(), [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data):
        self.text += data


def test_disagreement_is_what_only_one_finds_and_the_difference_of_false():
    looks = [pictures.look('', kept(scenes), 0.3, 0.5) for scenes in (FIRST, SECOND)]
    assert looks[0].lost.tolist() == [0, 1, 0, 2]  # the difficult object of the first is none
    assert looks[0].false.tolist() == [0, 0, 0, 1]
    assert looks[1].false.tolist() == [0, 0, 2, 1]  # a score of 0.2 is too low
    assert pictures.disagreement(looks).tolist() == [0, 2, 2, 0]
    assert pictures.disagreement(looks[:1]).tolist() == [0, 1, 0, 3]
    low = [pictures.look('', kept(scenes), 0.1, 0.5) for scenes in (FIRST, SECOND)]
    assert pictures.disagreement(low).tolist() == [0, 2, 3, 0]
    high = pictures.look('', kept(FIRST), 0.85, 0.5)
    assert high.lost.tolist() == [0, 1, 1, 2]


def test_what_is_drawn_tells_found_from_false_by_dashes_too(root):
    d = kept([[(A, 0, 0.9), ((52, 10, 95, 30), 0, 0.8), (FAR, 1, 0.2)], *FIRST[1:]])
    d = dataclasses.replace(d, gt_difficult=np.zeros_like(d.gt_difficult))
    one = pictures.look('run $a_', d, 0.3, 0.5)
    figure = pictures.draw(pictures.load_image(root, d, 0), [one], 0)
    truth, panel = figure.axes
    assert [text.get_text() for text in truth.texts] == ['cat', '<b>dog</b>']
    assert [text.get_text() for text in panel.texts] == [
        '<b>dog</b> not found', 'cat 0.80 both', 'cat 0.90']
    assert panel.get_title() == 'run $a_\n1 of 2 found, 1 false'
    dashes = {patch.get_linestyle(): patch.get_bbox().bounds for patch in panel.patches[2:]}
    assert len(dashes) == 3  # each its own
    assert len({style['color'] for style in pictures.STYLES.values()}) == len(pictures.STYLES)
    assert len({str(style['linestyle']) for style in pictures.STYLES.values()}) == 4
    found = panel.patches[-1]
    assert (found.get_linestyle(), found.get_bbox().bounds) == ('-', (5, 5, 29, 29))
    for text in panel.texts:
        assert 0 <= text.get_position()[0] < 90
        assert 0 <= text.get_position()[1] < 70


def test_labels_of_equal_boxes_do_not_cover_each_other(root):
    d = kept([[(A, 1, 0.9 - n / 20) for n in range(5)], *FIRST[1:]])
    figure = pictures.draw(pictures.load_image(root, d, 0), [pictures.look('', d, 0.3, 0.5)], 0)
    heights = [text.get_position()[1] for text in figure.axes[1].texts]
    assert len(heights) == 6
    assert min(np.diff(sorted(heights))) > 1


def test_a_page_with_the_largest_disagreement_first(show, runs, tmp_path):
    code, out, err = show(*runs, '--images', '3')
    assert (code, err) == (0, '')
    assert 'wrote 3 of 4 images' in out
    text = (tmp_path / 'out' / 'index.html').read_text()
    page = Page(text)
    assert page.sources == ['001.jpg', '002.jpg', '003.jpg']
    assert [text.index(f'<strong>{name}</strong>') for name in 'bca'] == sorted(
        text.index(f'<strong>{name}</strong>') for name in 'abc')
    assert 'disagreement 2; not found 1 and 1, false 0 and 0' in page.text
    assert 'script' not in page.tags
    assert f'{HOSTILE}, seed 3' in page.text
    assert '5 of 7' not in page.text
    assert '4 of 7' in page.text  # the first finds A, B (not difficult) of three scenes
    for name in page.sources:
        with Image.open(tmp_path / 'out' / name) as image:
            assert min(image.size) > 200
    before = {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    show(*runs, '--images', '3')
    assert {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before
    show(*runs[::-1], '--images', '3')
    assert (tmp_path / 'out' / '001.jpg').read_bytes() != before['001.jpg']


def test_one_run_alone_shows_its_errors(show, runs, tmp_path):
    assert show(runs[0], '--images', '1')[0] == 0
    page = Page((tmp_path / 'out' / 'index.html').read_text())
    assert 'd: errors 3; not found 2, false 1' in page.text
    code, out, err = show(runs[0], '--images', '1', '--json')
    assert (code, json.loads(out)) == (0, dict(output=str(tmp_path / 'out'), images=4, pictures=[
        dict(file='001.jpg', id='d', words='errors 3; not found 2, false 1')]))
    assert 'wrote 1 of 4 images' in err


@pytest.mark.parametrize(('spoil', 'words', 'said'), [
    (lambda root: (root / 'VOC2007/JPEGImages/b.jpg').unlink(), (), 'no such image'),
    (lambda root: (root / 'VOC2007/JPEGImages/b.jpg').write_text('no'), (), 'cannot decode'),
    (lambda root: Image.new('RGB', (70, 90)).save(root / 'VOC2007/JPEGImages/b.jpg'), (),
     'the image is 70 x 90'),
    (lambda root: None, ('--score', '1.5'), '--score 1.5'),
    (lambda root: None, ('--images', '0'), '--images 0'),
    (lambda root: None, ('--iou', '0'), '--iou 0'),
    (lambda root: (root.parent / 'out').write_text('a file'), (), 'cannot write')])
def test_refusals_are_three_lines(show, runs, root, tmp_path, spoil, words, said):
    spoil(root)
    code, _, err = show(*runs, *words)
    assert (code, len(err.strip().splitlines())) == (2, 3)
    assert said in err
    assert not (tmp_path / 'out' / 'index.html').exists()


@pytest.mark.parametrize(('change', 'said'), [
    (dict(scenes=FIRST[:3]), 'image_ids differ'), (dict(classes=('cat', 'cow')), 'classes differ'),
    (dict(ids='abce'), 'image_ids differ')])
def test_runs_on_other_data_are_refused(show, runs, tmp_path, change, said):
    detections.save(kept(**{'scenes': FIRST, **change}), tmp_path / 'three' / 'detections.npz')
    code, _, err = show(runs[0], tmp_path / 'three')
    assert code == 2
    assert said in err


def test_images_are_found_in_every_layout(root):
    d = kept(FIRST)
    pixels = pictures.load_image(root, d, 1)
    year = root / 'VOC2007'
    assert np.array_equal(pictures.load_image(year, d, 1), pixels)
    year.rename(root / 'VOC2012')
    assert np.array_equal(pictures.load_image(root, d, 1), pixels)
    (root / 'val2017').mkdir()
    shutil.copy(root / 'VOC2012/JPEGImages/b.jpg', root / 'val2017/7.jpg')
    coco = kept(FIRST, ids=['val2017/6.jpg', 'val2017/7.jpg', 'c', 'd'])
    assert np.array_equal(pictures.load_image(root, coco, 1), pixels)
    assert not np.array_equal(pictures.load_image(root, coco, 2), pixels)
    with pytest.raises(UserError, match=r'no such image: val2017/6\.jpg'):
        pictures.load_image(root, coco, 0)
    shutil.copytree(root / 'VOC2012', root / 'VOC2007')
    with pytest.raises(UserError, match='there are 2 such images: b') as error:
        pictures.load_image(root, d, 1)
    assert 'that was tested' in error.value.fix


@pytest.mark.parametrize('name', ['../a', '/etc/a', 'x/../../a', '..\\a'])
def test_an_id_does_not_lead_out_of_the_folder(show, tmp_path, root, name):
    detections.save(kept(FIRST[-1:], ids=[name]), tmp_path / 'bad' / 'detections.npz')
    Image.new('RGB', (90, 70)).save(root / 'VOC2007' / 'a.jpg')
    code, _, err = show(tmp_path / 'bad')
    assert code == 2
    assert 'leads out of the folder' in err
