"""A grid of backbones x seeds: which runs it wants, how far each is by its directory alone."""

from __future__ import annotations

import difflib
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from refaug_det.errors import UserError
from refaug_det.runs import config as configs
from refaug_det.runs import directory, files, history, locks, records
from refaug_det.runs.records import RunRecord

PAPER = 'faster_rcnn_r50_fpn_'  # the detector that a bare data set's name means
DIFFERENCES_SHOWN = 3
# In what the configs of two trials of one grid may differ.
PLUGGED = ('model.backbone.', 'model.neck.in_channels', 'model.data_preprocessor.', 'randomness.')


class Plan(NamedTuple):
    """What a run of a backbone would record: the resolved config, the weights' digest."""

    config: dict[str, Any]
    sha256: str | None


@dataclass(frozen=True, eq=False)
class Trial:
    """A run that the grid wants: a backbone with a seed.

    Attributes:
        config: as its run directory will keep it.
        digest: of what matters in the config.
        sha256: of the backbone's weights; None where no file is registered.
    """

    backbone: str
    seed: int
    work_dir: Path
    config: Mapping[str, Any]
    digest: str
    sha256: str | None

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f'{self.backbone} seed {self.seed}'


@dataclass(frozen=True)
class State:
    """How far a trial is.

    Attributes:
        status: `new`, `running` (a live process has it), `cut off` (interrupted or
            killed), `failed`, `done`, or `other` (the directory holds another run).
        share: of its epochs that are behind it, in [0, 1].
        differs: what makes it another run, `key: there / wanted`.
        record: its run.json.
    """

    status: str
    share: float = 0.0
    differs: tuple[str, ...] = ()
    record: RunRecord | None = None


def seeds_of(text: str) -> list[int]:
    """`5` is 0 to 4; with a comma, as in `0,3` or `7,`, the seeds themselves.

    Raises:
        UserError: neither, or a seed twice.
    """
    words = _words(text)
    if not words or not all(re.fullmatch(r'\d{1,9}', word) for word in words) or text == '0':
        raise UserError('not a number of seeds, or seeds separated by commas', f'--seeds {text}',
                        'as in --seeds 5 (0 to 4), or --seeds 0,3')
    return _distinct([*map(int, words)] if ',' in text else [*range(int(words[0]))], '--seeds')


def backbones_of(text: str) -> list[str]:
    """Names separated by commas.

    Raises:
        UserError: none, or one twice.
    """
    if not _words(text):
        raise UserError('no backbone is named', '--backbones', 'as in --backbones a,b,c')
    return _distinct(_words(text), '--backbones')


def config_of(protocol: str, folder: Path) -> Path:
    """The config that `--protocol` names.

    Args:
        protocol: a path, or the name of a file in `folder`; `voc07` is
            `faster_rcnn_r50_fpn_voc07`, the paper's detector.
        folder: such as configs/det.

    Raises:
        UserError: there is none; it names the nearest.
    """
    if protocol.endswith('.py') and Path(protocol).is_file():
        return Path(protocol)
    known = {path.stem: path for path in sorted(folder.glob('*.py'))}
    short = {stem.removeprefix(PAPER): path for stem, path in known.items()}
    if not (found := known.get(protocol) or short.get(protocol)):
        near = difflib.get_close_matches(Path(protocol).stem, [*short, *known], 1, 0.5)
        raise UserError(f'no protocol {protocol!r}', folder, f'did you mean {near[0]!r}?' if near
                        else f'a config file, or one of {", ".join(short) or "none here"}')
    return found


def trials(plans: Mapping[str, Plan], seeds: Sequence[int], folder: Path) -> list[Trial]:
    """The trials of a grid: all backbones with the first seed, then with the next.

    Args:
        plans: backbone -> what any one seed would record.
        folder: where the run directories lie, BACKBONE-seedS each.

    Raises:
        UserError: two backbones share a directory.
    """
    places = {name: re.sub(r'[^A-Za-z0-9._]+', '-', name).strip('-.') for name in plans}
    _distinct(list(places.values()), 'names of run directories')
    found = []
    for seed in seeds:
        for name, plan in plans.items():
            config = {**plan.config, 'randomness': {'seed': seed}}
            found.append(Trial(name, seed, folder / f'{places[name]}-seed{seed}', config,
                               files.digest(configs.significant(config)), plan.sha256))
    return found


