"""From a config path to a checked, seeded, recorded run: what both stages do alike."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import build_functions

from refaug_det.errors import ArgumentParser, UserError
from refaug_det.runs import (
    batches,
    directory,
    ema,  # noqa: F401  (registration)
    environment,
    files,
    loops,  # noqa: F401  (registration)
    precision,
    processes,
    progress,  # noqa: F401  (registration)
    ranges,
    records,
    trackers,
)
from refaug_det.runs import config as configs
from refaug_det.runs.runner import RefAugRunner


class _Options(DictAction):
    """mmengine's `--cfg-options`, except that a malformed one is the user's error."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
            if not all(map(str.strip, '.'.join(getattr(namespace, self.dest)).split('.'))):
                raise ValueError('an empty key')
        except (ValueError, AssertionError):
            raise argparse.ArgumentError(self, f'not KEY=VALUE: {" ".join(values)}') from None


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:  # what numpy takes
        raise argparse.ArgumentTypeError(f'{value} is not in [0, 2**32)')
    return value


def arguments(description: str) -> argparse.ArgumentParser:
    """The options of `tools/train_*.py`, by OpenMMLab's names."""
    parser = ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('config', help='config file, such as those in configs/')
    add('--work-dir', type=Path, help='run directory (default: work_dirs/CONFIG-seedS)')
    add('--seed', type=_seed, default=0, help='all randomness derives from it (default: 0)')
    add('--resume', action='store_true', help='go on from the newest checkpoint of the run')
    add('--overwrite', action='store_true', help='start anew where a run was before')
    add('--data-root', help='where the data set lies')
    add('--classes', help='"auto" (those in the data) or names: a,b,c')
    add('--cfg-options', nargs='+', action=_Options, default={}, metavar='KEY=VALUE',
        help='change the config, such as train_cfg.max_epochs=3')
    add('--scale-lr', action='store_true', help='take the total batch that the devices give, and '
        'scale the rates with it (default: hold the batch of the config)')
    add('--amp', choices=list(precision.DTYPES), help='train with mixed precision')
    add('--track', nargs='+', choices=trackers.TRACKERS, default=[],
        help='send the curves there too; each is an extra of this package')
    add('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
        help='set by tools/dist_train.sh')
    add('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
    return parser


def load(args: argparse.Namespace) -> Config:
    """Config of the command line: overridden, keys checked, data root and seed set.

    Raises:
        UserError: see `refaug_det.runs.config`; nothing takes the data root.
    """
    cfg = configs.load(args.config, args.cfg_options)
    configs.check_keys(cfg, args.config)
    if args.data_root and not configs.set_everywhere(cfg, 'data_root', args.data_root):
        raise UserError('nothing in the config takes --data-root', args.config,
                        'the data set needs a data_root key')
    if cfg.get('load_from'):
        raise UserError('load_from loads what fits, and runs what a file asks for', 'load_from',
                        'tools/refine.py --checkpoint FILE, or --backbone NAME')
    ranges.check(cfg)
    processes.refuse_without(args.launcher)
    cfg.launcher, cfg.resume = args.launcher, args.resume
    cfg.randomness = dict(seed=args.seed)
    if args.amp:
        precision.use_amp(cfg, args.amp)
    return cfg


def resolve(cfg: Config, args: argparse.Namespace, name: str) -> tuple[str, dict[str, Any]]:
    """Settle batch, trackers and run directory; `cfg` is changed in place.

    Returns:
        One line on the batch, and the config as the run directory keeps it.

    Raises:
        UserError: see `refaug_det.runs.batches` and `trackers`.
    """
    world_size = processes.world_size(args.launcher)
    batch = (batches.scale_lr if args.scale_lr else batches.keep_total_batch)(cfg, world_size)
    trackers.track(cfg, args.track, f'{name}-seed{args.seed}')
    cfg.work_dir = str(args.work_dir or Path('work_dirs') / f'{name}-seed{args.seed}')
    return batch, json.loads(json.dumps(cfg.to_dict(), default=str), parse_constant=str)


def prepare(cfg: Config, args: argparse.Namespace, stage: str, name: str) -> records.RunRecord:
    """Claim the run directory (`cfg.work_dir`) and make the run's record.

    Raises:
        UserError: see `resolve` and `directory.claim`.
    """
    batch, resolved = resolve(cfg, args, name)
    work_dir, world_size = Path(cfg.work_dir), processes.world_size(args.launcher)
    record = records.RunRecord(
        name=name, stage=stage, config=_shown(args.config), seed=args.seed,
        config_digest=files.digest(configs.significant(resolved)),
        command=['python', _shown(sys.argv[0]), *sys.argv[1:]], started=records.now(),
        versions=environment.versions(), notes=[batch, *_notes(cfg, world_size)])
    if processes.is_first():
        directory.claim(work_dir, resolved, record, resume=args.resume, overwrite=args.overwrite)
        print(f'{stage} run {name!r}, seed {args.seed}, in {work_dir}: {batch}')
    return record


def build(cfg: Config, record: records.RunRecord) -> Any:
    """The Runner of a prepared run; the record learns what it runs on.

    Raises:
        UserError: a part cannot be built as the config asks.
    """
    try:
        runner = RefAugRunner.from_cfg(cfg)
        runner.build_rest()
    except (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError,
            RuntimeError, TypeError, ValueError) as error:
        raise UserError(f'the config cannot be built: {_blamed(error)}{type(error).__name__}: '
                        f'{str(error)[:300]}', record.config, 'mend the config') from error
    record.device = environment.device(runner.world_size)
    return runner


def _blamed(error: BaseException) -> str:
    """Of which part of the config an error is, such as `RefAugResNet(depth=19): `."""
    inner = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)
             if frame.f_code is build_functions.build_from_cfg.__code__]
    parts = inner[-1].get('args') if inner else None
    if not isinstance(parts, dict):
        return ''
    plain = (bool, int, float, str)
    given = ', '.join(f'{key}={value!r:.60}' for key, value in parts.items()
                      if isinstance(value, plain) or (isinstance(value, (list, tuple)) and all(
                          isinstance(item, plain) for item in value)))
    return f'{getattr(inner[-1].get("obj_cls"), "__name__", "a part")}({given[:200]}): '


def _notes(cfg: Config, world_size: int) -> list[str]:
    """What a reader must know of how the run trains."""
    notes = []
    if cfg.train_cfg.get('micro_batch'):
        notes.append(f'batch norm and batch augments see {cfg.train_cfg.micro_batch} images at '
                     'once')
    if world_size > 1:
        notes.append(f'batch norm over all {world_size} processes (SyncBN)' if cfg.get('sync_bn')
                     else 'batch norm over the images of one process at a time (SyncBN is off)')
    wrapper = cfg.get('optim_wrapper') or {}
    if str(wrapper.get('type')).endswith('AmpOptimWrapper'):
        notes.append(f'trained with mixed precision ({wrapper.get("dtype")}), '
                     'tested without')
    notes += ['metrics and weights are of the moving average (momentum '
              f'{hook.get("momentum", 1e-4)}), with the batch norm statistics of the live weights'
              for hook in cfg.get('custom_hooks') or () if hook.get('type') == 'RefAugEMAHook']
    return notes


def _shown(path: str) -> str:
    """A path as a reader elsewhere can use it: relative, or the bare name."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return Path(path).name
