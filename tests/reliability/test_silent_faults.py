"""Figure R9: what stock mmdet is silent about is reported, and clean data raise no alarm.

That mmdet is silent about them is seen in tests/detection/test_check.py.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from classification.toy import write_image_folder
from detection.toy import write_voc
from refaug_det import cli

_spec = importlib.util.spec_from_file_location(
    'voc_faults', Path(__file__).parents[1] / 'detection' / 'voc_faults.py')
voc_faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(voc_faults)


@pytest.fixture
def check(capsys):
    """`check(folder)` is what `refaug-det data check` reports of it, and its exit code."""
    def run(*words):
        capsys.readouterr()
        code = cli.main(['data', 'check', *map(str, words), '--json'])
        return json.loads(capsys.readouterr().out)['faults'], code
    return run


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp('small') / 'voc'
    write_voc(root, trainval=4, test=2, size=(96, 80), seed=4)
    return root


def missed(check, small, home, name) -> bool:
    """Whether the check says nothing of a spoilt file, or not with what is to be done."""
    shutil.copytree(small / 'VOC2007', home / 'VOC2007')
    case = voc_faults.CASES[name]
    case.spoil(home / 'VOC2007')
    words = [home] if case.kind != 'unknown class' else ['voc2007', '--root', home, '--quick']
    found = [fault for fault in check(*words)[0] if fault['kind'] == case.kind]
    return not any(fault['where'].endswith(case.file) and fault['fix'] for fault in found)


@pytest.mark.figure('R9')
@pytest.mark.parametrize('name', voc_faults.SILENT)
def test_what_is_silent_elsewhere_is_reported(check, small, tmp_path, name, tally):
    silent = missed(check, small, tmp_path, name)
    tally(silent, 1)
    assert not silent


@pytest.mark.figure('R9')
@pytest.mark.parametrize('name', ['zero area', 'inverted box', 'box outside', 'box sticks out'])
def test_a_check_that_does_not_look_misses_it(check, small, tmp_path, name, monkeypatch):
    monkeypatch.setattr('detection.voc_xml.box_fault', lambda box, size: None)
    assert missed(check, small, tmp_path, name)


@pytest.mark.figure('R9')
def test_clean_data_raise_no_alarm(check, tmp_path, tally, full):
    sets = []
    for seed in range(20 if full else 3):
        sets += [tmp_path / f'voc{seed}', tmp_path / f'images{seed}']
        write_voc(sets[-2], trainval=24, test=8, size=(64 + 16 * (seed % 5), 64), seed=seed)
        write_image_folder(sets[-1], 3, 2, size=32, seed=seed)
    found = {folder: check(folder) for folder in sets}
    alarms = {folder.name: said for folder, said in found.items() if said != ([], 0)}
    tally(len(alarms), len(sets))
    assert not alarms


@pytest.mark.figure('R9')
def test_the_odd_but_right_raises_no_alarm(check, small, tmp_path, tally):
    """Grey images, boxes at the borders, an image that is difficult alone, CRLF in lists."""
    home = Path(shutil.copytree(small, tmp_path / 'voc')) / 'VOC2007'
    with Image.open(home / voc_faults.JPG) as image:
        size = image.size
        image.convert('L').save(home / voc_faults.JPG)
    voc_faults.box(1, 1, *size)(home)
    voc_faults.sub('<difficult>0<', '<difficult>1<')(home)
    path = home / voc_faults.TRAINVAL
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))
    found, code = check(tmp_path / 'voc')
    tally(len(found), 1)
    assert (found, code) == ([], 0)
