"""Hostile files: every payload is live, none runs; what trainers leave beside weights is inert."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import os
import pickle
import runpy
import subprocess
import time
import timeit
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

from refaug_det.backbones.formats import read_checkpoint, read_weights
from refaug_det.errors import UserError

WEIGHTS = {'conv1.weight': torch.arange(6.0).view(2, 3)}


class Calls:
    """Unpickling this calls a function, or what another such call returns."""

    def __init__(self, function, *args) -> None:
        self.made = function, args

    def __reduce__(self):
        return self.made

    def __call__(self) -> None:
        """Never called: pickle wants functions to be callable."""


def payloads(mark: Path) -> dict[str, object]:
    """Each makes the file `mark` when it is unpickled by someone trusting."""
    code = f'__import__("pathlib").Path({str(mark)!r}).touch()'
    script = mark.with_name('script.py')
    script.write_text(code)
    return {
        'path': Calls(Path.touch, mark), 'open': Calls(open, str(mark), 'w'),
        'eval': Calls(eval, code), 'exec': Calls(exec, code),
        'system': Calls(os.system, f'touch {mark}'),
        'subprocess': Calls(subprocess.call, ['touch', str(mark)]),
        'partial': Calls(functools.partial(Path.touch, mark)),
        'getattr': Calls(Calls(getattr, mark, 'touch')),  # its names are known as bookkeeping
        'runpy': Calls(runpy.run_path, str(script)),
        'timeit': Calls(timeit.timeit, code, 'pass', time.perf_counter, 1)}


PAYLOADS = ('path', 'open', 'eval', 'exec', 'system', 'subprocess', 'partial', 'getattr', 'runpy',
            'timeit')


def hidden(kind: str, payload: object) -> object:
    """The payload somewhere in a checkpoint that is otherwise honest."""
    return {'beside': {'state_dict': WEIGHTS, 'meta': payload},
            'key': {'state_dict': WEIGHTS, 'epoch': {1: [(payload,)]}},
            'config': {'state_dict': WEIGHTS, 'meta': {'config': payload, 'cfg': payload}},
            'bookkeeping': {'model': WEIGHTS, 'args': argparse.Namespace(x=payload)}}[kind]


@pytest.mark.parametrize('kind', ['beside', 'key', 'config', 'bookkeeping'])
@pytest.mark.parametrize('name', PAYLOADS)
def test_no_payload_runs_in_a_torch_file(tmp_path, monkeypatch, name, kind):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # a user's, for other programs
    mark = tmp_path / 'mark'
    value = hidden(kind, payloads(mark)[name])
    torch.save(value, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='not a weights file that can be read safely') as caught:
        read_weights(tmp_path / 'a.pth')
    assert len(str(caught.value).splitlines()) == 3
    assert not mark.exists()
    torch.load(tmp_path / 'a.pth', weights_only=False)
    assert mark.exists()  # the payload is live


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize('name', PAYLOADS)
def test_no_payload_runs_in_a_pickle(tmp_path, name, protocol):
    mark = tmp_path / 'mark'
    data = pickle.dumps({'model': {'stem.conv1.weight': np.zeros(2)},
                         '__author__': payloads(mark)[name]}, protocol=protocol)
    for file in ('a.pkl', 'a.pth', 'a.safetensors'):
        (tmp_path / file).write_bytes(data)
        with pytest.raises(UserError, match='not a weights file that can be read safely'):
            read_weights(tmp_path / file)
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists()


def test_what_an_error_says_of_a_payload(tmp_path):
    torch.save({'x': Calls(eval, '1')}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='it holds eval, which could run code') as caught:
        read_weights(tmp_path / 'a.pth')
    assert 'weights_only=False' in caught.value.fix


@pytest.mark.parametrize('header', [
    (1 << 60).to_bytes(8, 'little') + b'{}', (200 << 20).to_bytes(8, 'little') + b'{' * 100,
    (64).to_bytes(8, 'little') + b'{"a":{"dtype":"F32","shape":[9000000000],"data_offsets":[0,8]}',
    (8).to_bytes(8, 'little') + b'[' * 8, b'\0' * 8])
def test_hostile_safetensors_headers_are_refused(tmp_path, header):
    (tmp_path / 'a.safetensors').write_bytes(header)
    with pytest.raises(UserError, match='not a weights file'):
        read_weights(tmp_path / 'a.safetensors')


def test_a_zip_that_is_no_checkpoint(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as file:
        file.writestr('../../evil', 'x')
    with pytest.raises(UserError, match='not a weights file'):
        read_weights(tmp_path / 'a.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']


@pytest.mark.parametrize('change', [
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\n}(X\x08\x00\x00\x00__code__K\x01ub.',
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct.__globals__\n.',
    b'\x80\x02ccollections\nOrderedDict\nN}X\x01\x00\x00\x00aK\x01s\x86b.',
    b'\x80\x02ccollections\nOrderedDict\n)\x81.', b'\x80\x02cnumpy\nndarray\n)\x81}b.',
    b'\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.', b'\x80\x02I1\nQ.'])
def test_a_pickle_cannot_change_what_it_may_name(tmp_path, change):
    (tmp_path / 'a.pkl').write_bytes(change)
    with pytest.raises(UserError):
        read_weights(tmp_path / 'a.pkl')
    assert not hasattr(collections.OrderedDict, 'a')


@pytest.mark.parametrize('dtype', ['O', 'S3', 'V4', 'M8[s]', 'f4,i4'])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, dtype):
    array = np.zeros(2, dtype)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps({'a': array}))
    with pytest.raises(UserError):
        read_weights(tmp_path / 'a.pkl')


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
def test_arrays_come_out_of_a_pickle_as_they_went_in(tmp_path, protocol):
    generator = np.random.default_rng(0)
    arrays = {'c': generator.random((2, 3, 4), np.float32), 'half': np.float16([1, 2.5]),
              'fortran': np.asfortranarray(generator.random((3, 2))), 'count': np.int64([7]),
              'big': np.float32([1, 2]).astype('>f4'), 'view': np.arange(12.0)[::3],
              'scalar': np.array(5.0)}
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(
        {'model': collections.OrderedDict(arrays), '__author__': 'x'}, protocol=protocol))
    found = read_checkpoint(tmp_path / 'a.pkl')
    assert found.meta == {'author': 'x'}
    assert found.tensors.keys() == arrays.keys()
    for key, array in arrays.items():
        assert found.tensors[key].shape == array.shape
        assert np.array_equal(found.tensors[key].numpy(), array)
    assert not np.array_equal(found.tensors['big'].numpy(), arrays['big'].view('<f4'))


def test_a_pickle_of_numpy_under_its_old_name(tmp_path):
    data = pickle.dumps({'a': np.float32([1, 2])}, protocol=2)
    old = data.replace(b'numpy._core', b'numpy.core')
    (tmp_path / 'a.pkl').write_bytes(old)
    assert torch.equal(read_weights(tmp_path / 'a.pkl')['a'], torch.tensor([1.0, 2]))


def test_bookkeeping_of_trainers_is_passed_over(tmp_path):
    history = HistoryBuffer([1.0], [1])
    value = dict(state_dict=WEIGHTS, meta=dict(cfg='a = 1', best=np.float64(3),
                                               dataset_meta=ConfigDict(classes=('a',))),
                 message_hub=dict(log_scalars={'train/loss': history},
                                  state=np.random.RandomState(0).get_state()),
                 args=argparse.Namespace(lr=1))
    torch.save(value, tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError):  # what plain torch says of it
        torch.load(tmp_path / 'a.pth', weights_only=True)
    before = set(torch.serialization.get_safe_globals())
    found = read_checkpoint(tmp_path / 'a.pth')
    assert torch.equal(found.tensors['conv1.weight'], WEIGHTS['conv1.weight'])
    assert found.meta['cfg'] == 'a = 1'
    assert found.beside == ('meta', 'message_hub', 'args')
    assert not isinstance(found.meta['best'], np.float64)
    assert set(torch.serialization.get_safe_globals()) == before  # other programs see nothing


def test_a_legacy_torch_file_is_read_the_same_way(tmp_path):
    buffer = io.BytesIO()
    torch.save({'state_dict': WEIGHTS, 'args': argparse.Namespace(lr=1)}, buffer,
               _use_new_zipfile_serialization=False)
    (tmp_path / 'a.pth').write_bytes(buffer.getvalue())
    assert torch.equal(read_weights(tmp_path / 'a.pth')['conv1.weight'], WEIGHTS['conv1.weight'])
