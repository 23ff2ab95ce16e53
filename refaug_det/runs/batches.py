"""The total batch and the learning rate belong together, on any number of devices."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from refaug_det.errors import UserError


def keep_total_batch(cfg: Config, world_size: int) -> str:
    """Hold the total batch of the config on any number of devices, by accumulation.

    The learning rate belongs to `auto_scale_lr.base_batch_size` images. A
    device sees at most the config's `train_dataloader.batch_size` at once.

    Returns:
        One line that says how the total is reached.

    Raises:
        UserError: the total cannot be reached exactly, or not in this way.
    """
    own_loop = cfg.train_cfg.get('type') == 'RefAugTrainLoop'
    _refuse_accumulation(cfg)
    limit = cfg.train_dataloader.batch_size
    total = _base(cfg) or limit * world_size
    if total % world_size:
        raise UserError(f'a total batch of {total} cannot be shared by {world_size} processes',
                        'auto_scale_lr.base_batch_size', 'use a process count that divides it, '
                        'or --scale-lr for another total batch at a rate in proportion')
    share = total // world_size
    cfg.train_dataloader.batch_size = share
    if share <= limit:
        return f'total batch {total} = {world_size} x {share} images'
    if not own_loop:
        raise UserError('only RefAugTrainLoop accumulates gradients', 'train_cfg.type',
                        f'or set train_dataloader.batch_size={share}')
    cfg.train_cfg.micro_batch = limit
    return f'total batch {total} = {world_size} x {share} images, at most {limit} at once'


def scale_lr(cfg: Config, world_size: int) -> str:
    """Take the total batch that the devices give, and rates in proportion to it.

    Scaled are the optimiser's rate, a rate of its own of a hook (the
    refinement's) and the end points of a schedule; the config then says the
    new rates and the new `auto_scale_lr.base_batch_size`.

    Returns:
        One line that says the total and the rates.

    Raises:
        UserError: the config does not say to which batch its rate belongs, or
            has no single rate.

    Source: Goyal et al. 2017, linear scaling rule (without their warm-up).
    """
    _refuse_accumulation(cfg)
    base, share = _base(cfg), cfg.train_dataloader.batch_size
    optimizer: Any = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if not base or optimizer.get('lr') is None:
        raise UserError('--scale-lr has no rate, or no batch that it belongs to', cfg.filename,
                        'set optim_wrapper.optimizer.lr and auto_scale_lr.base_batch_size')
    total = share * world_size
    before, ratio = optimizer.lr, total / base
    schedulers = cfg.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    for holder in (optimizer, *(cfg.get('custom_hooks') or ()), *schedulers):
        for key in ('lr', 'eta_min', 'eta_max'):
            if holder.get(key) is not None:
                holder[key] = holder[key] * ratio
    cfg.auto_scale_lr.base_batch_size = total
    return (f'total batch {total} = {world_size} x {share} images instead of {base}: rates times '
            f'{ratio:g}, {before:g} becomes {optimizer.lr:g}')


def _base(cfg: Config) -> int | None:
    """The total batch to which the config's learning rate belongs."""
    return (cfg.get('auto_scale_lr') or {}).get('base_batch_size')


def _refuse_accumulation(cfg: Config) -> None:
    own_loop = cfg.train_cfg.get('type') == 'RefAugTrainLoop'
    if own_loop and (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1) != 1:
        raise UserError('RefAugTrainLoop accumulates by itself, up to the total batch',
                        'optim_wrapper.accumulative_counts', 'leave it out, and set '
                        'auto_scale_lr.base_batch_size to the total batch')
