"""Accuracies that a person gives in a file; those of runs: test_transfer_command.py."""

from __future__ import annotations

import pytest

from refaug_det.comparison.accuracies import read
from refaug_det.errors import UserError


@pytest.mark.parametrize(('name', 'text'), [
    ('a.csv', 'backbone,top-1\n"a, b",76.1\ntorchvision://resnet50,80\n'),
    ('a.csv', '\ufeff"a, b",76.1\r\n\r\n torchvision://resnet50 , 8e1'),
    ('a.txt', '"a, b",76.1\ntorchvision://resnet50,80\n'),
    ('a.JSON', '{"a, b": 76.1, "torchvision://resnet50": 80}')])
def test_files_of_accuracies(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding='utf-8')
    assert read(tmp_path / name) == {'a, b': 76.1, 'torchvision://resnet50': 80.0}


@pytest.mark.parametrize(('name', 'text', 'told'), [
    ('a.csv', '', 'no accuracy'), ('a.csv', 'backbone,accuracy\n', 'no accuracy'),
    ('a.csv', 'a,1\na,2\n', 'two of one'), ('a.csv', 'a,1\na,1\n', 'two of one'),
    ('a.csv', 'a,nan\n', 'not finite'), ('a.json', '{', 'Expecting property name'),
    ('a.json', '{}', 'no accuracy'), ('a.json', '{"a": [1]}', 'not \'list\''),
    ('a.json', '{"a": null}', 'NoneType'), ('a.json', '{"a": 1, "a": 2}', 'two of one'),
    ('a.json', '{"a": Infinity}', 'not finite'), ('a.json', '3', 'no object'),
    ('a.json', '["a1"]', 'no object'), ('a.json', '{"a": "many"}', 'many'),
    ('a.json', '{"a": true, "b": 2}', "true or false for 'a'"),
    ('a.json', '{"a": %s}' % ('9' * 400), 'too large'), ('a.json', '[' * 10**5, 'recursion'),
    ('a.json', '{"a":' * 10**5, 'recursion'), ('a.csv', b'a,\xff\n', 'utf-8'),
    ('b.csv', None, 'No such file')])
def test_files_that_hold_no_accuracies(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert told in error.value.what
    assert name in error.value.where
    assert 'backbone,accuracy' in error.value.fix
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize(('text', 'line'), [
    ('standard;76\n', 1), ('a,1\nb,many\n', 2), ('a,1,2\n', 1), ('a,1\n\n"b\n",1\nc\n', 5),
    ('standard,n/a\nb,1\n', 1), ('standard,80%\nb,1\n', 1), ('standard,\nb,1\n', 1),
    ('standard,accuracy\nb,1\n', 1), ('other,80%\nb,1\n', 1), ('other,N/A\nb,1\n', 1),
    ('other,-\nb,1\n', 1), ('name,top-1,top-5\nb,1\n', 1)])
def test_a_line_that_cannot_be_read_is_named_and_no_header(tmp_path, text, line):
    (tmp_path / 'a.csv').write_text(text)
    with pytest.raises(UserError, match='no backbone and accuracy') as error:
        read(tmp_path / 'a.csv', ['standard', 'b'])
    assert error.value.where.endswith(f'a.csv, line {line}')


@pytest.mark.parametrize('header', ['Backbone,top-1', 'NAME , 80%', 'model,accuracy (percent)'])
def test_a_header_is_no_backbone(tmp_path, header):
    (tmp_path / 'a.csv').write_text(f'{header}\nstandard,76\n')
    assert read(tmp_path / 'a.csv', ['standard']) == {'standard': 76}
    (tmp_path / 'a.csv').write_text('name,75\nstandard,76\n')
    assert read(tmp_path / 'a.csv', ['standard']) == {'name': 75, 'standard': 76}
