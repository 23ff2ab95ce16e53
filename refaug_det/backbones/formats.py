"""Weights files and state dicts: read safely, match completely, or stop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from refaug_det.errors import UserError

_CONTAINERS = ('state_dict', 'model', 'model_state_dict')
_COUNTER = 'num_batches_tracked'  # BN's counter: old files lack it, nothing depends on it


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor.

    Attributes:
        matched, missing, unused: keys of the model that were found, that were
            not, and keys of the file that no one asked for.
        wrong_shape: `key: shape in the file, shape in the model`.
        likely_prefix: prefix under which the file holds the missing keys, if any.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    wrong_shape: tuple[str, ...]
    likely_prefix: str = ''

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
                + (f' ({", ".join(unused[:4])})' if unused else ''))


def match(model_state: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]) -> LoadReport:
    """Compare the keys and shapes of a model with those of a file."""
    wanted = {k: v for k, v in model_state.items() if not k.endswith(_COUNTER)}
    common = [k for k in wanted if k in weights]
    wrong = [k for k in common if weights[k].shape != wanted[k].shape]
    missing = [k for k in wanted if k not in weights]
    return LoadReport(
        matched=tuple(k for k in common if k not in wrong),
        missing=tuple(missing),
        unused=tuple(k for k in weights if k not in model_state),
        wrong_shape=tuple(f'{k}: {tuple(weights[k].shape)}, {tuple(wanted[k].shape)}'
                          for k in wrong),
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
               source: object) -> LoadReport:
    """Load weights into a module, or leave it as it is and say what is wrong.

    Raises:
        UserError: a tensor of the module is not in `weights`, has another
            shape there, or `weights` is of another depth.
    """
    report = match(module.state_dict(), weights)
    if not report.whole:
        if report.likely_prefix:
            fix = f'the keys seem to begin with {report.likely_prefix!r}: strip it'
        elif report.foreign:
            fix = f'the file is of another architecture: it also holds {report.foreign[0]}'
        else:
            fix = 'use weights of this architecture, with torchvision\'s key names'
        first = ', '.join((report.missing or report.wrong_shape or report.foreign)[:3])
        raise UserError(f'the backbone did not load whole: {report}; first: {first}', source, fix)
    module.load_state_dict(weights, strict=False)
    return report


def read_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors or .pth file; nothing in the file is executed.

    Raises:
        UserError: no file, not a weights file, or one that asks to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError('no such weights file', path, 'check the path')
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load
            return load(path.read_bytes())
        value = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'not a weights file that can be read safely '
                        f'({type(error).__name__}: {str(error)[:120]})', path,
                        'save a plain state dict, or convert it to safetensors') from None
    while isinstance(value, dict) and (
            found := [value[key] for key in _CONTAINERS if isinstance(value.get(key), dict)]):
        value = found[0]
    items = value.items() if isinstance(value, dict) else ()
    tensors = {k: v for k, v in items if isinstance(k, str) and isinstance(v, torch.Tensor)}
    if not tensors:
        raise UserError('the file holds no tensors', path, 'save a state dict')
    return tensors


def _likely_prefix(missing: list[str], weights: dict[str, torch.Tensor]) -> str:
    votes: dict[str, int] = {}
    for wanted in missing[:20]:
        for key in weights:
            if key != wanted and key.endswith(f'.{wanted}'):
                prefix = key.removesuffix(wanted)
                votes[prefix] = votes.get(prefix, 0) + 1
    best = max(votes, key=votes.__getitem__, default='')
    return best if votes.get(best, 0) * 2 >= min(len(missing), 20) else ''
