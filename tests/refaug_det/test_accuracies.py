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


@pytest.mark.parametrize(('name', 'text'), [
    ('a.csv', ''), ('a.csv', 'backbone,accuracy\n'), ('a.csv', 'standard;76\n'),
    ('a.csv', 'a,1\nb,many\n'), ('a.csv', 'a,1\na,2\n'), ('a.csv', 'a,1\na,1\n'),
    ('a.csv', 'a,nan\n'), ('a.csv', 'a,1,2\n'), ('a.json', '{'), ('a.json', '{}'),
    ('a.json', '{"a": [1]}'), ('a.json', '{"a": null}'), ('a.json', '{"a": 1, "a": 2}'),
    ('a.json', '{"a": Infinity}'), ('a.json', '3'), ('a.csv', b'a,\xff\n'), ('b.csv', None)])
def test_files_that_hold_no_accuracies(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert name in error.value.where
    assert 'backbone,accuracy' in error.value.fix
    assert 'Traceback' not in str(error.value)
