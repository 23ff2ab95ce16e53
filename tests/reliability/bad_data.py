"""Data that cannot be trained on: VOC, class folders, COCO, CIFAR, Tiny-ImageNet and archives."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

TESTS = Path(__file__).parents[1]


def neighbour(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_world = neighbour(Path(__file__).with_name('bad_world.py'))
Case, ROOT = _world.Case, _world.ROOT
voc_faults = neighbour(TESTS / 'detection' / 'voc_faults.py')


def of_voc(fault, trains=True):
    """A fatal fault of tests/detection/voc_faults.py, through the check or through training."""
    def words(w):
        root = w.copy('voc')
        fault.spoil(root / 'VOC2007')
        return w.det(data=root) if trains else ['refaug-det', 'data', 'check', root]
    return Case(words, Path(fault.file).stem)


def voc(spoil, says, *words):
    """Another way to spoil a VOC folder; trained on, or named on a command line."""
    def made(w):
        root = w.copy('voc')
        spoil(root / 'VOC2007')
        return [word if word != 'ROOT' else root for word in words] if words else w.det(data=root)
    return Case(made, says)


def instead(name, folder=False):
    """A file, or a folder, in place of what is there."""
    def spoil(home):
        path = home / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.mkdir() if folder else path.write_text('')
    return spoil


def looped(name):
    def spoil(home):
        (home / name).unlink()
        (home / name).symlink_to(home / name)
    return spoil


def images(spoil, says, *words):
    """A way to spoil class folders; trained on, or checked."""
    def made(w):
        root = w.copy('images')
        spoil(root)
        return [word if word != 'ROOT' else root for word in words] if words else w.cls(data=root)
    return Case(made, says)


def coco(value, says='instances_train2017.json'):
    """An annotation file of COCO with this content."""
    def made(w):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        w.put('coco/annotations/instances_train2017.json', data)
        w.put('coco/annotations/instances_val2017.json', json.dumps(
            dict(images=[], annotations=[], categories=[])))
        return ['refaug-det', 'data', 'check', 'coco', '--root', w.home / 'coco']
    return Case(made, says)


def rows(image=(), annotation=(), category=()):
    return dict(images=[{**dict(id=1, file_name='a.jpg', width=9, height=9), **dict(image)}],
                annotations=[{**dict(id=1, image_id=1, category_id=1, bbox=[1, 1, 5, 5], area=25,
                                     iscrowd=0), **dict(annotation)}],
                categories=[{**dict(id=1, name='cat'), **dict(category)}])


def archive(name, content, data_set='image-folder', says=None):
    """`data prepare` from an archive with this content."""
    return Case(lambda w: ['refaug-det', 'data', 'prepare', data_set, '--root', w.home / 'data',
                           '--from', w.put(name, content() if callable(content) else content)],
                says or name)


def tar(*members):
    def made():
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode='w') as packed:
            for name in members:
                packed.addfile(tarfile.TarInfo(name), io.BytesIO())
        return data.getvalue()
    return made


def zipped(name, content=b'', **changes):
    def made():
        data = io.BytesIO()
        with zipfile.ZipFile(data, 'w') as packed:
            packed.writestr(name, content)
        return data.getvalue()
    return made


def words(*words):
    return Case(lambda w: ['refaug-det', *(w.home / word[5:] if word.startswith('HOME/') else word
                                           for word in words)], words[-1].removeprefix('HOME/'))


def cifar(w):
    w.put('cifar-10-batches-py/batches.meta', pickle.dumps({'label_names': ['a']}))
    return w.cls(config=ROOT / 'configs/cls/cifar10/cifar10_preact18_standard.py',
                 data=w.home)[:4]


VOC = {f'{name}, trained on': of_voc(fault) for name, fault in voc_faults.FATAL.items()
       if name not in ('PNG cut off', 'unknown class')} | {
    f'{name}, checked': of_voc(fault, False) for name, fault in voc_faults.FATAL.items()
    if name != 'unknown class'} | {
    'no VOC folder': Case(lambda w: w.det(data=w.home / 'gone'), 'gone'),
    'a file as VOC folder': Case(lambda w: w.det(data=w.put('file')), 'file'),
    'a list that is a folder': voc(instead('ImageSets/Main/trainval.txt', True), 'trainval.txt'),
    'a list that is a loop': voc(looped('ImageSets/Main/trainval.txt'), 'trainval.txt'),
    'an XML that is a folder': voc(instead('Annotations/000001.xml', True), '000001.xml'),
    'an XML that is a loop': voc(looped('Annotations/000001.xml'), '000001.xml'),
    'an image that is a folder': voc(instead('JPEGImages/000001.jpg', True), '000001.jpg'),
    'an image that is a loop': voc(looped('JPEGImages/000001.jpg'), '000001.jpg'),
    'no annotations': voc(lambda home: shutil.rmtree(home / 'Annotations'), 'Annotations'),
    'annotations that are a file': voc(instead('Annotations'), 'Annotations'),
    'UTF-16 list': voc(voc_faults.text('000001\n'.encode('utf-16'), voc_faults.TRAINVAL),
                       'trainval.txt'),
    'NUL in a list': voc(voc_faults.add('0000\x0001'), 'trainval.txt'),
    'a very long line': voc(voc_faults.add('0' * 5000), 'trainval.txt'),
    'deep XML': voc(voc_faults.text('<annotation>' + '<a>' * 200_000), '000002.xml'),
    'a class of the command line that is not there': Case(
        lambda w: [*w.det()[:-1], 'unicorn'], 'unicorn'),
    'classes that are empty': Case(lambda w: [*w.det()[:-1], ' , '], '--classes'),
    'a probe of no folder': voc(lambda home: shutil.rmtree(home), 'VOC2007', 'refaug-det',
                                'analyze', 'probe', 'random:resnet18', '--data-root', 'ROOT'),
    'two layouts': voc(lambda home: (home.parent / 'train' / 'a').mkdir(parents=True), 'voc',
                       'refaug-det', 'data', 'check', 'ROOT'),
}
FOLDERS = {
    'no folder': Case(lambda w: w.cls(data=w.home / 'gone'), 'gone'),
    'a file as folder': Case(lambda w: w.cls(data=w.put('file')), 'file'),
    'empty folder': Case(lambda w: w.cls(data=w.put('a/b').parent), 'train'),
    'no class folder': images(lambda r: [shutil.rmtree(r / 'train' / n) for n in ('cat', 'dog')],
                              'train'),
    'a class without images': images(lambda r: [p.unlink() for p in (r / 'train/cat').iterdir()],
                                     'train/cat'),
    'a class in train only': images(lambda r: shutil.rmtree(r / 'val/cat'), 'val'),
    'no val': images(lambda r: shutil.rmtree(r / 'val'), 'val'),
    'val is a file': images(lambda r: [shutil.rmtree(r / 'val'), (r / 'val').write_text('')],
                            'val'),
    'a page as image': images(lambda r: (r / 'train/cat/0.jpg').write_text('<html>'), '0.jpg'),
    'empty image': images(lambda r: (r / 'train/cat/0.jpg').write_bytes(b''), '0.jpg'),
    'an image that is a folder': images(instead('train/cat/0.jpg', True), '0.jpg'),
    'an image that is a loop': images(looped('train/cat/0.jpg'), '0.jpg'),
    'a loop of folders': images(lambda r: (r / 'train').rename(r / 'x') and (
        r / 'train').symlink_to(r / 'train'), 'train'),
    'an SVG as JPEG': images(lambda r: (r / 'val/dog/0.jpg').write_text('<svg/>'), '0.jpg'),
    'a bomb of a PNG': images(lambda r: (r / 'val/dog/0.jpg').write_bytes(
        b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0' + bytes(4)),
        '0.jpg'),
    'a page as image, checked': images(lambda r: (r / 'train/cat/0.jpg').write_text('<html>'),
                                       '0.jpg', 'refaug-det', 'data', 'check', 'ROOT'),
    'a class that is not there': Case(lambda w: w.cls('--classes', 'cat,cow'), 'cow'),
    'a class twice': Case(lambda w: w.cls('--classes', 'cat,cat'), 'cat'),
    'CIFAR whose files are others': Case(cifar, 'cifar-10-batches-py'),
    'no Tiny-ImageNet': words('data', 'check', 'tiny-imagenet', '--root', 'HOME/'),
    'ids of Tiny-ImageNet that are none': Case(lambda w: [
        'refaug-det', 'data', 'check', 'tiny-imagenet', '--root',
        w.put('tiny-imagenet-200/wnids.txt', '\0\xff../x').parents[1]], 'wnids.txt'),
}
COCO = {
    'empty JSON': coco(b''), 'no JSON': coco(b'<html>'), 'a list': coco([]),
    'UTF-16 JSON': coco(json.dumps(rows()).encode('utf-16')),
    'deep JSON': coco(b'[' * 200_000), 'no list of images': coco(rows() | dict(images=3)),
    'images of text': coco(rows() | dict(images=['a'])),
    'file_name that leads out': coco(rows(image=dict(file_name='../../secret'))),
    'file_name of a number': coco(rows(image=dict(file_name=3))),
    'width of nan': coco(rows(image=dict(width=float('nan')))),
    'negative width': coco(rows(image=dict(width=-5))),
    'huge number': coco(rows(annotation=dict(bbox=[1, 1, 10**400, 5]))),
    'box of nan': coco(rows(annotation=dict(bbox=[1, 1, float('nan'), 5]))),
    'box of text': coco(rows(annotation=dict(bbox='1,1,5,5'))),
    'an id that is a list': coco(rows(annotation=dict(image_id=[1]))),
    'a category without name': coco(rows(category=dict(name=None))),
    'no COCO': words('data', 'check', 'coco', '--root', 'HOME/'),
}
ARCHIVES = {
    'empty archive': archive('a.zip', b''), 'a page as archive': archive('a.zip', b'<html>'),
    'half a tar': archive('a.tar', lambda: tar('train/a/b.jpg', 'x' * 90)()[:700]),
    'a tar that leads out': archive('a.tar', tar('../out')),
    'a zip that leads out': archive('a.zip', zipped('../../out')),
    'NUL in a member': archive('a.zip', lambda: zipped('train/aXb')().replace(b'aXb', b'a\0b')),
    'very long name in a tar': archive('a.tar', tar('train/' + 'x' * 5000),
                                        says='train/x'),
    'no train in an archive': archive('a.tar', tar('val/a/b.jpg')),
    'archive that is a folder': Case(lambda w: [
        'refaug-det', 'data', 'prepare', 'image-folder', '--root', w.home / 'data', '--from',
        w.put('a.tar/b').parent], 'a.tar'),
    'no such archive': words('data', 'prepare', 'image-folder', '--root', 'data', '--from',
                             'HOME/gone.zip'),
    'no archive': words('data', 'prepare', 'image-folder', '--root', 'HOME/data'),
    'a root that is a file': Case(lambda w: [
        'refaug-det', 'data', 'prepare', 'image-folder', '--root', w.put('file'), '--from',
        w.put('a.tar', tar('train/a/b.jpg')())], 'file'),
    'another CIFAR': archive('cifar-10-python.tar.gz', tar('x'), 'cifar10'),
    'two archives of one': Case(lambda w: [
        'refaug-det', 'data', 'prepare', 'cifar10', '--root', w.home, '--from', w.put('a'),
        '--from', w.put('b')], '--from'),
    'an archive that VOC has not': archive('mine.tar', tar('x'), 'voc2007'),
    'a VOC archive without annotations': archive('mine.tar', tar('x'), 'voc-folder'),
    'COCO without its archives': words('data', 'prepare', 'coco', '--root', 'HOME/data'),
    'ImageNet without its archives': words('data', 'prepare', 'imagenet', '--root', 'HOME/data'),
    'unknown data set': words('data', 'prepare', '--root', '/x', 'cifar11'),
    'check of a missing folder': words('data', 'check', 'HOME/gone'),
    'check of a file': Case(lambda w: ['refaug-det', 'data', 'check', w.put('file')], 'file'),
    'check of a folder of nothing': Case(lambda w: ['refaug-det', 'data', 'check', w.home],
                                         'here'),
}
CASES = {f'{table}, {name}': case for table, cases in (
    ('VOC', VOC), ('folder', FOLDERS), ('COCO', COCO), ('archive', ARCHIVES))
    for name, case in cases.items()}
