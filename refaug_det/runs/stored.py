"""The config that a run keeps, read as data.

A config file is code: whoever runs it means to. A run directory comes from anywhere, so what is
read from one names parts that are installed here, and runs nothing of its own.
"""

from __future__ import annotations

import importlib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, TRANSFORMS

from refaug_det.errors import UserError
from refaug_det.runs import config as configs
from refaug_det.runs import files

_BUILT = ('model.', 'train_dataloader.dataset.', 'val_dataloader.dataset.',
          'test_dataloader.dataset.')


def read(path: Path) -> Config:
    """The config in a run directory; modules that it needs are imported.

    Raises:
        UserError: it is not JSON, or names a module of no installed package or a type that
            none of its modules registers: such a name could be any function.
    """
    value = files.read_json(path, 'the config of the run', dict)
    _import(value.get('custom_imports'), path)
    known = {name for root in (MODELS, DATASETS, TRANSFORMS)
             for registry in (root, *root.children.values()) for name in registry.module_dict}
    scopes = {scope for root in (MODELS, DATASETS, TRANSFORMS) for scope in root.children}
    for key, name in configs.flat(value).items():
        if key.startswith(_BUILT) and key.endswith('.type'):
            scope, _, rest = str(name).partition('.')
            if name not in known and not (scope in scopes and rest in known):
                raise UserError(f'no part is registered as {name!r:.80}', f'{path}, {key}',
                                'install the package that has it, and name its module in '
                                'custom_imports; or do not trust this run')
    return Config(value)


def _import(wanted: Any, path: Path) -> None:
    names = wanted.get('imports') if isinstance(wanted, dict) else None
    installed = packages_distributions() if names else {}
    for name in [names] if isinstance(names, str) else names or ():
        if str(name).partition('.')[0] not in installed:
            raise UserError(f'the run imports {name!r:.80}, which is of no installed package',
                            f'{path}, custom_imports', 'install that package if you trust it')
        try:
            importlib.import_module(name)
        except Exception as error:  # someone else's package
            raise UserError(f'{name} cannot be imported: {type(error).__name__}: '
                            f'{str(error)[:150]}', f'{path}, custom_imports',
                            'mend the installation') from None
