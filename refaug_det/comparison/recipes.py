"""Recipes of the paper's cells: which run was made with which, and how one is run."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from refaug_det.comparison import protocol
from refaug_det.errors import UserError
from refaug_det.runs import files
from refaug_det.runs.records import RunRecord

ROOT = Path(__file__).parents[2]
# What a run's resolved config has, and its recipe has not, or has otherwise -> why.
FILLED: dict[str, str] = {
    'randomness.*': 'the seed; trials of one recipe differ in it',
    'train_dataloader.batch_size': 'the share of one device; `_at_once` looks at it',
    'train_cfg.micro_batch': 'images at once on a device with less room; as above',
    '*_dataloader.dataset.classes*': "the data's own class names; model.num_classes counts them",
}
AT_ONCE = 32  # images a device sees in the paper's ImageNet runs: 256 on 8 GPUs
# Of a protocol: what was found on disk. There is no copy of VOC here to say what it must be.
FOUND = 'data.*'


@dataclass(frozen=True)
class Recipe:
    """A config and what is put into it.

    Attributes:
        config: from the root of the repository.
        options: sorted (dotted key, value), as with `--cfg-options`.
        backbone, pretraining: stage 2: the backbone, and the config that yields it.
    """

    config: str
    options: tuple[tuple[str, Any], ...] = ()
    backbone: str | None = None
    pretraining: str | None = None

    @property
    def name(self) -> str:
        """Of its runs: the config's stem, and the options."""
        changes = [f'-{key.rpartition(".")[2]}{value}' for key, value in self.options]
        return Path(self.config).stem + ''.join(changes)

    def work_dir(self, seed: int) -> str:
        """Where `tools/train_cls.py` puts its runs by default."""
        return f'work_dirs/{self.name}-seed{seed}'


def of_run(run_dir: Path, record: RunRecord,
           wanted: Sequence[Recipe]) -> tuple[Recipe | None, str]:
    """Which of some recipes a run was made with; else None, and why it is none of them.

    A run of another config is none of them without a reason.
    """
    backbone = record.backbone.get('name') if isinstance(record.backbone, dict) else None
    near = [recipe for recipe in wanted if Path(recipe.config).name == Path(record.config).name
            and recipe.backbone == backbone]
    if not near:
        return None, ''
    if record.status != 'done':
        return None, f'it is {record.status}, not done'
    changed = {}
    for recipe in near:
        changed[recipe] = departures(run_dir, record, recipe)
        if not changed[recipe]:
            return recipe, ''
    closest = min(changed.values(), key=len)
    key, here, there = closest[0]
    more = f', and {len(closest) - 1} more' if len(closest) > 1 else ''
    return None, f'not the recipe: {key} is {here!r}, not {there!r}{more}'


def departures(run_dir: Path, record: RunRecord, recipe: Recipe) -> list[tuple[str, Any, Any]]:
    """Where a run departs from a recipe: (key, value in the run, value in the recipe).

    Stage 1 is compared by the resolved config, less `FILLED`; stage 2 by its protocol.
    """
    wanted = resolved(recipe)
    if record.stage == 'detection':
        total = wanted['auto_scale_lr']['base_batch_size']
        loader = {**wanted['train_dataloader'], 'batch_size': total}
        terms = protocol.protocol_of({**wanted, 'train_dataloader': loader})
        return [change for change in protocol.differences(record.protocol, terms)
                if not fnmatchcase(change[0], FOUND)]
    from refaug_det.runs import config as configs
    from refaug_det.runs import directory
    stored = run_dir / directory.RESOLVED
    if not stored.is_file():
        return [(directory.RESOLVED, None, 'kept in the run directory')]
    found = files.read_json(stored, 'the config', dict)
    changes = [change for change in configs.differences(found, wanted)
               if not any(fnmatchcase(change[0], pattern) for pattern in FILLED)]
    return changes + _at_once(found, wanted) + _counts(record, wanted)


def _at_once(found: dict, wanted: dict) -> list[tuple[str, Any, Any]]:
    """Batch norm and batch augments see the images of one pass: not too few of them."""
    here = found['train_cfg'].get('micro_batch') or found['train_dataloader']['batch_size']
    least = min(wanted['train_dataloader']['batch_size'], AT_ONCE)
    return [('images at once', here, f'{least} or more')] if here < least else []


def _counts(record: RunRecord, wanted: dict) -> list[tuple[str, Any, Any]]:
    """The data set is the one that the recipe means: as many images."""
    expected = wanted.get('_images') or {}
    here = {part: (record.data.get(part) or {}).get('images') for part in expected}
    return [(f'{part} images', here[part], count) for part, count in expected.items()
            if here[part] != count]


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe's config with its options, as a run directory keeps it."""
    from refaug_det.runs import config as configs
    cfg = configs.load(_file(recipe.config), dict(recipe.options))
    return json.loads(json.dumps(cfg.to_dict(), default=str), parse_constant=str)


def commands(recipe: Recipe, seeds: Sequence[int]) -> list[str]:
    """Shell commands that make the runs of some seeds; for stage 2, of its backbone before."""
    lines = commands(Recipe(recipe.pretraining), [0]) if recipe.pretraining else []
    command = command_in(_file(recipe.config))
    if recipe.backbone:
        command = command.replace('--backbone NAME', f'--backbone {recipe.backbone}')
    if recipe.options:
        options = ' '.join(f'{key}={value}' for key, value in recipe.options)
        command += f' --name {recipe.name} --cfg-options {options}'
    if len(seeds) == 1:
        return [*lines, f'{command} --seed {seeds[0]}']
    listed = ' '.join(map(str, seeds))
    return [*lines, f'for seed in {listed}; do {command} --seed $seed; done']


def command_in(path: Path) -> str:
    """The command with which a config's docstring opens, on one line and without its seed.

    Raises:
        UserError: it opens with none.
    """
    text = path.read_text(encoding='utf-8')
    found = re.search(r'^    ((?:python )?tools/(?:.*\\\n)*.*)$', text, re.MULTILINE)
    if found is None or not ast.get_docstring(ast.parse(text)):
        raise UserError('the config does not open with its command', path,
                        'indent the command by four spaces in its docstring')
    command = ' '.join(found[1].replace('\\\n', ' ').split())
    return re.sub(r' --seed \d+', '', command)


def _file(config: str) -> Path:
    path = ROOT / config
    if not path.is_file():
        raise UserError('the recipes are not here', path,
                        'work in a clone of the repository, installed by pip install -e .')
    return path