def state_of(trial: Trial, *, locked: bool = False) -> State:
    """How far a trial is.

    Args:
        locked: the caller has the lock of its directory.
    """
    held = not locked and locks.is_held(trial.work_dir / locks.FILE_NAME)
    if not (trial.work_dir / records.FILE_NAME).is_file():
        return State('running' if held else 'new')
    record = records.read(trial.work_dir)
    differs = tuple(_differences(trial, record))
    if differs:
        return State('other', 0.0, differs, record)
    if record.status == 'done':
        return State('done', 1.0, (), record)
    ended = 'failed' if record.status == 'failed' else 'cut off'
    return State('running' if held else ended, share_done(trial), (), record)


def share_done(trial: Trial) -> float:
    """Share of a run's epochs (or iterations) that its history holds, in [0, 1]."""
    row = (history.read(trial.work_dir) or [{}])[-1]
    length = trial.config.get('train_cfg') or {}
    for unit, key in (('epoch', 'max_epochs'), ('iteration', 'max_iters')):
        if length.get(key):
            return min(1.0, row.get(unit, 0) / length[key])
    return 0.0


def option(state: State) -> str | None:
    """What `tools/train_det.py` is told about the run that is there, if anything."""
    return {'new': None, 'other': '--overwrite'}.get(state.status, '--resume')


def refuse_others(states: Mapping[Trial, State]) -> None:
    """Refuse a grid whose directories hold other runs.

    Raises:
        UserError: what differs in the first, and how many there are.
    """
    others = [(trial, state) for trial, state in states.items() if state.status == 'other']
    more = f' (and {len(others) - 1} more)' if len(others) > 1 else ''
    for trial, state in others:
        raise UserError(f'another run is there: {"; ".join(state.differs[:DIFFERENCES_SHOWN])}',
                        f'{trial.work_dir}{more}',
                        'choose another --work-dir, or pass --overwrite to lose that run')


def usual_time(trials: Iterable[Trial], folder: Path) -> float | None:
    """Seconds that a run of these takes: the median of those that are done in `folder`.

    Runs of other backbones and seeds count; those of another protocol do not.
    """
    wanted = next(iter(trials), None)
    times = []
    for path in folder.glob(f'*/{records.FILE_NAME}'):
        record, stored = _readable(path), path.with_name(directory.RESOLVED)
        if not (wanted and record and record.status == 'done' and record.wall_time_s
                and record.stage == 'detection' and stored.is_file()):
            continue
        before = files.read_json(stored, 'the config', dict)
        changes = configs.differences(before, dict(wanted.config))
        if all(key.startswith(PLUGGED) for key, _, _ in changes):
            times.append(record.wall_time_s)
    return statistics.median(times) if times else None


def time_left(shares: Sequence[float], each_s: float | None, parallel: int) -> float | None:
    """Seconds until all runs have ended, so many side by side; None if unknown.

    Args:
        shares: how much of each unfinished run is behind it, in [0, 1].
        each_s: seconds of a whole run.
    """
    left = [1 - share for share in shares]
    if not left or each_s is None:
        return None if left else 0.0
    return each_s * max(max(left), sum(left) / parallel)


def _readable(path: Path) -> RunRecord | None:
    """A record that is not the grid's own, and need not be right."""
    try:
        return records.read(path)
    except UserError:
        return None


def _differences(trial: Trial, record: RunRecord) -> list[str]:
    """What makes the run of a record another one than the trial, if anything."""
    found = []
    if record.config_digest != trial.digest:
        stored = trial.work_dir / directory.RESOLVED
        before = files.read_json(stored, 'the config', dict) if stored.is_file() else {}
        found = [f'{key}: {old!r:.60} / {new!r:.60}' for key, old, new in
                 configs.differences(before, dict(trial.config))]
    digest = (record.backbone or {}).get('sha256')
    if record.backbone and digest != trial.sha256:
        found.append(f'weights of {trial.backbone} (sha256): {str(digest)[:12]} / '
                     f'{str(trial.sha256)[:12]}')
    return found


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(',') if word.strip()]


def _distinct(values: list, where: str) -> list:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise UserError(f'named twice: {", ".join(twice)}', where, 'name each once')
    return values
