"""Pickles, read as data: tensors and arrays come out, and no name in a file is ever looked up."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# What trainers leave beside the weights. The names stand for nothing: see `Inert`.
_BOOKKEEPING = (
    'argparse.Namespace', 'builtins.getattr', 'pathlib.PosixPath',
    'mmengine.config.config.ConfigDict', 'mmengine.logging.history_buffer.HistoryBuffer',
    'mmcv.utils.config.ConfigDict', 'numpy.ndarray', 'numpy.dtype',
    'numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar',
    'numpy.core.multiarray._reconstruct', 'numpy._core.multiarray._reconstruct')


class Inert:
    """Takes the place of an object in a file, takes what the file gives it, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_torch(path: Path) -> Any:
    """What `torch.save` wrote, through `weights_only`; bookkeeping objects come as `Inert`.

    Raises:
        Exception: of many types: not such a file, or one that names anything else.
    """
    with torch.serialization.safe_globals([(Inert, name) for name in _BOOKKEEPING]), \
            warnings.catch_warnings():
        warnings.simplefilter('ignore')  # on the protocol: it reads it, or it raises
        return torch.load(path, map_location='cpu', weights_only=True)


def load_arrays(path: Path) -> Any:
    """A plain pickle of numpy arrays, as detectron2 writes them; they come as tensors.

    Raises:
        Exception: of many types: not such a file, or one that names anything else.
    """
    with open(path, 'rb') as file:
        return _tensors(_ArraysOnly(file, encoding='latin1').load())


class _ArraysOnly(pickle.Unpickler):
    """Admits what numpy pickles an array of numbers with, each as a stand-in of ours.

    numpy's own functions are not called: they trust the state that they are given.
    """

    def find_class(self, module: str, name: str) -> Any:
        made = _STAND_INS.get((module.replace('numpy._core', 'numpy.core'), name))
        if made is None:
            raise pickle.UnpicklingError(f'it names {module}.{name}, which is no numpy array')
        return _Callable(made)


class _Callable:
    """A function that a pickle may call but not change."""

    __slots__ = ('_made',)

    def __init__(self, made: Callable[..., Any]) -> None:
        self._made = made

    def __call__(self, *args: Any) -> Any:
        return self._made(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('it changes a function')


class _Dtype:
    def __init__(self, code: str, *_: Any) -> None:
        self.code: Any = code
        self.order: Any = '='

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class _Array:
    def __init__(self, *_: Any) -> None:
        self.tensor: torch.Tensor | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.read(data, dtype, shape, 'F' if fortran else 'C')

    def read(self, data: bytes | str, dtype: _Dtype, shape: tuple, order: Any) -> _Array:
        import numpy as np

        kind = np.dtype(dtype.code)
        if kind.kind not in 'fiub':
            raise pickle.UnpicklingError(f'an array of {kind} is no weight')
        data = data.encode('latin1') if isinstance(data, str) else data
        array = np.frombuffer(data, kind.newbyteorder(dtype.order)).reshape(shape, order=order)
        self.tensor = torch.from_numpy(np.array(array, kind, order='C'))  # native, and its own
        return self


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ('numpy.core.multiarray', '_reconstruct'): _Array,
    ('numpy.core.numeric', '_frombuffer'): lambda *args: _Array().read(*args),
    ('numpy', 'ndarray'): Inert, ('numpy', 'dtype'): _Dtype,
    ('collections', 'OrderedDict'): dict,
    ('_codecs', 'encode'): lambda text, _: text.encode('latin1')}


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return value.tensor if isinstance(value, _Array) else value
