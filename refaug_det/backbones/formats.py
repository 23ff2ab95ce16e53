"""Weights files and state dicts: read safely, match completely, or stop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from refaug_det.backbones import unpickling
from refaug_det.errors import UserError

_CONTAINERS = ('state_dict', 'model', 'model_state_dict')
_COUNTER = 'num_batches_tracked'  # BN's counter: old files lack it, nothing depends on it


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor.

    Attributes:
        matched, missing, unused: keys of the model that were found, that were
            not, and keys of the file that no one asked for.
        wrong_shape: `key: shape in the file, shape in the model`, with the type
            where it is not floating point.
        likely_prefix: prefix under which the file holds the missing keys, if any.
        initialised: keys that are not in the file, and were allowed not to be.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    wrong_shape: tuple[str, ...]
    likely_prefix: str = ''
    initialised: tuple[str, ...] = ()

    @property
    def foreign(self) -> tuple[str, ...]:
        """Unused keys inside modules that were matched: another depth or variant."""
        roots = {key.split('.')[0] for key in self.matched}
        return tuple(key for key in self.unused
                     if key.split('.')[0] in roots and not key.endswith(_COUNTER))

    @property
    def whole(self) -> bool:
        return bool(self.matched) and not (self.missing or self.wrong_shape or self.foreign)

    def __str__(self) -> str:
        unused = sorted({key.split('.')[0] for key in self.unused})
        return (f'{len(self.matched)} tensors matched, {len(self.missing)} missing, '
                f'{len(self.wrong_shape)} of another shape, {len(self.unused)} unused'
                + (f' ({", ".join(unused[:4])})' if unused else '')
                + (f', {len(self.initialised)} left as initialised' if self.initialised else ''))


@dataclass(frozen=True)
class Checkpoint:
    """A weights file.

    Attributes:
        tensors: by key. Of several networks without a usual container, such as
            DINO's, the keys begin with the network's name (`teacher.`).
        meta: what the file says of itself (OpenMMLab's `meta`, detectron2's
            `__author__`); plain values from an unknown hand.
        beside: other entries of the file, which were not read.
    """

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()


def match(model_state: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]) -> LoadReport:
    """Compare the keys and shapes of a model with those of a file."""
    wanted = {k: v for k, v in model_state.items() if not k.endswith(_COUNTER)}
    common = [k for k in wanted if k in weights]
    wrong = [k for k in common if _kind(weights[k]) != _kind(wanted[k])]
    missing = [k for k in wanted if k not in weights]
    return LoadReport(
        matched=tuple(k for k in common if k not in wrong),
        missing=tuple(missing),
        unused=tuple(k for k in weights if k not in model_state),
        wrong_shape=tuple(f'{k}: {_kind(weights[k])}, {_kind(wanted[k])}' for k in wrong),
        likely_prefix=_likely_prefix(missing, weights))


def below(weights: dict[str, torch.Tensor], prefix: str, module: torch.nn.Module,
          source: object) -> dict[str, torch.Tensor]:
    """The weights whose keys begin with `prefix`, without it.

    Raises:
        UserError: there are none; it names the prefix under which `module` would be found.
    """
    found = {key.removeprefix(prefix): value for key, value in weights.items()
             if key.startswith(prefix)}
    if not found:
        likely = match(module.state_dict(), weights).likely_prefix
        raise UserError(f'no key in the file begins with {prefix!r}', source,
                        f'the keys seem to begin with {likely!r}' if likely else
                        f'its first key is {next(iter(weights), None)!r}')
    return found


def load_whole(module: torch.nn.Module, weights: dict[str, torch.Tensor],
               source: object, allow_missing: Sequence[str] = ()) -> LoadReport:
    """Load weights into a module, or leave it as it is and say what is wrong.

    Args:
        module: loaded in place.
        weights: by the module's keys.
        source: what errors call them.
        allow_missing: keys, or patterns such as `layer4.*`, that stay as
            initialised where `weights` lacks them.

    Raises:
        UserError: a tensor of the module is not in `weights`, has another
            shape there, or is a convolution of zeros; or `weights` is of another depth.
    """
    report = match(module.state_dict(), weights)
    allowed = tuple(key for key in report.missing
                    if any(fnmatchcase(key, pattern) for pattern in allow_missing))
    report = replace(report, initialised=allowed, missing=tuple(
        key for key in report.missing if key not in allowed))
    if not report.whole:
        if report.likely_prefix:
            fix = f'the keys seem to begin with {report.likely_prefix!r}: strip it'
        elif report.foreign:
            fix = f'the file is of another architecture: it also holds {report.foreign[0]}'
        else:
            fix = 'use weights of this architecture, with torchvision\'s key names'
        first = ', '.join((report.missing or report.wrong_shape or report.foreign)[:3])
        raise UserError(f'the backbone did not load whole: {report}; first: {first}', source, fix)
    empty = [key for key in report.matched if weights[key].ndim == 4 and not weights[key].any()]
    if empty:
        raise UserError(f'{len(empty)} convolutions of the file are all zero; first: {empty[0]}',
                        source, 'get it again: it may be incomplete')
    module.load_state_dict(weights, strict=False)
    return report


def read_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors, .pth or .pkl file; see `read_checkpoint`."""
    return read_checkpoint(path).tensors


