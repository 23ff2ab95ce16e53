"""Configs as checked data: loaded, overridden, every key known, comparable."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISUALIZERS,
)
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from refaug_det.errors import UserError

_REGISTRIES = (MODELS, DATASETS, TRANSFORMS, HOOKS, LOOPS, METRICS, OPTIM_WRAPPERS, OPTIMIZERS,
               PARAM_SCHEDULERS, DATA_SAMPLERS, TASK_UTILS, VISUALIZERS)
# Names that OpenMMLab's own base configs leave behind, and those that mmengine and mmdet read.
_VARIABLES = {'data_root', 'dataset_type', 'backend_args', 'train_pipeline', 'test_pipeline',
              'val_pipeline', 'max_epochs', 'vis_backends', 'img_norm_cfg', 'image_size',
              'norm_cfg', 'num_classes', 'custom_imports', 'env_cfg', 'sync_bn',
              'find_unused_parameters', 'model_wrapper_cfg', 'compile', 'classes', 'metainfo',
              'activation_checkpointing', 'efficient_conv_bn_eval', 'tta_model', 'tta_pipeline',
              'cudnn_benchmark'}
_TOP_LEVEL = _VARIABLES | (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'})
_UNREAD = re.compile(r'''(?m)^/.*$|[fF]?("""|\'\'\')[\s\S]*?\1|[fF]?("|')(?:\\.|[^\\\n])*?\2|#.*''')
# Built by factories of mmcv and mmengine, which take keys of their own out first.
_FACTORY_MADE = re.compile(r'\w*(norm|conv|act|upsample|init)_cfg|nms|dcn|plugins')
# Where a type stands -> its registry; elsewhere an unknown one fails by name when it is built.
_KINDS = {'model': MODELS, r'\w+_dataloader\.dataset': DATASETS,
          r'\w+_dataloader\.(batch_)?sampler': DATA_SAMPLERS, '(train|val|test)_cfg': LOOPS,
          r'\w+_evaluator(\.\d+)?': METRICS, 'optim_wrapper': OPTIM_WRAPPERS,
          r'optim_wrapper\.optimizer': OPTIMIZERS, r'param_scheduler(\.\d+)?': PARAM_SCHEDULERS,
          r'(default|custom)_hooks\.\w+': HOOKS}
# Taken out before the constructor is called: by registries, Runner, optim wrappers and DETR.
_TAKEN_OUT = {'type', '_scope_', 'priority', 'convert_to_iter_based', 'paramwise_cfg',
              'constructor', 'bg_cls_weight'}
_DATALOADER = set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | {
    'num_batch_per_epoch'}
# Keys that change how a run is executed or told, never what comes out.
_NEUTRAL = ('work_dir', 'resume', 'log_level', 'log_processor', 'visualizer', 'vis_backends',
            'launcher', 'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor',
            'data_root', 'default_hooks.progress', 'default_hooks.logger', 'default_hooks.timer',
            'default_hooks.checkpoint', 'env_cfg', 'experiment_name')


