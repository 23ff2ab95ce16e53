"""Checkpoints of plain tensors: written whole, read without unpickling code."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import (
    all_gather_object,
    barrier,
    get_rank,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from refaug_det.errors import UserError
from refaug_det.runs import files

FORMAT = 1
_NAME = re.compile(r'iter_(\d+)\.pth')


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside a distributed wrapper, or the model itself."""
    inner = getattr(model, 'module', model)
    return inner if isinstance(inner, torch.nn.Module) else model


def state_of(runner: Any, epoch: int, iteration: int) -> dict[str, Any]:
    """All that a run needs to go on after `epoch` epochs and `iteration` iterations."""
    return dict(
        format=FORMAT, epoch=epoch, iteration=iteration, seed=runner.seed,
        samples=_samples(runner), processes=get_world_size(), threads=torch.get_num_threads(),
        state_dict={k: v.detach().cpu() for k, v in unwrapped(runner.model).state_dict().items()},
        optimizer=_to_cpu(runner.optim_wrapper.state_dict()),
        param_schedulers=[_plain(s.state_dict()) for s in runner.param_schedulers or []],
        hooks={name: _to_cpu(hook.state_dict()) for name, hook in _with_state(runner).items()})


def save(runner: Any, epoch: int, iteration: int, keep: int = 2) -> None:
    """Write `iter_N.pth` into the run directory, then remove all but the newest `keep`.

    Raises:
        UserError: a weight is not finite; then nothing is written or removed.
    """
    refuse_not_finite(runner, iteration)
    by_rank = buffers_by_rank(unwrapped(runner.model))
    if is_main_process():
        directory = Path(runner.work_dir)
        state = dict(state_of(runner, epoch, iteration), buffers_by_rank=by_rank)
        files.write_with(directory / f'iter_{iteration}.pth', lambda f: torch.save(state, f))
        for path in _newest_first(directory)[keep:]:
            path.unlink(missing_ok=True)
    barrier()


def refuse_not_finite(runner: Any, iteration: int) -> None:
    """Stop a run whose loss is finite still, and whose weights are not.

    Raises:
        UserError: with the name of the first such weight or buffer.
    """
    model = unwrapped(runner.model)
    weights = ((name, weight.isfinite()) for name, weight in model.named_parameters())
    # minus infinity is how attention masks are written, and no statistic
    buffers = ((name, buffer.isfinite() if 'running_' in name else
                ~buffer.isnan() & (buffer != torch.inf)) for name, buffer in model.named_buffers())
    bad = [name for name, good in chain(weights, buffers) if not good.all()]
    if get_world_size() > 1:  # all end, or the others would wait for this one
        bad = [name for rank in all_gather_object(bad[:1]) for name in rank]
    for name in bad[:1]:
        raise UserError(f'{name} is not finite after iteration {iteration}', runner.work_dir,
                        'no checkpoint was written of it: lower the rate, or clip gradients '
                        '(optim_wrapper.clip_grad)')


def buffers_by_rank(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The kept buffers in which the processes differ, each as (processes, ...).

    Inside an epoch these are the running statistics of batch norm.
    """
    if get_world_size() == 1:
        return {}
    kept = model.state_dict().keys()
    ranks = all_gather_object({name: buffer.detach().cpu()
                               for name, buffer in model.named_buffers() if name in kept})
    together = {name: torch.stack([rank[name] for rank in ranks]) for name in ranks[0]}
    return {name: values for name, values in together.items() if (values != values[0]).any()}


def newest_valid(directory: Path | str) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a run directory that can be read, and its content.

    Raises:
        UserError: a later version of this package wrote it.
    """
    for path in _newest_first(Path(directory)):
        try:
            state = torch.load(path, map_location='cpu', weights_only=True)
        except Exception as error:  # torn or foreign: say so and try the older one
            print(f'{path.name} cannot be read ({type(error).__name__}); trying an older one')
            continue
        found = state.get('format') if isinstance(state, dict) else None
        if isinstance(found, int) and found > FORMAT:  # not passed over: all epochs would be lost
            raise UserError(f'a checkpoint of format {found}; this version reads {FORMAT}', path,
                            'use the refaug-det version that wrote it')
        if found == FORMAT:
            return path, state
    return None


def restore(runner: Any, state: dict[str, Any]) -> None:
    """Put a run where `state_of` found it.

    Raises:
        UserError: the checkpoint belongs to another model, seed, or number of images
            or processes.
    """
    if state['seed'] != runner.seed:
        raise UserError(f'the run to resume has seed {state["seed"]}, not {runner.seed}',
                        runner.work_dir, f'resume it with --seed {state["seed"]}')
    if 'samples' in state and state['samples'] != _samples(runner):
        raise UserError(f'the run to resume had {state["samples"]} training images, here are '
                        f'{_samples(runner)}', runner.work_dir, 'resume it with the data that it '
                        'began with')
    if state.get('processes', get_world_size()) != get_world_size():
        raise UserError(f'the run to resume had {state["processes"]} processes, here are '
                        f'{get_world_size()}', runner.work_dir, 'resume it on as many')
    own = {name: values[get_rank()] for name, values in state.get('buffers_by_rank', {}).items()}
    try:
        unwrapped(runner.model).load_state_dict(state['state_dict'] | own, strict=True)
    except RuntimeError as error:
        raise UserError(f'the checkpoint is of another model: {str(error)[:200]}',
                        runner.work_dir, 'resume with the config that wrote it') from None
    runner.optim_wrapper.load_state_dict(state['optimizer'])
    for scheduler, saved in zip(runner.param_schedulers or [], state['param_schedulers'],
                                strict=True):
        scheduler.load_state_dict(saved)
    for name, hook in _with_state(runner).items():
        if name in state.get('hooks', {}):
            hook.load_state_dict(state['hooks'][name])
    runner.train_loop._epoch, runner.train_loop._iter = state['epoch'], state['iteration']
    if not torch.cuda.is_available():  # sums on a CPU are divided among its threads
        torch.set_num_threads(state.get('threads', torch.get_num_threads()))


@HOOKS.register_module()
class RefAugCheckpointHook(Hook):
    """Saves at the end of every epoch, and every `interval_iters` iterations if given.

    Args:
        interval: epochs between checkpoints; the last epoch is always saved.
        interval_iters: iterations between checkpoints inside an epoch.
        keep: how many to keep.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1, interval_iters: int | None = None,
                 keep: int = 2) -> None:
        self.interval, self.interval_iters, self.keep = interval, interval_iters, keep

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        inside = batch_idx + 1 < len(runner.train_dataloader)  # the epoch's end saves itself
        if inside and self.interval_iters and self.every_n_train_iters(runner, self.interval_iters):
            save(runner, runner.epoch, runner.iter + 1, self.keep)

    def after_train_epoch(self, runner: Any) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            save(runner, runner.epoch + 1, runner.iter, self.keep)


def _samples(runner: Any) -> int:
    """Training images, on which the number of iterations of an epoch depends."""
    return len(runner.train_dataloader.dataset)


def _with_state(runner: Any) -> dict[str, Any]:
    """The hooks that have a state of their own, such as an average of the weights."""
    return {type(hook).__name__: hook for hook in runner.hooks if hasattr(hook, 'state_dict')}


def _newest_first(directory: Path) -> list[Path]:
    found = [(int(m.group(1)), p) for p in directory.glob('iter_*.pth')
             if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state without the objects that only unpickling could rebuild."""
    return {k: v for k, v in state.items()
            if isinstance(v, (bool, int, float, str, list, tuple, type(None)))}


def _to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {k: _to_cpu(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_cpu(v) for v in value)
    return value
