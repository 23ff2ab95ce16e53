"""The config that a run keeps, read as data.

A config file is code: whoever runs it means to. A run directory comes from anywhere, so what is
read from one names parts that the reader trusts, and runs nothing of its own: modules of this
package and of mmengine, and those that the reader names in the environment,
`REFAUG_DET_TRUST=my_module,other`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry, root

from refaug_det.errors import UserError
from refaug_det.runs import files

TRUST = 'REFAUG_DET_TRUST'
_PACKAGES = ('refaug_det', 'classification', 'mmengine')
_CODE = ('.py', '.pkl', '.pickle', '.yaml', '.yml')  # what mmengine opens as code or any object


def read(path: Path) -> Config:
    """The config in a run directory; modules that it needs are imported, if they are trusted.

    Raises:
        UserError: it is not JSON, names a module that is not trusted, or a type that is
            registered nowhere: such a name could be any function.
    """
    value = files.read_json(path, 'the config of the run', dict)
    _import(value.get('custom_imports'), path)
    roots = [found for found in vars(root).values() if isinstance(found, Registry)]
    known = {name for top in roots for registry in (top, *top.children.values())
             for name in registry.module_dict}
    scopes = {'mmengine', *(scope for top in roots for scope in top.children)}
    for key, name in _leaves(_built(value)):
        last = key.rpartition('.')[2]
        if last == 'type' and not _is_part(name, known, scopes):
            raise UserError(f'no part is registered as {name!r:.80}', f'{path}, {key}',
                            'install the package that has it, and name its module in '
                            'custom_imports; or do not trust this run')
        if last == '_scope_' and name not in (None, *scopes):
            raise UserError(f'no package registers parts as {name!r:.80}', f'{path}, {key}',
                            'import it with custom_imports; or do not trust this run')
        if isinstance(name, str) and name.lower().endswith(_CODE):
            raise UserError(f'{name!r:.80} can hold code', f'{path}, {key}',
                            'keep annotations as JSON; or do not trust this run')
    return Config(value)


def _built(value: dict) -> Iterator[tuple[str, Any]]:
    """What an analysis builds of a config, with its key."""
    yield 'model', value.get('model')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if isinstance(value.get(name), dict):
            yield f'{name}.dataset', value[name].get('dataset')
    hooks = value.get('custom_hooks')
    for number, hook in enumerate(hooks if isinstance(hooks, list) else ()):
        if isinstance(hook, dict):  # that of refinement
            yield f'custom_hooks.{number}.pipeline', hook.get('pipeline')


def _leaves(parts: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Every leaf, and every `type` whatever it is; no key hides another of the same spelling."""
    todo = list(parts)
    while todo:
        key, node = todo.pop()
        if key.endswith(('.type', '._scope_')) or not isinstance(node, (dict, list)):
            yield key, str(node) if isinstance(node, (dict, list)) else node
        if isinstance(node, (dict, list)):
            todo += [(f'{key}.{name}', inner) for name, inner in (
                node.items() if isinstance(node, dict) else enumerate(node))]


def _is_part(name: Any, known: set[str], scopes: set[str]) -> bool:
    """Whether it is registered, and is no module too: mmengine imports what it does not find."""
    if not isinstance(name, str):
        return False
    scope, dot, rest = name.partition('.')
    plain = rest if dot and scope in scopes and name not in known else name
    return plain in known and ('.' in plain or _is_trusted(plain)
                               or importlib.util.find_spec(plain) is None)


def _is_trusted(module: str) -> bool:
    named = (name.strip() for name in os.environ.get(TRUST, '').split(','))
    return any(f'{module}.'.startswith(f'{name}.') for name in (*_PACKAGES, *named) if name)


def _import(wanted: Any, path: Path) -> None:
    where = f'{path}, custom_imports'
    names = wanted.get('imports') if isinstance(wanted, dict) else wanted
    names = [names] if isinstance(names, str) else names or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f'imports are {names!r:.80}', where, 'a list of names of modules')
    for name in names:
        if not all(part.isidentifier() and part[0] != '_' for part in name.split('.')):
            raise UserError(f'the run imports {name!r:.80}, which is no public module', where,
                            'do not trust this run')
        if not _is_trusted(name):
            raise UserError(
                f'the run imports {name!r:.80}, and importing runs it', where,
                f'if you trust it: {TRUST}={name:.80} in the environment (several: with commas)')
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # someone else's package
            raise UserError(f'{name} cannot be imported: {type(error).__name__}: '
                            f'{str(error)[:150]}', where,
                            'put its folder on PYTHONPATH, or mend the installation') from None
