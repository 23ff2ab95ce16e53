"""The page: chapters in the order of a reader's questions, one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refaug_det import __version__
from refaug_det.comparison import compare as comparing
from refaug_det.errors import UserError
from refaug_det.reports import provenance, sections, shared, summary
from refaug_det.reports.sections import Material, Missing, Section
from refaug_det.runs import files, records
from refaug_det.tables import Table, environment

CHAPTERS = {
    'compared': 'What was compared?', 'difference': 'Is the difference real?',
    'origin': 'Where does it come from?', 'training': 'What did training do?',
    'more': 'What else is known?', 'reproduce': 'How to reproduce it',
    'missing': 'What failed or is missing?'}
TITLE = 'Does the augmentation’s gain transfer to detection?'
_SHARED: tuple[tuple[str, str, Callable[[Material], Section | None]], ...] = (
    ('compared', 'Backbones and runs', shared.compared),
    ('difference', 'Differences to the baseline', shared.difference),
    ('origin', 'By class', shared.classes), ('origin', 'By size', shared.sizes),
    ('reproduce', 'Commands', provenance.commands),
    ('reproduce', 'Fingerprints and versions', provenance.fingerprints),
    ('missing', 'Runs', provenance.unfinished), ('missing', 'Notes', provenance.noted))


@dataclass(frozen=True)
class Chapter:
    """A question, and the sections that answer it.

    Attributes:
        name: a word, the anchor.
        question: its heading.
        sections: with their anchors.
    """

    name: str
    question: str
    sections: tuple[tuple[str, Section], ...]


def report(paths: Iterable[Path | str], output: Path | str, baseline: str | None = None,
           metric: str | None = None, data_root: Path | str | None = None, images: int = 6,
           resamples: int = 1000, title: str | None = None) -> Path:
    """Write the page of a comparison: all that is known of the runs in or below `paths`.

    Args:
        paths: run directories of both stages, or folders that hold them.
        output: the file to write.
        baseline, metric, resamples: as in `refaug_det.compare`; differences are always tested.
        data_root: where the test images lie now; by default where the runs found them.
        images: how many of them to show with detections.
        title: of the page.

    Returns:
        The file written. The same runs give the same bytes.

    Raises:
        UserError: as `refaug_det.compare`; the file cannot be written.
    """
    material = gather(paths, baseline, metric, data_root, images, resamples)
    return write(render(chapters(material), material, title or TITLE), output)


def gather(paths: Iterable[Path | str], baseline: str | None = None, metric: str | None = None,
           data_root: Path | str | None = None, images: int = 6,
           resamples: int = 1000) -> Material:
    """What `report` makes a page from; see there."""
    paths = list(paths)
    comparison = comparing.compare(paths, baseline, metric, test=True, resamples=resamples)
    classification: dict[str, Any] = {}
    for file, record in records.find(paths):
        known = classification.get(record.id)
        if record.stage == 'classification' and (known is None or known[1].status != 'done'):
            classification[record.id] = file.parent, record
    return Material(comparison, classification, Path(data_root) if data_root else None, images)


def chapters(material: Material) -> list[Chapter]:
    """All sections by chapter; what any of them lacks is in the last one too."""
    made: dict[str, list[Section]] = {name: [] for name in CHAPTERS}
    for chapter, name, make in _SHARED:
        section = sections.guarded(name, make, material)
        if section is not None:
            made[chapter].append(section)
    for chapter, section in sections.offered(material):
        made[chapter if chapter in CHAPTERS else 'more'].append(section)
    lacking = [Missing(f'{section.title}: {one.what}', one.command)
               for name, those in made.items() if name != 'missing'
               for section in those for one in section.missing]
    made['missing'].insert(1, Section(
        'Parts of this report', missing=tuple(lacking),
        words=('Commands name run directories from the folder that holds them all.',) if lacking
        else ('Every part of this report is here.',)))
    return [Chapter(name, CHAPTERS[name], tuple(
        (f'{name}-{number}', section) for number, section in enumerate(those, start=1)))
        for name, those in made.items() if those]


def render(found: list[Chapter], material: Material, title: str = TITLE) -> str:
    """The page; whatever is in a name, it is shown as text."""
    made = environment()
    style, script = (made.get_template(f'report.{kind}').render() for kind in ('css', 'js'))
    policy = (f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
              f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'")
    comparison = material.comparison
    return made.get_template('report.html').render(
        title=title, policy=policy, version=__version__, chapters=found, below=_below,
        sortable=_sortable,
        headline=summary.headline(comparison), tone=summary.tone(comparison),
        lede=summary.lede(comparison), sentences=summary.sentences(comparison)) + '\n'


def write(page: str, output: Path | str) -> Path:
    """Write the page, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        files.write_text(output, page)
    except OSError as error:
        raise UserError(f'cannot write the report ({error.strerror or error})', output,
                        'name a file that can be written') from None
    return Path(output)


def _hash(text: str) -> str:
    """As a content security policy names a style or a script."""
    return f'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'


def _below(row: tuple[str, ...]) -> bool:
    """Whether a row is a further line of the one above it."""
    return row[0].startswith('  ') and row[1:2] == ('',)


def _sortable(table: Table) -> bool:
    """Whether its rows stand alone."""
    return len(table.rows) > 1 and not any(map(_below, table.rows))
