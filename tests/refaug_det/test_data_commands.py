"""`refaug-det data`: data sets by name, faults as lines, and the exit code."""

import importlib.metadata
import json
import tarfile

import pytest
from PIL import Image

from refaug_det.cli import main
from refaug_det.data import commands, sources
from refaug_det.data.inspection import Expected, count_faults, image_faults
from refaug_det.data.sources import Fault, Report
from refaug_det.errors import UserError

NAMES = ['cifar10', 'cifar100', 'image-folder', 'imagenet', 'tiny-imagenet']


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / 'own' / split / name).mkdir(parents=True)
            Image.new('RGB', (20, 20)).save(tmp_path / 'own' / split / name / '0.jpg')
    return tmp_path / 'own'


def test_all_data_sets_are_offered():
    assert set(NAMES) <= set(sources.names())
    for name in NAMES:
        found = sources.source(name)
        assert found.about
        assert '\n' not in found.about
    with pytest.raises(UserError) as caught:
        sources.source('cifar-10')
    assert "'cifar10'" in caught.value.fix


def test_those_of_other_packages_too(monkeypatch, tmp_path, capsys):
    class Own:
        about = 'mine'

        def prepare(self, root, archives):
            return f'{root.name} from {[path.name for path in archives]}'

        def check(self, root, quick=False):
            return Report('own', str(root), {'train': int(quick)}, 1)

    point = importlib.metadata.EntryPoint('own', 'own:source', sources.GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, 'load', lambda self: Own())
    monkeypatch.setattr(sources, 'entry_points', lambda **kwargs: [point])
    assert commands.prepare('own', root=tmp_path / 'x', archives=[tmp_path / 'a.tar']) == 0
    assert commands.check('own', root=tmp_path, quick=True) == 0
    assert capsys.readouterr().out == (
        f"x from ['a.tar']\nown in {tmp_path}: train 1 images, 1 classes: no faults\n")


def test_check_on_the_command_line(root, capsys):
    words = ['data', 'check', 'image-folder', '--root', str(root)]
    assert main(words) == 0
    assert capsys.readouterr().out == (
        f'image-folder in {root}: train 2, val 2 images, 2 classes: no faults\n')
    (root / 'val' / 'cat' / 'b.jpg').write_bytes(b'no image')
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err == ''
    lines = said.out.splitlines()
    assert lines == [
        f'no image, whatever its name says: {root / "val" / "cat" / "b.jpg"} '
        '(restore the file, or remove it)',
        f'image-folder in {root}: train 2, val 3 images, 2 classes: 1 fault']


def test_check_as_json(root, capsys):
    words = ['data', 'check', 'image-folder', '--root', str(root), '--json', '--quick']
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == dict(
        data_set='image-folder', root=str(root), images={'train': 2, 'val': 2}, classes=2,
        faults=[])
    broken = root / 'val' / 'cat' / '0.jpg'
    broken.write_bytes(broken.read_bytes()[:-9])
    assert main(words) == 0  # quick: headers only
    assert main([word for word in words if word != '--quick']) == 2
    assert json.loads(capsys.readouterr().out.partition('}\n')[2])['faults'] == [
        dict(what='the JPEG breaks off', where=str(broken), fix='restore the file, or remove it',
             level='fatal')]


def test_a_folder_is_recognised(root, tmp_path, capsys):
    assert main(['data', 'check', str(root)]) == 0
    assert capsys.readouterr().out.startswith(f'image-folder in {root}: train 2')
    (root / 'wnids.txt').write_text('n00000001')
    assert main(['data', 'check', str(root)]) == 2
    assert 'image-folder and tiny-imagenet' in capsys.readouterr().err
    (tmp_path / 'empty').mkdir()
    for name, said in (('gone', 'no such folder'), ('empty', 'no known data set')):
        assert main(['data', 'check', str(tmp_path / name)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 3


def test_many_faults_do_not_bury_the_summary(root, capsys):
    for number in range(commands.SHOWN + 7):
        (root / 'val' / 'dog' / f'b{number}.png').write_bytes(b'')
    assert main(['data', 'check', 'image-folder', '--root', str(root), '--quick']) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == commands.SHOWN + 2
    assert lines[-2] == '... and 7 more: --json shows all'
    assert lines[-1].endswith(f'{commands.SHOWN + 7} faults')


def test_a_name_cannot_steer_the_terminal(root, capsys):
    (root / 'val' / 'cat' / '\x1b[2J\n.png').write_bytes(b'')
    assert main(['data', 'check', 'image-folder', '--root', str(root)]) == 2
    out = capsys.readouterr().out
    assert '\x1b' not in out
    assert len(out.splitlines()) == 2


def test_prepare_on_the_command_line(root, tmp_path, capsys):
    with tarfile.open(tmp_path / 'own.tar', 'w') as tar:
        tar.add(root, 'own')
    words = ['data', 'prepare', 'image-folder', '--root', str(tmp_path / 'data')]
    assert main([*words, '--from', str(tmp_path / 'own.tar')]) == 0
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert 'extracted 4 files' in said[0]
    assert 'already' in said[1]
    assert main([*words, '--json']) == 0
    assert json.loads(capsys.readouterr().out) == dict(
        data_set='image-folder', root=str(tmp_path / 'data'), done=said[1])


@pytest.mark.parametrize('words', [
    ['prepare', 'imagenet', '--root', '{root}'], ['prepare', 'nothing', '--root', '{root}'],
    ['check', 'nothing', '--root', '{root}'], ['prepare', 'image-folder', '--root', '{root}'],
    ['prepare', 'image-folder', '--root', '{root}', '--from', '{root}/a.tar'],
    ['prepare', 'cifar10', '--root', '{root}', '--from', '{root}/a.tar'], ['check', 'cifar10']])
def test_errors_are_three_lines(tmp_path, capsys, words):
    assert main(['data', *(word.format(root=tmp_path / 'data') for word in words)]) == 2
    said = capsys.readouterr()
    assert said.out == ''
    assert 2 <= len(said.err.splitlines()) <= 3
    assert said.err.startswith('error: ')
    assert not (tmp_path / 'data').exists()


def test_numbers_of_images():
    counts = {'cat': 5, 'dog': 5}
    assert count_faults('val', 'here', counts, 2, Expected(10, 5, 5)) == []
    assert count_faults('val', 'here', counts, 2, Expected(10, 4, 6)) == []
    whats = [fault.what for fault in count_faults('val', 'here', counts, 3, Expected(11, 6, 7))]
    assert whats == ['val has 2 classes, not 3', 'val has 10 images, not 11',
                     'class cat of val has 5 images, not 6 to 7',
                     'class dog of val has 5 images, not 6 to 7']


def test_faults_come_in_the_order_of_the_files(tmp_path):
    paths = [tmp_path / f'{number}.png' for number in range(200)]
    for number, path in enumerate(paths):
        Image.new('L', (8 + number % 2, 8)).save(path)
    faults = image_faults(paths, size=(8, 8))
    assert [fault.where for fault in faults] == [str(path) for path in paths[1::2]]
    assert faults[0] == Fault('the image has 9 x 8 pixels, not 8 x 8', str(paths[1]),
                              'restore the file, or remove it')
    assert image_faults([tmp_path / 'nowhere.png'])[0].what.startswith('cannot read')