def load(path: Path | str, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and put `--cfg-options` into it.

    Raises:
        UserError: no such file, or Python or mmengine cannot read it.
    """
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob('*.py')], 1)
        raise UserError('no such config file', path,
                        f'did you mean {path.parent / near[0]}?' if near else
                        'see configs/cls and configs/det')
    if path.suffix not in ('.py', '.json'):  # tags of YAML can call any function
        raise UserError('a config is a .py or a .json file', path, 'name another one')
    try:
        cfg = Config.fromfile(str(path))
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config is code: anything can go wrong in it
        raise UserError(f'{type(error).__name__}: {str(error)[:300]}', path,
                        'mend the config') from None
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:
        raise UserError(f'an option does not fit the config: {type(error).__name__}: '
                        f'{str(error)[:200]}', f'{path}, --cfg-options {" ".join(options or ())}',
                        'mend the option: refaug-det and mmengine write a list\'s items as '
                        'key.0, key.1') from None
    return cfg


def check_keys(cfg: Config | dict, where: object = '') -> None:
    """Refuse every key that nothing reads, naming the nearest one that something does.

    Checked are the top level, the dataloaders, and the arguments of every
    `dict(type=...)` whose type is registered. A name of your own at the top
    level passes when the config reads it itself, or begins with an underscore.

    Raises:
        UserError: an unknown key.
    """
    values = cfg.to_dict() if isinstance(cfg, Config) else cfg
    known = _TOP_LEVEL | _names_read(cfg.text if isinstance(cfg, Config) else '')
    for key in values:
        if not key.startswith('_') and key not in known:
            _require(key, _TOP_LEVEL, key, where)
    scope = values.get('default_scope') or 'mmengine'
    for path, node in _dicts(values):
        if path and path[-1] in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            for key in node:
                _require(key, _DATALOADER, '.'.join((*path, key)), where)
        elif isinstance(node.get('type'), str) and not any(
                map(_FACTORY_MADE.fullmatch, path)):
            _check_arguments(node, '.'.join(path), scope, where)


def set_everywhere(cfg: Any, key: str, value: Any) -> int:
    """Set `key` in every nested dict that has it; returns how many there were."""
    found = 0
    for _, node in _dicts(cfg):
        if key in node:
            node[key] = value
            found += 1
    return found


def flat(values: Any) -> dict[str, Any]:
    """Nested dicts and lists as one dict of `dotted.key -> leaf`."""
    def walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        items = (node.items() if isinstance(node, dict) else
                 enumerate(node) if isinstance(node, (list, tuple)) else ())
        if not isinstance(node, (dict, list, tuple)) or (path and not node):
            yield path, node
        for key, value in items:
            yield from walk(value, f'{path}.{key}' if path else str(key))

    return dict(walk(values, ''))


def significant(values: dict) -> dict[str, Any]:
    """The flat config without the keys that never change a result."""
    return {key: value for key, value in flat(values).items() if not _neutral(key)}


def differences(a: dict, b: dict) -> list[tuple[str, Any, Any]]:
    """Keys at which two configs ask for different results; `None` where absent."""
    left, right = significant(a), significant(b)
    return [(key, left.get(key), right.get(key)) for key in sorted({*left, *right})
            if left.get(key) != right.get(key)]


def _neutral(key: str) -> bool:
    parts = key.split('.')
    return any(key == name or key.startswith(f'{name}.') or name in parts for name in _NEUTRAL)


def _dicts(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, (dict, ConfigDict)):
        yield path, node
        for key, value in list(node.items()):
            yield from _dicts(value, (*path, str(key)))
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _dicts(value, (*path, str(number)))


def _names_read(text: str) -> set[str]:
    """Names that a config's text uses, other than to set them."""
    # mmengine puts a file's path before its text; f-strings stay, for they read names
    code = _UNREAD.sub(lambda m: m[0] if m[0][0] in 'fF' else '', text)
    return set(re.findall(r'\b([A-Za-z]\w*)\b(?!\s*=[^=])', code))


def _check_arguments(node: dict, path: str, scope: str, where: object) -> None:
    known: set[str] = set()
    here: dict[int, set[str]] = {}  # registry -> names in it
    found = False
    for root in _REGISTRIES:
        with root.switch_scope_and_registry(node.get('_scope_') or scope) as registry:
            try:
                cls = registry.get(node['type'])
            except (ImportError, RuntimeError):  # a dotted name whose module is not there
                cls = None
            if cls is None:
                here[id(root)] = {*registry.module_dict, *root.module_dict}
        if cls is None:
            continue
        names = _arguments(cls)
        if names is None:
            return
        found, known = True, known | names
    if not found:
        _refuse_unknown_type(node['type'], path, here, where)
        return
    for key in node:
        if key not in _TAKEN_OUT:
            _require(key, known, f'{path}.{key}', where)


def _refuse_unknown_type(name: str, path: str, here: dict[int, set[str]], where: object) -> None:
    """Where the place of a type says what it has to be, and there is none of that name."""
    for pattern, registry in _KINDS.items():
        if re.fullmatch(pattern, path):
            near = difflib.get_close_matches(name, sorted(here[id(registry)]), 1, 0.5)
            raise UserError(f'no {registry.name} is called {name!r}', f'{path}.type, {where}',
                            f'did you mean {near[0]!r}?' if near else
                            'mend the name, or import its module with custom_imports')


def _arguments(cls: Any) -> set[str] | None:
    """Names a class's constructor takes, followed through **kwargs; None if open-ended."""
    names: set[str] = set()
    line = cls.__mro__[:-1] if inspect.isclass(cls) else (cls,)
    forks, ends = False, False
    for base in line:
        forks |= len(getattr(base, '__bases__', ())) > 1
        function = base.__dict__.get('__init__') if inspect.isclass(base) else base
        if function is None:
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        ends |= not any(p.kind is p.VAR_KEYWORD for p in parameters)
        if ends and not forks:  # behind a fork, **kwargs may go to any of the bases
            break
    return names - {'self'} if ends else None


def _require(key: str, known: set[str], path: str, where: object) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(str(key), sorted(known), 1, 0.5)
    raise UserError(f'unknown config key {path!r}', where,
                    f'did you mean {near[0]!r}?' if near else
                    f'known here: {", ".join(sorted(known))[:160]}')
