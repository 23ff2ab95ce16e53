"""`refaug-det analyze ...`: numbers into the run directory, a figure, and a line of plain words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from refaug_det import answers

Output = Annotated[Path | None, Parameter(name=['--output', '-o'])]


@answers.document
def risk(run: Path, /, *, weights: str = 'last', data_root: Path | None = None, draws: int = 1,
         clean: str = 'center', bn: str = 'eval', images: int | None = None,
         per_class: bool = False, json: bool = False) -> Any:
    """Clean-train, augmented-train and test risk of a classifier, and the gaps between them.

    Writes risk.json, risk.svg and risk.png into the run directory; risk.json has an entry for
    each --weights.

    Example: refaug-det analyze risk work_dirs/RUN --weights augmented

    Args:
        run: a run directory of stage 1.
        weights: last, augmented (those before the switch), or a weights file.
        data_root: where the data lie now (default: where the run found them).
        draws: of the augmentation for each training image.
        clean: what a clean training image is: center (as test images are; the paper's numbers
            imply it) or standard (with the standard crop and flip).
        bn: statistics of batch norm: eval (the running ones) or train (the batch's).
        images: at most so many of each kind (default: all).
        per_class: also by class.
        json: print the numbers as JSON; words and progress go to stderr.

    Returns:
        Exit code, 0.
    """
    from classification.analysis import figures, gaps, loading
    from refaug_det.figures import save
    from refaug_det.runs import results

    opened = loading.open_run(run, data_root)
    entry = results.keep(run / 'risk.json', opened.record.id, weights, gaps.measure(
        opened, weights, draws=draws, clean=clean, bn=bn, images=images, per_class=per_class))
    save(figures.risks(results.read(run / 'risk.json'), opened.record.name), run / 'risk')
    crop = 'as test images are' if clean == 'center' else 'with crop and flip'
    print(f'{opened.title(weights)}, in nats: clean train {_shown(entry["clean_train"])} '
          f'({crop}), augmented train {_shown(entry["augmented_train"])}, test '
          f'{_shown(entry["test"])}; augmentation gap {_shown(entry["augmentation_gap"])}, '
          f'generalisation gap {_shown(entry["generalisation_gap"])}; batch norm in {bn} mode')
    _wrote(run, 'risk')
    return entry


@answers.document
def curves(run: Path, /, *, json: bool = False) -> Any:
    """Risks by epoch: clean-train, augmented-train, test, and the training objective.

    Reads history.json, and risks.json where the run had RefAugRiskHook; loads no network.
    Writes curves.json, curves.svg and curves.png into the run directory.

    Example: refaug-det analyze curves work_dirs/RUN

    Args:
        run: a run directory of stage 1.
        json: print the numbers as JSON; words go to stderr.

    Returns:
        Exit code, 0.
    """
    from classification.analysis import figures, history_curves
    from refaug_det.figures import save
    from refaug_det.runs import records, results

    record = records.read(run)
    found = history_curves.collect(run)
    entry = results.keep(run / 'curves.json', record.id, 'last', found)
    save(figures.curves(found['series'], found['switch'], record.name), run / 'curves')
    switch = found['switch']
    print(f'{record.name}: {", ".join(found["series"])}; ' + (
        f'augmentation ended after epoch {switch}' if switch is not None else 'no switch') + (
        '' if found['images'] else '; clean and augmented training risks were not recorded: '
        'train with RefAugRiskHook'))
    _wrote(run, 'curves')
    return entry


@answers.document
def spectrum(runs: list[str], /, *, data_root: Path | None = None,
             classes: Annotated[list[str] | None, Parameter(name='--class')] = None,
             split: str = 'train', images: int | None = None, scale: str = 'covariance',
             output: Output = None, json: bool = False) -> Any:
    """Singular values of penultimate features: within a class, within classes, over all.

    Writes spectrum.json into each run directory, and one figure of all into the first.

    Example: refaug-det analyze spectrum standard mixup:augmented mixup

    Args:
        runs: run directories of stage 1; RUN:augmented for the weights before the switch.
        data_root: where the data lie now (default: where the runs found them).
        classes: whose own spectrum is wanted (default: the first, as in the paper).
        split: train (images as test images are: no crop drawn, no flip) or test.
        images: at most so many (default: all).
        scale: of the figure: covariance or scatter (not divided by the number of images).
        output: folder for the figure (default: the first run directory).
        json: print the numbers of all runs as JSON; words and progress go to stderr.

    Returns:
        Exit code, 0.
    """
    from classification.analysis import features, figures, loading
    from refaug_det.errors import UserError
    from refaug_det.figures import save
    from refaug_det.runs import results

    if scale not in ('covariance', 'scatter'):
        raise UserError(f'scale {scale!r}', '--scale', 'covariance or scatter')
    entries: dict[str, dict[str, Any]] = {}
    for path, weights in map(loading.parse, runs):
        opened = loading.open_run(path, data_root)
        entry = results.keep(path / 'spectrum.json', opened.record.id, weights, features.spectra(
            opened, weights, classes=classes or (), split=split, images=images))
        entries[opened.title(weights)] = entry
        ranks = {part: entry[part]['effective_rank'] for part in ('intra_class', 'all_classes')}
        print(f'{opened.title(weights)}: effective rank {ranks["intra_class"]:.1f} within '
              f'classes, {ranks["all_classes"]:.1f} over all of {entry["features"]} features; '
              f'90 % of the variance in {entry["all_classes"]["directions_90"]} directions; '
              f'{entry["images"]} {split} images of {entry["classes"]} classes')
    folder = output or loading.parse(runs[0])[0]
    save(figures.spectra(entries, scale), folder / 'spectrum')
    _wrote(folder, 'spectrum', numbers=len(runs) == 1)
    return list(entries.values())


@answers.document
def switch(paths: list[Path], /, *, median_of: int = 1, output: Output = None,
           json: bool = False) -> Any:
    """Test error against the epoch at which augmentation ends, from finished runs.

    Reads run.json, history.json and config.json files only. Writes switch.json, switch.svg and
    switch.png.

    Example: refaug-det analyze switch work_dirs --median-of 10

    Args:
        paths: run directories of stage 1, or folders that hold them.
        median_of: the error is the median over so many of the last epochs (the paper: 10).
        output: folder to write to (default: the one that holds all the runs).
        json: print the numbers as JSON; words go to stderr.

    Returns:
        Exit code, 0.
    """
    from classification.analysis import figures
    from classification.analysis import switch as switches
    from refaug_det.errors import UserError
    from refaug_det.figures import save
    from refaug_det.runs import results

    found = switches.collect(paths, median_of)
    folder = output or Path(os.path.commonpath([path.absolute() for path in paths]))
    if folder == folder.parent:
        raise UserError('the runs have no folder in common', folder, 'pass --output')
    entry = results.keep(folder / 'switch.json', '', 'last', found)
    save(figures.switch_curve(found['points'], found['epochs']), folder / 'switch')
    best = min(found['points'], key=lambda point: point['mean'])
    print(f'least test error {best["mean"]:.2f} % ({best["low"]:.2f} to {best["high"]:.2f}, '
          f'n = {best["n"]}) with augmentation for {best["switch"]} of {found["epochs"]} epochs; '
          f'{len(found["points"])} switch epochs'
          + ''.join(f'; {count} set aside ({why})' for why, count in found['set_aside'].items())
          + (f'; the runs also differ in {", ".join(found["differences"])}'
             if found['differences'] else ''))
    _wrote(folder, 'switch')
    return entry


@answers.document
def surface(*, standard: str, augmented: str, refined: str, data_root: Path | None = None,
            images: int = 1000, steps: int = 4, output: Output = None,
            json: bool = False) -> Any:
    """Clean and augmented risk on the plane through three solutions, and on its lines.

    Batch-norm statistics are estimated anew at every point. Writes surface.json, surface.svg
    and .png, and surface_lines.svg and .png.

    Example: refaug-det analyze surface --standard A --augmented B:augmented --refined B

    Args:
        standard: run directory of a network trained without the augmentation.
        augmented: RUN:augmented, the weights before the switch.
        refined: the run directory of the refined network.
        data_root: where the data lie now (default: where the augmented run found them).
        images: training images that risks are measured on.
        steps: points to a unit, in both directions of the plane.
        output: folder to write to (default: the refined run's directory).
        json: print the numbers as JSON; words and progress go to stderr.

    Returns:
        Exit code, 0.
    """
    from classification.analysis import contours, landscape, loading
    from refaug_det.figures import save
    from refaug_det.runs import results

    chosen = [loading.parse(word) for word in (augmented, refined, standard)]
    runs = [(loading.open_run(path, data_root), weights) for path, weights in chosen]
    found = landscape.landscape(runs, images=images, steps=steps)
    folder = output or chosen[1][0]
    entry = results.keep(folder / 'surface.json', runs[1][0].record.id, chosen[1][1], found)
    save(contours.plane(found), folder / 'surface')
    save(contours.lines(found), folder / 'surface_lines')
    far = found['distances']
    print('distances in weight space: ' + ', '.join(
        f'{name} {value:.3g}' for name, value in far.items() if 'angle' not in name)
        + '; ' + '; '.join(_barrier(found, name) for name in found['lines']))
    _wrote(folder, 'surface')
    return entry


def _barrier(found: dict[str, Any], line: str) -> str:
    """How high the clean risk rises between two solutions, above the higher of the two."""
    ends = [n for n, t in enumerate(found['t']) if t in (0.0, 1.0)]
    values = found['lines'][line][0][ends[0]:ends[1] + 1]
    if any(value is None for value in values):
        return f'{line}: clean risk not finite'
    return f'{line}: clean barrier {max(values) - max(values[0], values[-1]):.3f} nats'


def _shown(estimate: dict[str, float]) -> str:
    return f'{estimate["value"]:.4f} [{estimate["low"]:.4f}, {estimate["high"]:.4f}]'


def _wrote(folder: Path, stem: str, numbers: bool = True) -> None:
    kinds = ('json', 'svg', 'png') if numbers else ('svg', 'png')
    print(f'wrote {folder / stem}.{{{",".join(kinds)}}}')
