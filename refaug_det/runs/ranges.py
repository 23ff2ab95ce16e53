"""Numbers of a config that would else end a run late, or not at all."""

from __future__ import annotations

import math
from typing import Any

from mmengine.config import Config

from refaug_det.errors import UserError

# key -> least value, whether it must be whole; where a key is absent there is nothing to check
RANGES: dict[str, tuple[float, bool]] = {
    'train_cfg.max_epochs': (1, True), 'train_cfg.max_iters': (1, True),
    'train_cfg.val_interval': (1, True), 'train_cfg.val_begin': (0, True),
    'train_cfg.micro_batch': (1, True), 'auto_scale_lr.base_batch_size': (1, True),
    'train_dataloader.batch_size': (1, True), 'train_dataloader.num_workers': (0, True),
    'val_dataloader.batch_size': (1, True), 'val_dataloader.num_workers': (0, True),
    'default_hooks.checkpoint.interval': (1, True), 'default_hooks.checkpoint.keep': (1, True),
    'optim_wrapper.optimizer.lr': (0, False)}


def check(cfg: Config) -> None:
    """Refuse numbers that are out of range, and parts that are no dicts.

    Raises:
        UserError: names the key.
    """
    for key, (least, whole) in RANGES.items():
        *parents, name = key.split('.')
        node: Any = cfg
        for depth, parent in enumerate(parents):
            node = node.get(parent)
            if node is None:
                break
            if not isinstance(node, dict):
                raise UserError(f'{node!r} is no dict', '.'.join(parents[:depth + 1]),
                                'give it as dict(...)')
        if node is None or name not in node or (node[name] is None and 'max' in name):
            continue
        value = node[name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < least or (
                whole and value != int(value)):
            raise UserError(f'{key} is {value!r}', key,
                            f'a {"whole " if whole else ""}number of {least} or more')
