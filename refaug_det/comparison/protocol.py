"""What must be equal for two APs to be comparable, read from the resolved config.

There is no second copy of the fine-tuning recipe: the protocol is the resolved
mmengine config, flattened, less the short list of what may differ (`EXCLUDED`).
A key that nobody thought of is therefore part of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from refaug_det.errors import UserError
from refaug_det.runs import files

ABSENT = '(absent)'
LONGEST_LIST = 100

# Top-level keys of a config that decide the result. mmengine's Runner reads these and
# the excluded ones below; every other top-level key is a variable of the config file,
# and counts where it is used.
SECTIONS = (
    'model', 'train_dataloader', 'test_dataloader', 'train_cfg', 'test_cfg',
    'optim_wrapper', 'param_scheduler', 'test_evaluator', 'default_hooks',
    'custom_hooks', 'auto_scale_lr', 'load_from', 'sync_bn', 'efficient_conv_bn_eval',
)

_BACKBONE = 'it is what the comparison compares'
_INPUT = 'input normalisation belongs to the backbone'
_LOADING = 'how samples are fetched, not which'
_VALIDATION = 'looking at a run does not change its last epoch'
_MACHINE = 'where and how it runs'
_NAMES = 'how outputs and names are found'
_LOGGING = 'logging'

# Pattern (fnmatch over the dotted path; it takes the whole subtree) -> why it may differ.
EXCLUDED: dict[str, str] = {
    **dict.fromkeys((f'model.backbone.{key}' for key in (
        'type', 'depth', 'base_channels', 'stem_channels', 'deep_stem', 'avg_down', 'style',
        'groups', 'base_width', 'model_name', 'pretrained', 'init_cfg')), _BACKBONE),
    'model.neck.in_channels': 'follows from the backbone',
    'model.roi_head.shared_head.init_cfg': 'the last stage of the same backbone',
    **dict.fromkeys((f'model.data_preprocessor.{key}' for key in (
        'mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')), _INPUT),
    'model.*.with_cp': 'trades memory for time',
    'train_dataloader.batch_size': 'counted in total_batch',
    'optim_wrapper.accumulative_counts': 'counted in total_batch',
    'train_cfg.micro_batch': 'counted in total_batch: parts of one update',
    **dict.fromkeys((f't*_dataloader.{key}' for key in (
        'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'timeout',
        'multiprocessing_context')), _LOADING),
    't*_dataloader.*.data_root': 'a path of this machine; the data themselves are hashed',
    '*.backend_args': _LOADING,
    '*.file_client_args': _LOADING,
    '*.metainfo.palette': 'colours of drawings',
    't*_dataloader.*.seed': 'trials of one protocol differ in it',
    **dict.fromkeys(('train_cfg.val_interval', 'train_cfg.val_begin',
                     'train_cfg.dynamic_intervals', 'val_dataloader', 'val_cfg',
                     'val_evaluator'), _VALIDATION),
    **dict.fromkeys((f'test_evaluator.*{key}' for key in (
        'prefix', 'collect_device', 'collect_dir', 'save_to', 'classwise', 'use_mp_eval')), _NAMES),
    **dict.fromkeys(('work_dir', 'experiment_name', 'default_scope', 'custom_imports'), _NAMES),
    **dict.fromkeys(('log_processor', 'log_level', 'visualizer'), _LOGGING),
    **dict.fromkeys(('env_cfg', 'launcher', 'model_wrapper_cfg', 'find_unused_parameters',
                     'activation_checkpointing', 'compile', 'resume'), _MACHINE),
    'randomness': 'trials of one protocol differ in the seed',
    'data_preprocessor': "only mmengine's default for model.data_preprocessor, read there",
}

# Hooks that change no weight and no score. Ours (RefAug...) guard and record, but for these.
LOUD_HOOKS = frozenset(('RefAugBatchNormHook', 'RefAugEMAHook', 'RefAugRefinementHook'))
QUIET_HOOKS = frozenset((
    'IterTimerHook', 'LoggerHook', 'RuntimeInfoHook', 'ProfilerHook', 'MemoryProfilerHook',
    'ParamSchedulerHook', 'CheckpointHook', 'DistSamplerSeedHook', 'EmptyCacheHook',
    'NaiveVisualizationHook', 'DetVisualizationHook', 'TrainAugmentDetVisualizationHook',
    'NumClassCheckHook', 'CheckInvalidLossHook',
))


def protocol_of(config: Mapping[str, Any], world_size: int = 1,
                data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read the fine-tuning protocol from a resolved config.

    Args:
        config: the resolved mmengine config as nested dict (`cfg.to_dict()`).
        world_size: number of processes, >= 1.
        data: what was found on disk, such as `{'train': {'images': 5011,
            'objects': 15662, 'sha256': ...}}`; it is flattened below `data.`.

    Returns:
        `dotted.key -> scalar or list of scalars`, JSON-able. `total_batch` is the number
        of images per update: batch_size x world_size x accumulative_counts. The two
        factors themselves appear only where they matter apart from it: the batch per
        process where batch norm trains on batch statistics, and the accumulation where
        a schedule counts iterations.

    Raises:
        UserError: no batch size, or a value that is no plain number, string or list.

    Source: mmengine 0.10 `Runner.from_cfg` (which top-level keys are read).
    """
    sections = {key: config[key] for key in SECTIONS if config.get(key) not in (None, False)}
    model = sections['model'] = dict(sections.get('model') or {})
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', config['data_preprocessor'])
    for key in ('default_hooks', 'custom_hooks'):
        sections[key] = _loud(sections.get(key) or {})
    if not (sections.get('auto_scale_lr') or {}).get('enable'):
        sections['auto_scale_lr'] = None
    flat = _Flattener(config)
    out = flat.flatten('', {key: value for key, value in sections.items() if value})
    out.update(_batch(config, model, world_size))
    if data:
        out.update(flat.flatten('data', data))
    return dict(sorted(out.items()))


