"""VOC by name: prepared whole from archives or not at all, and checked."""

from __future__ import annotations

import hashlib
import shutil
import tarfile

import pytest
from mmdet.datasets import CocoDataset, VOCDataset
from torchvision.datasets import voc as torchvision_voc

import detection.train  # noqa: F401  (registration)
from detection import voc_source
from detection.datasets import refuse_faults
from detection.toy import write_voc
from detection.voc_source import VOCSource, Year
from refaug_det.cli import main
from refaug_det.data import sources
from refaug_det.errors import UserError
from refaug_det.runs import config as configs

TOY = ('arrow', 'comb', 'crescent', 'cross', 'disc', 'ring', 'square', 'star')
COUNTS = dict(train=2, val=2, trainval=4, test=2)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp('whole') / 'data'
    write_voc(root, trainval=4, test=2, size=(96, 80), seed=4)
    return root


@pytest.fixture
def archives(whole, tmp_path, monkeypatch):
    """The two archives of VOC 2007, of which the second repeats a file of the first."""
    made = {}
    for key, name in (('2007', 'a.tar'), ('2007-test', 'b.tar')):
        ids = [f'{n:06d}' for n in ((1, 2, 3, 4) if key == '2007' else (4, 5, 6))]
        lists = ('train', 'val', 'trainval') if key == '2007' else ('test',)
        with tarfile.open(tmp_path / name, 'w') as tar:
            for file in [*(f'ImageSets/Main/{split}.txt' for split in lists),
                         *(f'Annotations/{i}.xml' for i in ids),
                         *(f'JPEGImages/{i}.jpg' for i in ids)]:
                tar.add(whole / 'VOC2007' / file, f'VOCdevkit/VOC2007/{file}')
        made[key] = dict(filename=name, url='http://localhost:9/' + name,
                         md5=hashlib.md5((tmp_path / name).read_bytes()).hexdigest())
    monkeypatch.setattr(torchvision_voc, 'DATASET_YEAR_DICT', made)
    return [tmp_path / 'a.tar', tmp_path / 'b.tar']


MINI = VOCSource('voc2007', 'small', {'VOC2007': Year(COUNTS, ('2007', '2007-test'))}, TOY)


def test_the_published_classes_and_counts():
    assert VOCDataset.METAINFO['classes'] == voc_source.CLASSES
    years = voc_source.YEARS
    assert (years['VOC2007'].images['trainval'], years['VOC2007'].images['test']) == (5011, 4952)
    assert years['VOC2012'].images['trainval'] == 11540
    for year in years.values():
        assert year.images['train'] + year.images['val'] == year.images['trainval']
        assert set(year.archives) <= set(torchvision_voc.DATASET_YEAR_DICT)
    assert len(CocoDataset.METAINFO['classes']) == sources.source('coco').classes == 80
    for name in ('voc2007', 'voc2012', 'voc0712', 'voc-folder', 'coco', 'coco-folder'):
        assert '\n' not in sources.source(name).about


def test_voc_is_prepared_from_its_two_archives(archives, tmp_path):
    root = tmp_path / 'data'
    assert MINI.prepare(root, archives) == f'extracted 18 files to {root / "VOC2007"}'
    report = MINI.check(root)
    assert (report.data_set, report.images, report.faults) == ('voc2007', COUNTS, [])
    assert 'already' in MINI.prepare(root, [])
    assert [path.name for path in root.iterdir()] == ['VOC2007']
    (root / 'VOC2007' / 'ImageSets' / 'Main' / 'test.txt').unlink()
    with pytest.raises(UserError, match='no such list'):
        MINI.prepare(root, archives)


def test_archives_beside_the_data_are_found(archives, tmp_path):
    assert 'extracted' in MINI.prepare(tmp_path, [])


def test_what_prepare_of_voc_refuses(archives, tmp_path, whole):
    root = tmp_path / 'data'
    with pytest.raises(UserError, match=r'cannot download b\.tar'):
        MINI.prepare(root, archives[:1])
    with pytest.raises(UserError, match='no archive of the data set'):
        MINI.prepare(root, [tmp_path / 'c.tar'])
    few = VOCSource('voc2007', 'small', {'VOC2007': Year(dict(COUNTS, test=3), (
        '2007', '2007-test'))}, TOY)
    with pytest.raises(UserError, match='test has 2 images, not 3'):
        few.prepare(root, archives)
    archives[1].write_bytes(archives[1].read_bytes()[:-99])
    with pytest.raises(UserError, match='not the published one'):
        MINI.prepare(root, archives)
    assert not root.exists() or list(root.iterdir()) == []
    differing = tmp_path / 'other' / 'VOC2007'
    shutil.copytree(whole / 'VOC2007', differing)
    (differing / 'Annotations' / '000001.xml').write_text('<annotation/>')
    shutil.copytree(whole, tmp_path / 'target')
    with pytest.raises(UserError, match=r'differ in Annotations/000001\.xml'):
        voc_source.merge(differing, tmp_path / 'target' / 'VOC2007', 'b.tar')


def test_two_years_in_one_check(whole, tmp_path):
    both = VOCSource('voc0712', 'both', {'VOC2007': Year(COUNTS, ()), 'VOC2012': Year(COUNTS, ())},
                     TOY)
    shutil.copytree(whole / 'VOC2007', tmp_path / 'VOC2007')
    assert [each.where for each in both.check(tmp_path).faults] == [str(tmp_path / 'VOC2012')]
    shutil.copytree(whole / 'VOC2007', tmp_path / 'VOC2012')
    report = both.check(tmp_path)
    assert report.images['VOC2012 trainval'] == report.images['VOC2007 trainval'] == 4
    assert report.faults == []


def test_a_class_that_voc_has_not(whole):
    assert main(['data', 'check', 'voc2007', '--root', str(whole), '--quick', '--json']) == 2
    found = VOCSource('voc2007', '', {'VOC2007': Year(COUNTS, ())}).check(whole).faults
    assert {each.kind for each in found} == {'unknown class'}


def test_a_folder_of_ones_own_from_an_archive(whole, tmp_path, capsys):
    archive = shutil.make_archive(str(tmp_path / 'own'), 'zip', whole, 'VOC2007')
    words = ['data', 'prepare', 'voc-folder', '--root', str(tmp_path / 'data')]
    assert main([*words, '--from', archive]) == 0
    assert main(words) == 0
    assert main(['data', 'check', str(tmp_path / 'data')]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [said[0].startswith('extracted'), 'already' in said[1], said[2].endswith('no faults')]
    with pytest.raises(UserError, match='nothing to prepare'):
        sources.source('voc-folder').prepare(tmp_path / 'none', [])


def test_a_run_on_both_years(whole, tmp_path):
    shutil.copytree(whole / 'VOC2007', tmp_path / 'VOC2007')
    shutil.copytree(whole / 'VOC2007', tmp_path / 'VOC2012')
    cfg = configs.load('configs/det/faster_rcnn_r50_fpn_voc0712.py', {})
    configs.check_keys(cfg, 'voc0712')
    for part in ('train_dataloader', 'test_dataloader'):
        cfg[part].dataset.update(data_root=str(tmp_path), metainfo=dict(classes=TOY))
    refuse_faults(cfg)
    (tmp_path / 'VOC2012' / 'Annotations' / '000001.xml').unlink()
    with pytest.raises(UserError, match='no annotation') as error:
        refuse_faults(cfg)
    assert 'VOC2012' in error.value.where
