"""What stage 1 adds to a report: what training did to the networks that backbones came from.

All of it is read from what the runs and `refaug-det analyze` left in the run directories.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from refaug_det.errors import UserError
from refaug_det.reports.sections import Missing, Picture, Section
from refaug_det.tables import Table, visible

if TYPE_CHECKING:
    from refaug_det.reports.sections import Material
    from refaug_det.runs.records import RunRecord

LAST, AUGMENTED = 'last', 'augmented'
RISKS = {'clean_train': 'clean train', 'augmented_train': 'augmented train', 'test': 'test',
         'augmentation_gap': 'augmentation gap', 'generalisation_gap': 'generalisation gap'}


def curves(material: Material) -> Section:
    """Risks by epoch of every stage 1 run, with the switch marked."""
    from classification.analysis import figures, history_curves
    from refaug_det.figures import to_svg
    from refaug_det.runs import history

    pictures, unrecorded, missing = [], [], list(_absent(material))
    for folder, record in material.sources.values():
        try:
            found = history_curves.collect(folder)
        except UserError as error:  # the other runs have their curves
            missing.append(Missing(f'{record.name}: {error.what}; {error.fix}.'))
            continue
        switch = found['switch']
        shares = [row.get('augmented_share') for row in history.read(folder)]
        augmented = any(share != 0 for share in shares)  # of old runs it is not known
        said = ('no switch' if switch is None else
                f'augmentation ends after epoch {switch}, where refinement begins' if augmented
                else f'refinement begins after epoch {switch}; nothing was augmented before it')
        ends = ', '.join(f'{figures.RISKS[name][1]} {points[-1][1]:.3f}'
                         for name, points in found['series'].items())
        figure = figures.curves(found['series'], switch, _plain(record.name))
        figure.set_size_inches(4.4, 3.3)  # two stand side by side
        pictures.append(Picture(
            to_svg(figure), 'svg',
            alt=f'Cross entropy of {record.name} by epoch; {said}. At the end, in nats: {ends}.',
            caption=f'{record.name}: {said}.'))
        if not found['images']:
            unrecorded.append(record.name)
    notes = []
    if unrecorded:
        notes.append(f'Not recorded for {", ".join(unrecorded)}: the risks on clean and on '
                     'augmented training images by epoch. Training with RefAugRiskHook records '
                     'them.')
    if other := [name for name, run in material.origins.items() if run is None]:
        notes.append(f'Not made by a run of stage 1: {", ".join(other)}.')
    return Section('Training curves', pictures=tuple(pictures), missing=tuple(missing),
                   notes=tuple(notes))


def risks(material: Material) -> Section | None:
    """Clean, augmented and test risk of every network, and the gaps between them."""
    from classification.analysis import figures
    from refaug_det.figures import to_svg

    if not material.sources:
        return None
    entries, missing = _entries(material, 'risk')
    if not entries:
        return Section('Risk gaps', missing=missing)
    table = Table(
        'Cross entropy in nats, with 95 % bootstrap intervals', ('network', *RISKS.values()),
        tuple((name, *(_interval(entry[risk]) for risk in RISKS))
              for name, entry in entries.items()),
        ('Augmentation gap: augmented less clean training risk. Generalisation gap: test less '
         'clean training risk (He et al. 2019, Table 2). Intervals are over images, of one '
         'network each.',))
    drawn = figures.risks([{**entry, 'weights': _plain(name)} for name, entry in entries.items()],
                          '')
    drawn.axes[0].set_ylabel('')
    figure = Picture(
        to_svg(drawn), 'svg', caption='Risks and their intervals.',
        alt='Risks by network, in nats. ' + '; '.join(
            f'{name}: ' + ', '.join(f'{label} {entry[risk]["value"]:.3f}'
                                    for risk, label in RISKS.items())
            for name, entry in entries.items()) + '.')
    return Section('Risk gaps', words=tuple(_changes(material, entries)), pictures=(figure,),
                   tables=(table,), missing=missing)


def spectra(material: Material) -> Section | None:
    """Singular values of the penultimate features of every network."""
    from classification.analysis import figures
    from refaug_det.figures import to_svg

    if not material.sources:
        return None
    entries, missing = _entries(material, 'spectrum')
    if not entries:
        return Section('Feature spectra', missing=missing)
    parts = {'within classes': 'intra_class', 'all classes': 'all_classes'}
    table = Table(
        'Effective rank of the features, and directions that hold 90 % of their variance',
        ('network', *(f'{what}, {part}' for part in parts for what in ('rank', '90 %')),
         'features', 'images'),
        tuple((name, *(text for key in parts.values() for text in (
            f'{entry[key]["effective_rank"]:.1f}', str(entry[key]['directions_90']))),
            str(entry['features']), str(entry['images'])) for name, entry in entries.items()),
        ('Effective rank: exp of the entropy of the singular values (Roy & Vetterli 2007); as '
         'many as there are features if all are alike, 1 if one holds all.',))
    figure = Picture(
        to_svg(figures.spectra({_plain(name): entry for name, entry in entries.items()},
                               'covariance')), 'svg',
        caption='Singular values of the covariance of penultimate features, in order.',
        alt='Feature spectra. ' + '; '.join(
            f'{name}: effective rank {entry["intra_class"]["effective_rank"]:.1f} within classes, '
            f'{entry["all_classes"]["effective_rank"]:.1f} over all'
            for name, entry in entries.items()) + '.')
    return Section('Feature spectra', pictures=(figure,), tables=(table,), missing=missing)


def _entries(material: Material, kind: str) -> tuple[dict[str, dict[str, Any]],
                                                     tuple[Missing, ...]]:
    """What `refaug-det analyze KIND` left, by network; and the commands for what it did not."""
    from classification.refinement import AUGMENTED_WEIGHTS
    from refaug_det.runs import results

    entries, missing = {}, []
    for folder, record in material.sources.values():
        kept = {entry.get('weights'): entry for entry in results.read(folder / f'{kind}.json')
                if entry.get('run') == record.id}
        wanted = [AUGMENTED] if (folder / AUGMENTED_WEIGHTS).is_file() else []
        for weights in [*wanted, LAST]:
            if weights in kept:
                entries[_network(record, weights, bool(wanted))] = kept[weights]
            else:
                name = _network(record, weights, bool(wanted))
                missing.append(Missing(f'{name} was not analysed.',
                                       _command(kind, material.place(folder), weights)))
    return entries, tuple(missing)


def _absent(material: Material) -> tuple[Missing, ...]:
    """Backbones whose stage 1 run is not among the folders named."""
    away = [name for name, run in material.origins.items()
            if run is not None and run not in material.sources]
    return (Missing(f'The stage 1 runs of {", ".join(away)} are not among the folders named: name '
                    'them too.', 'refaug-det report RUNS STAGE_1_RUNS'),) if away else ()


def _changes(material: Material, entries: dict[str, dict[str, Any]]) -> list[str]:
    """What refinement did to the gaps of a run, a sentence each."""
    said = []
    for _, record in material.sources.values():
        before, after = (entries.get(_network(record, w, True)) for w in (AUGMENTED, LAST))
        if before and after:
            gaps = ' and '.join(
                f'the {RISKS[gap]} from {before[gap]["value"]:.3f} to {after[gap]["value"]:.3f}'
                for gap in ('augmentation_gap', 'generalisation_gap'))
            said.append(f'{record.name}: refinement took {gaps} nats, the test risk from '
                        f'{before["test"]["value"]:.3f} to {after["test"]["value"]:.3f}.')
    return said


def _network(record: RunRecord, weights: str, refines: bool) -> str:
    return f'{record.name} ({"refined" if refines and weights == LAST else weights})'


def _command(kind: str, place: str, weights: str) -> str:
    if kind == 'spectrum':
        return shlex.join(['refaug-det', 'analyze', kind,
                           place + f':{weights}' * (weights != LAST)])
    return shlex.join(['refaug-det', 'analyze', kind, place,
                       *(['--weights', weights] if weights != LAST else [])])


def _interval(estimate: dict[str, float]) -> str:
    return f'{estimate["value"]:.3f} [{estimate["low"]:.3f}, {estimate["high"]:.3f}]'


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return visible(text).replace('$', r'\$')