def fingerprint(protocol: Mapping[str, Any]) -> str:
    """16 hex digits: equal if and only if `differences` finds none."""
    return files.digest({key: _canonical(value) for key, value in protocol.items()})[:16]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The fields of two protocols that differ, sorted: (key, value in a, value in b)."""
    pairs = ((key, a.get(key, ABSENT), b.get(key, ABSENT)) for key in sorted({*a, *b}))
    return [(key, x, y) for key, x, y in pairs
            if (key in a) != (key in b) or _text(x) != _text(y)]


class _Flattener:
    """Flattens one config; knows its scope and the folders its data lie in."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.scope = config.get('default_scope') or 'mmengine'
        loaders = [config.get('train_dataloader'), config.get('test_dataloader')]
        self.roots = {value.rstrip('/') + '/' for key, value in _walk(loaders)
                      if key == 'data_root' and isinstance(value, str) and value.strip('./')}

    def flatten(self, path: str, value: Any) -> dict[str, Any]:
        if path and any(fnmatchcase(path, pattern) for pattern in EXCLUDED):
            return {}
        if isinstance(value, Mapping) and value:
            # A dot inside a key (paramwise_cfg) must not read as nesting.
            children = [(f'[{key}]' if '.' in str(key) else str(key), item)
                        for key, item in value.items()
                        if not (key == '_scope_' and item == self.scope)]
        elif isinstance(value, (list, tuple)) and any(
                isinstance(item, (Mapping, list, tuple)) for item in value):
            children = [(str(index), item) for index, item in enumerate(value)]
        else:
            return {path: self._leaf(path, value)}
        out: dict[str, Any] = {}
        for key, item in children:
            out.update(self.flatten(f'{path}.{key}' if path else key, item))
        return out

    def _leaf(self, path: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return '{}'
        if isinstance(value, (list, tuple)):
            items = [self._leaf(path, item) for item in value]
            return items if len(items) <= LONGEST_LIST else (
                f'{len(items)} values, {files.digest(items)[:16]}')
        if isinstance(value, str):
            if path.endswith('.type'):
                return value.removeprefix(f'{self.scope}.')
            return next((value.removeprefix(root) for root in
                         sorted(self.roots, key=len, reverse=True)
                         if value.startswith(root)), value)
        if isinstance(value, (bool, int, float)) or value is None:
            return _canonical(value)
        if callable(value) and hasattr(value, '__qualname__'):
            return f'{value.__module__}.{value.__qualname__}'
        raise UserError(f'a {type(value).__name__} in the config has no stable text form',
                        path, 'write it as plain numbers, strings and lists')


def _batch(config: Mapping[str, Any], model: Mapping[str, Any],
           world_size: int) -> dict[str, int]:
    """Images per update, and its factors where they matter on their own."""
    size: Any = (config.get('train_dataloader') or {}).get('batch_size')
    steps = (config.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    for key, value in (('train_dataloader.batch_size', size), ('world_size', world_size),
                       ('optim_wrapper.accumulative_counts', steps)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f'{key} is {value!r}, not a number of at least 1', key,
                            'give the config a whole number there')
    out = {'total_batch': size * world_size * steps}
    rest = {key: value for key, value in model.items() if key != 'backbone'}
    norms = [value.get('type') for key, value in _walk(rest)
             if key == 'norm_cfg' and isinstance(value, Mapping)]
    frozen = (model.get('backbone') or {}).get('norm_eval') is True
    if not frozen or any('BN' in str(norm) for norm in norms):
        out['train_dataloader.batch_size'] = size
    loops = [config.get('train_cfg'), config.get('param_scheduler')]
    if any(key == 'max_iters' or (key == 'by_epoch' and value is False)
           or (key == 'type' and 'IterBased' in str(value)) for key, value in _walk(loops)):
        out['optim_wrapper.accumulative_counts'] = steps
    scaling = config.get('auto_scale_lr') or {}
    if scaling.get('enable'):  # mmengine multiplies the rate by this, accumulation ignored
        out['auto_scale_lr.images_per_iteration'] = size * world_size
    return out


def _loud(hooks: Any) -> Any:
    """Hooks less those that change no result; lists are numbered after that."""
    def quiet(hook: Any) -> bool:
        kind = str(hook.get('type')).rpartition('.')[2] if isinstance(hook, Mapping) else ''
        return kind in QUIET_HOOKS or (kind.startswith('RefAug') and kind not in LOUD_HOOKS)

    if isinstance(hooks, Mapping):
        return {key: hook for key, hook in hooks.items() if not quiet(hook)}
    return [hook for hook in hooks if not quiet(hook)]


def _walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (key, value) of every dict in nested dicts and lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key, item
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)


def _canonical(value: Any) -> Any:
    """One form per value: 12.0 is 12, a tuple is a list, nan and inf are strings."""
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() else value
    return value


def _text(value: Any) -> str:
    return json.dumps(_canonical(value), sort_keys=True, default=str)