def read_checkpoint(path: Path | str) -> Checkpoint:
    """A .safetensors, .pth or detectron2 .pkl file; nothing in the file is executed.

    Raises:
        UserError: no file, not a weights file, or one that asks to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError('no such weights file', path, 'check the path')
    try:
        value = _content(path)
    except Exception as error:
        raise _unreadable(path, error) from None
    top = value if isinstance(value, dict) else {}
    read: set[Any] = set()
    while isinstance(value, dict) and (
            name := next((k for k in _CONTAINERS if isinstance(value.get(k), dict)), '')):
        read, value = read or {name}, value[name]
    items = list(value.items()) if isinstance(value, dict) else []
    tensors = _named_tensors(items)
    parts = {} if tensors else {key: found for key, part in items if isinstance(key, str)
                                and isinstance(part, dict)
                                and (found := _named_tensors(part.items()))}
    tensors = tensors or {f'{part}.{key}': tensor for part, found in parts.items()
                          for key, tensor in found.items()}
    if not tensors:
        raise UserError('the file holds no tensors', path, 'save a state dict')
    read = read or {*tensors, *parts}
    meta = dict(top['meta']) if isinstance(top.get('meta'), dict) else {}
    if isinstance(top.get('__author__'), str):
        meta['author'] = top['__author__']
    return Checkpoint(tensors, meta, tuple(str(key) for key in top if key not in read))


def _content(path: Path) -> Any:
    if path.suffix == '.safetensors':
        from safetensors.torch import load
        return load(path.read_bytes())
    if path.suffix == '.pkl':
        return unpickling.load_arrays(path)
    return unpickling.load_torch(path)


def _unreadable(path: Path, error: Exception) -> UserError:
    """Why a file cannot be read, in the words of the person who got it."""
    start = path.read_bytes()[:200].lstrip().lower() if path.stat().st_size else b''
    if start.startswith((b'<!doctype', b'<html', b'<?xml')):
        return UserError('not a weights file but a web page', path,
                         'the download was answered by a page, perhaps a login: get it again')
    if start.startswith(b'version https://git-lfs'):
        return UserError('not a weights file but a git-lfs pointer to it', path,
                         'fetch it with: git lfs pull')
    named = re.search(r'GLOBAL ([\w.]+)|names ([\w.]+)', str(error))
    if named:
        return UserError(
            f'not a weights file that can be read safely: it holds {named[1] or named[2]}, which '
            'could run code', path, 'get it as .safetensors, or, if you trust it enough to run '
            'what is in it, save the state dict alone: torch.save(torch.load(FILE, '
            'weights_only=False)["state_dict"], "clean.pth")')
    return UserError(f'not a weights file that can be read safely ({type(error).__name__}: '
                     f'{str(error)[:120]})', path, 'get it again: it may be incomplete')


def _named_tensors(items: Any) -> dict[str, torch.Tensor]:
    """Without those of no memory or of a layout that no network here has."""
    return {k: v for k, v in items if isinstance(k, str) and isinstance(v, torch.Tensor)
            and v.layout == torch.strided and v.device.type == 'cpu' and not v.is_quantized}


def _kind(tensor: torch.Tensor) -> str:
    return f'{tuple(tensor.shape)}' + ('' if tensor.is_floating_point() else f' {tensor.dtype}')


def _likely_prefix(missing: list[str], weights: dict[str, torch.Tensor]) -> str:
    votes: dict[str, int] = {}
    for wanted in missing[:20]:
        for key in weights:
            if key != wanted and key.endswith(f'.{wanted}'):
                prefix = key.removesuffix(wanted)
                votes[prefix] = votes.get(prefix, 0) + 1
    best = max(votes, key=votes.__getitem__, default='')
    return best if votes.get(best, 0) * 2 >= min(len(missing), 20) else ''
