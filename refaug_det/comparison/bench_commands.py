"""`refaug-det bench`: a grid of backbones and seeds, run as far as it is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from refaug_det import answers
from refaug_det.errors import UserError

if TYPE_CHECKING:
    from refaug_det.comparison.grid import Plan, State, Trial

ROOT = Path(__file__).parents[2]
PREVIEW = ('run', 'state', 'done', 'time left', 'there / wanted')
PLANS = 'refaug_det.plans'  # entry points: what a run of a stage would record


def bench(*, backbones: str, protocol: str, seeds: str = '5', data_root: Path | None = None,
          classes: str | None = None,
          cfg_options: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
          work_dir: Path | None = None,
          jobs: Annotated[int | None, Parameter(name=['--jobs', '-j'])] = None,
          baseline: str | None = None, dry_run: bool = False, overwrite: bool = False,
          json: bool = False) -> int:
    """Fine-tune a detector from each backbone with each seed, and compare.

    What is done is kept, what was cut off goes on, what failed is tried once more: whatever
    happened, give the same command again.

    Example: refaug-det bench --backbones a,b,c --protocol voc07 --data-root data/VOCdevkit

    Args:
        backbones: names separated by commas, as tools/train_det.py --backbone takes them.
        protocol: config file, or a short name of one in configs/det, such as voc07.
        seeds: how many (5: seeds 0 to 4), or which, separated by commas.
        data_root: where the data set lies.
        classes: "auto" (those in the data) or names: a,b,c.
        cfg_options: KEY=VALUE ..., changes of the config.
        work_dir: folder of the run directories (default: work_dirs/bench-PROTOCOL).
        jobs: runs at a time on this machine (default: one a GPU, or one).
        baseline: backbone to take differences against in the table.
        dry_run: show the runs, how far each is and what it will take; start nothing.
        overwrite: start anew where a run of another config or backbone is. That run is lost.
        json: print the runs and the comparison as JSON; progress goes to stderr.

    Returns:
        Exit code, 0.

    Raises:
        UserError: bad input, or runs that failed.
    """
    from refaug_det.comparison import grid
    from refaug_det.comparison.driver import Driver

    names, numbers = grid.backbones_of(backbones), grid.seeds_of(seeds)
    config = grid.config_of(protocol, ROOT / 'configs' / 'det')
    options = _options(data_root, classes, cfg_options or [])
    folder = work_dir or Path('work_dirs') / f'bench-{config.stem}'
    visible = devices()
    parallel = _parallel(jobs, visible)
    trials = grid.trials(plans(config, names, options), numbers, folder)
    states = {trial: grid.state_of(trial) for trial in trials}
    if not overwrite and not dry_run:
        grid.refuse_others(states)
    driver = Driver(
        trials, folder, lambda trial: command(trial, config, options), parallel=parallel,
        environment=environment(parallel, visible), devices=visible, overwrite=overwrite)
    if not dry_run:
        with answers.aside(json):
            print(summary(states, parallel), flush=True)
            driver.run()
    elif not json:
        _show(preview(states, driver.usual_s, parallel), folder)
    if json:
        answers.print_json(document(trials, folder, driver.usual_s, parallel, baseline))
    else:
        _compare(trials, baseline)
    driver.refuse_failures()
    return 0


def _show(told: tuple[list[list[str]], list[str]], folder: Path) -> None:
    from refaug_det.tables import Table, say

    rows, notes = told
    say(Table(f'Runs in {folder}', PREVIEW, tuple(map(tuple, rows)), tuple(notes)).show)


def _parallel(jobs: int | None, visible: Sequence[str]) -> int:
    if jobs is not None and jobs < 1:
        raise UserError('no run at a time', f'--jobs {jobs}', 'at least 1')
    return jobs or len(visible) or 1


def _compare(trials: Sequence[Trial], baseline: str | None) -> None:
    """The table, once a run is done; runs that are not are counted in it."""
    from refaug_det.comparison import commands, grid

    if begun := _begun({trial: grid.state_of(trial) for trial in trials}):
        commands.compare_runs(begun, baseline=baseline)


def _begun(states: Mapping[Trial, State]) -> list[Path]:
    """The directories of the runs that can be compared; none before one is done."""
    if not any(state.status == 'done' for state in states.values()):
        return []
    return [trial.work_dir for trial, state in states.items()
            if state.record and state.status != 'other']


def document(trials: Sequence[Trial], folder: Path, each_s: float | None, parallel: int,
             baseline: str | None) -> dict[str, Any]:
    """The runs as they are now and their comparison, JSON-able; None for what is unknown.

    Args:
        each_s: seconds of a whole run; None if unknown.
    """
    from refaug_det.comparison import grid
    from refaug_det.comparison.compare import compare

    states = {trial: grid.state_of(trial) for trial in trials}
    begun = _begun(states)
    return dict(
        folder=str(folder), parallel=parallel, time_left_s=grid.time_left(
            [state.share for state in states.values() if state.status != 'done'], each_s,
            parallel),
        runs=[dict(backbone=trial.backbone, seed=trial.seed, work_dir=str(trial.work_dir),
                   status=state.status, share=state.share, differs=list(state.differs))
              for trial, state in states.items()],
        comparison=compare(begun, baseline).to_dict() if begun else None)


def _options(data_root: Path | None, classes: str | None, changes: Sequence[str]) -> list[str]:
    wrong = [change for change in changes if '=' not in change]
    if wrong:
        raise UserError(f'not KEY=VALUE: {wrong[0]}', '--cfg-options',
                        'as in train_cfg.max_epochs=3')
    return [*(['--data-root', str(data_root)] if data_root else []),
            *(['--classes', classes] if classes else []),
            *(['--cfg-options', *changes] if changes else [])]


def plans(config: Path, backbones: Sequence[str], options: Sequence[str]) -> dict[str, Plan]:
    """What a run of each backbone would record; all is checked before anything runs.

    Raises:
        UserError: an unknown backbone, or what is wrong with the config.
    """
    from refaug_det.runs import launch

    points = list(entry_points(group=PLANS, name='detection'))
    if not points:
        raise UserError('the detection stage is not installed', PLANS,
                        'install refaug-det again: pip install -e .')
    planned = points[0].load()
    parser = launch.arguments('')
    parser.add_argument('--backbone')
    return {name: planned(parser.parse_args([str(config), '--backbone', name, *options]))
            for name in backbones}


def command(trial: Trial, config: Path, options: Sequence[str]) -> tuple[str, ...]:
    """The words that run a trial.

    Raises:
        UserError: the script is not here.
    """
    from refaug_det.runs.jobs import python

    script = ROOT / 'tools' / 'train_det.py'
    if not script.is_file():
        raise UserError('the training script is not here', script,
                        'work in a clone of the repository, installed by pip install -e .')
    # --cfg-options takes all words up to the next option, so it comes before others
    return python(script, config, *options, '--backbone', trial.backbone,
                  '--seed', trial.seed, '--work-dir', trial.work_dir)


def devices() -> list[str]:
    """Values of CUDA_VISIBLE_DEVICES that are one GPU each; none without GPUs."""
    import torch

    told = os.environ.get('CUDA_VISIBLE_DEVICES')
    count = torch.cuda.device_count()  # of those that are visible
    return told.split(',')[:count] if told else [str(number) for number in range(count)]


def environment(parallel: int, visible: Sequence[str]) -> dict[str, str]:
    """Of the processes: without GPUs they share the cores."""
    found = dict(os.environ, PYTHONUNBUFFERED='1')
    if not visible and parallel > 1:
        found.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // parallel)))
    return found


def summary(states: Mapping[Trial, State], parallel: int) -> str:
    """One line: how many runs, and how far they are."""
    counts = Counter(state.status for state in states.values())
    told = ', '.join(f'{number} {status}' for status, number in counts.items())
    return f'{len(states)} runs: {told}; {parallel} at a time'


def preview(states: Mapping[Trial, State], each_s: float | None,
            parallel: int) -> tuple[list[list[str]], list[str]]:
    """The runs in the order in which they start, and what there is to say of all.

    Args:
        each_s: seconds of a whole run; None if unknown.

    Returns:
        Rows (run, state, share done, time left, difference), and sentences.
    """
    from refaug_det.comparison import grid
    from refaug_det.runs.progress import clock

    def time(shares: list[float], side_by_side: int) -> str:
        left = grid.time_left(shares, each_s, side_by_side)
        return 'unknown' if left is None else clock(left)

    open_ = {trial: state for trial, state in states.items() if state.status != 'done'}
    rows = [[trial.name, state.status, f'{100 * state.share:.0f} %',
             time([state.share], 1) if trial in open_ else '', '; '.join(state.differs[:1])]
            for trial, state in states.items()]
    total = time([state.share for state in open_.values()], parallel)
    notes = ['The time is unknown until one run of this protocol has finished here.'
             if each_s is None and open_ else
             f'{len(open_)} to run, {parallel} at a time: {total}.']
    others = sum(state.status == 'other' for state in states.values())
    if others:
        notes.append(f'{others} are refused without --overwrite: another run is there.')
    return rows, notes
