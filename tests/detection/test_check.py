"""Every fault of VOC data: what the check says, and that training does just that."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from mmdet.datasets import VOCDataset

import detection.train  # noqa: F401  (registration)
from detection.check import RULES, box_fault
from detection.datasets import RefAugLoadImage, RefAugVOCDataset, refuse_faults
from detection.toy import write_voc
from detection.voc_folders import check_home
from refaug_det.cli import main
from refaug_det.errors import UserError, exits_cleanly

_spec = importlib.util.spec_from_file_location(
    'voc_faults', Path(__file__).with_name('voc_faults.py'))
faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faults)

CLASSES = ['arrow', 'comb', 'crescent', 'cross', 'disc', 'ring', 'square', 'star']
OF_SETS = ('other filename', 'in two lists')  # not of one image: a dataset cannot see them


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp('small') / 'voc'
    write_voc(root, trainval=4, test=2, size=(96, 80), seed=4)  # 4: no class is in test only
    return root


@pytest.fixture
def home(small, tmp_path):
    shutil.copytree(small, tmp_path / 'voc')
    return tmp_path / 'voc' / 'VOC2007'


def settings(home, split='trainval', **more):
    return dict(type='RefAugVOCDataset', data_root=str(home.parent),
                ann_file=f'VOC2007/ImageSets/Main/{split}.txt',
                data_prefix=dict(sub_data_root='VOC2007/'), pipeline=[RefAugLoadImage()],
                filter_cfg=dict(filter_empty_gt=True, min_size=0, bbox_min_size=0),
                metainfo=dict(classes=CLASSES), serialize_data=False, **more)


def dataset(home, **more):
    made = settings(home, **more)
    made.pop('type')
    return RefAugVOCDataset(**made)


def config(home):
    test = dict(settings(home, 'test', test_mode=True), filter_cfg=None)
    return {'train_dataloader': dict(dataset=settings(home)),
            'test_dataloader': dict(dataset=test)}


def test_the_table_is_of_the_size_it_claims():
    assert len(faults.FATAL) == 33
    assert len(faults.SILENT) == 12


def test_a_clean_set_has_no_fault(home):
    report = check_home(home, classes=CLASSES)
    assert report.images == {'train': 2, 'val': 2, 'trainval': 4, 'test': 2}
    assert (report.classes, report.faults) == (7, [])
    made = dataset(home)
    assert (made.dropped, made.noted) == ({}, {})
    refuse_faults(config(home))


@pytest.mark.parametrize('name', faults.CASES)
def test_the_check_names_fault_file_and_remedy(home, name):
    case = faults.CASES[name]
    case.spoil(home)
    found = check_home(home, classes=CLASSES).faults
    first = [each for each in found if each.kind == case.kind]
    assert len(first) == 1, found
    assert first[0].where == str(home / case.file)
    assert (first[0].level, first[0].fix) == RULES[case.kind]
    assert {each.kind for each in found} <= {case.kind, 'no image', 'class never trained'}
    if case.kind in ('bad object', 'unknown class', 'degenerate box', 'spaces in class'):
        assert first[0].what.startswith('object 1 (')


@pytest.mark.parametrize('name', faults.CASES)
def test_training_does_what_the_check_says(home, name):
    """Of the training list: refused, or dropped and counted, or noted and counted."""
    case = faults.CASES[name]
    clean = dataset(home)
    case.spoil(home)
    if name == 'PNG cut off':  # only decoding tells: refused when training meets it
        with pytest.raises(UserError) as error:
            [each for each in dataset(home)]
        assert faults.JPG in error.value.where
    elif name in faults.FATAL:
        with pytest.raises(UserError) as error:
            dataset(home)
        assert error.value.where == str(home / case.file) or case.kind == 'no annotation'
    else:
        made = dataset(home)
        more = made.summary()['objects'] - clean.summary()['objects']
        assert more == {'repeated id': 0, 'repeated object': 1, 'no objects': -4}.get(
            case.kind, -(name in faults.DROPPED))
        assert made.dropped == (
            {case.kind: 1} if name in faults.DROPPED else
            {'image without objects': 1} if case.kind == 'no objects' else {})
        noted = name in faults.NOTES and case.kind not in OF_SETS
        assert made.noted == ({case.kind: 1} if noted else {})
        assert len(made) == 4 - (case.kind == 'no objects')
        assert made.summary()['truncated'] == ['000002.jpg'] * (case.kind == 'breaks off')


@pytest.mark.parametrize('name', faults.SILENT)
def test_stock_mmdet_is_silent_about_twelve(home, name):
    """Else the case would prove nothing: they are those that nobody is told of."""
    faults.CASES[name].spoil(home)
    made = {key: value for key, value in settings(home).items() if key != 'type'}
    assert len(VOCDataset(**made))


@pytest.mark.parametrize('name', faults.FATAL)
def test_a_refusal_is_three_lines_and_exit_2(home, capsys, name):
    case = faults.FATAL[name]
    case.spoil(home)
    training = exits_cleanly(lambda: refuse_faults(config(home)))
    if name != 'PNG cut off':
        assert training() == 2
        err = capsys.readouterr().err
        assert Path(case.file).stem in err
        assert '  fix: ' in err
        assert len(err.splitlines()) == 3
    voc2007 = exits_cleanly(lambda: main(['data', 'check', str(home)]))
    if name != 'unknown class':  # any class is known in a folder of one's own
        assert voc2007() == 2
        said = capsys.readouterr()
        assert said.err == ''
        assert any(str(home / case.file) in line for line in said.out.splitlines())


@pytest.mark.parametrize(('name', 'code', 'start'), [
    ('zero area', 2, 'dropped: object 1 ('), ('box sticks out', 0, 'note: object 1 ('),
    ('JPEG cut off', 0, 'note: the JPEG breaks off'), ('no image', 2, 'a listed image is not')])
def test_exit_codes_and_lines(home, capsys, name, code, start):
    faults.CASES[name].spoil(home)
    assert main(['data', 'check', str(home)]) == code
    line, summary = capsys.readouterr().out.splitlines()
    assert line.startswith(start)
    assert summary.startswith(f'voc-folder in {home}: train 2, val 2, trainval 4, test 2 images')
    assert summary.endswith('1 fault' if code else 'no faults, 1 note')


def test_as_json_and_quick(home, capsys):
    faults.CASES['inverted box'].spoil(home)
    faults.image('PNG', cut=900)(home)
    assert main(['data', 'check', str(home.parent), '--json', '--quick']) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found['data_set'], found['root']) == ('voc-folder', str(home.parent))
    assert found['faults'] == [dict(
        kind='degenerate box', level='dropped', where=str(home / faults.XML),
        fix=RULES['degenerate box'][1], what=found['faults'][0]['what'])]
    assert 'x 20 to 9, y 20 to 9' in found['faults'][0]['what']
    main(['data', 'check', str(home.parent), '--json'])
    kinds = [each['kind'] for each in json.loads(capsys.readouterr().out)['faults']]
    assert kinds == ['bad image', 'degenerate box']


def test_the_worst_comes_first(home, capsys):
    for name in ('JPEG cut off', 'zero area', 'duplicate id'):
        faults.CASES[name].spoil(home)
    faults.remove('Annotations/000005.xml')(home)
    main(['data', 'check', str(home)])
    lines = capsys.readouterr().out.splitlines()[:-1]
    assert [line.partition(': ')[0] for line in lines] == [
        'a listed image has no annotation', 'dropped', 'dropped', 'note']


def test_a_name_cannot_steer_the_terminal(home, capsys):
    faults.sub('<name>.*?<', '<name>\u202eevil<')(home)
    assert exits_cleanly(lambda: refuse_faults(config(home)))() == 2
    faults.add('\x1b[2J\x07')(home)
    faults.box(9, 9, 9, 9)(home)
    assert main(['data', 'check', str(home)]) == 2
    said = capsys.readouterr()
    for stream in said:
        assert not {'\x1b', '\x07', '\u202e'} & set(stream)
        assert '\\u202eevil' in stream
    assert '\\x1b[2J' in said.out


def test_a_set_that_was_renumbered_is_not_reported_image_by_image(home):
    for number in range(2, 7):
        file = f'Annotations/{number:06d}.xml'
        faults.sub('<filename>.*?<', f'<filename>{number - 1:06d}.jpg<', file)(home)
        kinds = [each.kind for each in check_home(home, quick=True).faults]
        assert kinds == ['other filename'] * (number - 1) * (number <= 4)


def test_classes_that_look_alike_and_lists_that_do_not_fit(home):
    faults.sub('<name>comb<', '<name>Comb<')(home)
    assert [each.kind for each in check_home(home).faults] == ['similar classes']
    faults.sub('<name>.*?<', '<name>unicorn<', 'Annotations/000005.xml')(home)  # of test
    assert [each.kind for each in check_home(home).faults] == [
        'class never trained', 'similar classes']
    report = check_home(home, expected={'trainval': 4, 'test': 3})
    assert 'test has 2 images, not 3' in [each.what for each in report.faults]


@pytest.mark.parametrize(('box', 'kind'), [
    ((1, 1, 96, 80), None), ((96, 80, 97, 81), 'box sticks out'),
    ((95, 79, 96, 80), None), ((97, 1, 99, 9), 'box outside the image'),
    ((0, 0, 1, 9), 'box outside the image'), ((0, 1, 2, 9), 'box from 0'),
    ((-1, 1, 2, 9), 'box sticks out'), ((5, 5, 5, 9), 'degenerate box')])
def test_boxes_at_the_border(box, kind):
    found = box_fault(box, (96, 80))
    assert (found and found[0]) == kind
    if kind == 'box outside the image':
        assert box_fault(box, (0, 0)) is None or box[0] == 0
