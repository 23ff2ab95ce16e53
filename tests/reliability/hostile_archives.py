"""Archives, headers, lists and XML made to read and write where they should not: for figure R10."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    'hostile_files', Path(__file__).with_name('hostile_files.py'))
_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_files)
Hostile, add, prepare, voc_faults = _files.Hostile, _files.add, _files.prepare, _files.voc_faults


def tar(member, kind=tarfile.REGTYPE, link='', size=0):
    def make(w, trap):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode='w') as packed:
            for name, what in (('train/a/0.jpg', tarfile.REGTYPE), (member, kind)):
                info = tarfile.TarInfo(name.replace('OUTSIDE', str(trap.outside)))
                info.type, info.linkname = what, link.replace('OUTSIDE', str(trap.outside))
                info.size = size if name == member else 0
                packed.fileobj.write(info.tobuf()) if info.size else packed.addfile(info)
        return prepare(w, w.put('a.tar', data.getvalue()))
    return Hostile(make, 'a.tar')


def zipped(member, mode=0o644):
    def make(w, trap):
        data = io.BytesIO()
        with zipfile.ZipFile(data, 'w') as packed:
            packed.writestr('train/a/0.jpg', b'')
            info = zipfile.ZipInfo(member.replace('OUTSIDE', str(trap.outside)))
            info.external_attr = mode << 16
            packed.writestr(info, str(trap.outside / 'secret.txt'))
        return prepare(w, w.put('a.zip', data.getvalue()))
    return Hostile(make, 'a.zip')


def bomb(w, trap):
    """3000 members, each of which claims 4 GB in the directory of the archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as packed:
        for number in range(3000):
            packed.writestr(f'train/a/{number}.jpg', b'')
    content = re.sub(rb'(PK\x01\x02.{20})....', lambda found: found[1] + struct.pack(
        '<I', 2**32 - 2), data.getvalue(), flags=re.DOTALL)
    return prepare(w, w.put('a.zip', content))


def safetensors(header, data=b'\0' * 16):
    def make(w, trap):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return add(w, w.put('a.safetensors', len(text).to_bytes(8, 'little') + text + data))
    return Hostile(make, 'a.safetensors')


def tensor(*offsets):
    return dict(dtype='F32', shape=[2], data_offsets=list(offsets))


def voc(spoil, says):
    def make(w, trap):
        spoil(w.copy('voc') / 'VOC2007', trap)  # training reads it by the same judgement
        return ['refaug-det', 'data', 'check', w.home / 'voc']
    return Hostile(make, says)


def listed(line):
    return voc(lambda home, trap: voc_faults.add(
        line.replace('OUTSIDE', str(trap.outside)))(home), 'trainval.txt')


def xml(text, encoding='utf-8'):
    return voc(lambda home, trap: (home / voc_faults.XML).write_bytes(
        text.replace('OUTSIDE', str(trap.outside)).encode(encoding)), '000002.xml')


LAUGHS = '<!DOCTYPE a [<!ENTITY a0 "ha">' + ''.join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)) + (
    ']><annotation><object><name>&a9;</name></object></annotation>')
OUTER = ('<!DOCTYPE a [<!ENTITY x SYSTEM "file://OUTSIDE/secret.txt">]><annotation><object><name>'
         '&x;</name></object></annotation>')


def coco(name):
    def make(w, trap):
        value = dict(images=[dict(id=1, width=9, height=9, file_name=name.replace(
            'OUTSIDE', str(trap.outside)))], annotations=[], categories=[])
        for split in ('train', 'val'):
            w.put(f'coco/annotations/instances_{split}2017.json', json.dumps(value))
        return ['refaug-det', 'data', 'check', 'coco', '--root', w.home / 'coco']
    return Hostile(make, 'instances_train2017.json')


CASES = {
    'a tar that leads out': tar('../out'), 'an absolute tar': tar('OUTSIDE/out'),
    'a link in a tar': tar('train/a/x.jpg', tarfile.SYMTYPE, 'OUTSIDE/secret.txt'),
    'a hard link in a tar': tar('train/a/x.jpg', tarfile.LNKTYPE, 'OUTSIDE/secret.txt'),
    'a device in a tar': tar('train/a/x.jpg', tarfile.CHRTYPE),
    'a pipe in a tar': tar('train/a/x.jpg', tarfile.FIFOTYPE),
    'a bomb of a tar': tar('train/a/x.jpg', size=2**50),
    'a zip that leads out': zipped('../../out'), 'an absolute zip': zipped('OUTSIDE/out'),
    'a zip with backslashes': zipped('..\\..\\out'), 'a drive in a zip': zipped('C:\\out'),
    'a link in a zip': zipped('train/a/x.jpg', stat.S_IFLNK | 0o777),
    'a bomb of a zip': Hostile(bomb, 'a.zip'),
    'a header of 2 ** 60 bytes': Hostile(lambda w, trap: add(w, w.put(
        'a.safetensors', (1 << 60).to_bytes(8, 'little') + b'{}')), 'a.safetensors'),
    'a deep header': safetensors(b'{"a":' * 5000),
    'tensors that overlap': safetensors(dict(a=tensor(0, 8), b=tensor(4, 12))),
    'a tensor beyond the end': safetensors(dict(a=tensor(0, 8), b=tensor(8, 2**40))),
    'a negative offset': safetensors(dict(a=tensor(-8, 0))),
    'a list that leads out': listed('../../outside/secret'),
    'an absolute line': listed('OUTSIDE/secret'), 'a drive in a line': listed('C:\\secret'),
    'an outer entity': xml(OUTER), 'a billion laughs': xml(LAUGHS),
    'a billion laughs in UTF-16': xml(LAUGHS, 'utf-16'), 'an outer entity in UTF-16': xml(
        OUTER, 'utf-16'),
    'a file_name that leads out': coco('../../outside/secret.txt'),
    'an absolute file_name': coco('OUTSIDE/secret.txt'),
}
