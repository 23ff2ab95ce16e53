"""What a report is made of: sections, those of this package and those that others offer.

A package adds a section through the entry-point group `refaug_det.report_sections`: a name
`CHAPTER.NAME`, with a chapter of `refaug_det.reports.page.CHAPTERS`, and a function of `Material`
that returns a `Section`, or None where it has nothing to say.
"""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refaug_det.errors import UserError
from refaug_det.tables import Table

if TYPE_CHECKING:
    from refaug_det.comparison.outcome import Comparison
    from refaug_det.comparison.trials import Trials
    from refaug_det.reports.forest import Forest
    from refaug_det.runs.records import RunRecord

GROUP = 'refaug_det.report_sections'
KINDS = {'svg': 'image/svg+xml', 'png': 'image/png', 'jpeg': 'image/jpeg'}


@dataclass(frozen=True)
class Picture:
    """A picture that becomes part of the page.

    Attributes:
        data: the bytes of its file.
        kind: `svg` (drawn for a light page, on no background), `png` or `jpeg`.
        alt: what it shows, to those who do not see it.
        caption: what it shows, to all.
        group: neighbours of one group stand side by side under it as a heading.
    """

    data: bytes = field(repr=False)
    kind: str
    alt: str
    caption: str = ''
    group: str = ''

    @property
    def source(self) -> str:
        """A `data:` URI."""
        return f'data:{KINDS[self.kind]};base64,{base64.b64encode(self.data).decode("ascii")}'


@dataclass(frozen=True)
class Missing:
    """What the report could hold and does not.

    Attributes:
        what: a sentence.
        command: what would make it, if anything.
    """

    what: str
    command: str = ''


@dataclass(frozen=True)
class Listing:
    """Lines to be copied, such as commands; folded away where there are many."""

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Shaded(Table):
    """A table whose cells have colours.

    Attributes:
        levels: (row, column) -> -5 (much less) to 5 (much more); 0 and absent have none.
    """

    levels: Mapping[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of the page; whatever a text holds, it is shown as text.

    Attributes:
        title: its heading; may be empty where the chapter's own says enough.
        words: what there is to say, a paragraph each.
        facts: terms and what is to be said of them.
        forest: a forest plot.
        pictures, tables, listings: what there is to see, in this order.
        notes: what a reader must know, in small print.
        missing: what is not here, and how to get it.
    """

    title: str
    words: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    forest: Forest | None = None
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    listings: tuple[Listing, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def picture_groups(self) -> list[tuple[str, tuple[Picture, ...]]]:
        """The pictures, neighbours of one group together."""
        return [(group, tuple(those)) for group, those in itertools.groupby(
            self.pictures, key=lambda picture: picture.group)]


@dataclass(frozen=True)
class Material:
    """What sections are made from.

    Attributes:
        comparison: with its trials.
        classification: id -> folder and record of every stage 1 run among the paths.
        data_root: where the images of the test set lie; None: where the runs found them.
        images: how many examples to show.
    """

    comparison: Comparison
    classification: Mapping[str, tuple[Path, RunRecord]] = field(default_factory=dict)
    data_root: Path | None = None
    images: int = 6

    @property
    def trials(self) -> Trials:
        assert self.comparison.trials is not None
        return self.comparison.trials

    @cached_property
    def origins(self) -> dict[str, str | None]:
        """Backbone -> id of the stage 1 run that it came from; in the order of the rows."""
        ids: dict[str, str | None] = {}
        for row in self.comparison.rows:
            for record in self.trials.results.get(row.backbone, {}).values():
                run = (record.backbone or {}).get('run')
                ids[row.backbone] = run if isinstance(run, str) else None
        return ids

    @cached_property
    def sources(self) -> dict[str, tuple[Path, RunRecord]]:
        """Id -> folder and record of those stage 1 runs here that backbones came from."""
        wanted = dict.fromkeys(run for run in self.origins.values() if run is not None)
        return {run: self.classification[run] for run in wanted if run in self.classification}

    def place(self, folder: Path) -> str:
        """A run directory, from the folder that holds them all: no report names its machine."""
        try:
            return Path(os.path.relpath(folder, self._home)).as_posix()
        except ValueError:  # on another drive
            return folder.name

    def without_home(self, text: str) -> str:
        """A text in which run directories are named as `place` does."""
        return text.replace(os.path.join(self._home, ''), '')

    @cached_property
    def _home(self) -> str:
        folders = [place for seeds in self.trials.places.values() for place in seeds.values()]
        folders += [folder for folder, _ in self.classification.values()]
        return os.path.commonpath([folder.parent for folder in folders])


def guarded(name: str, make: Callable[[Material], Any], material: Material) -> Section | None:
    """A section, or one that says why it could not be made."""
    try:
        made = make(material)
        if made is not None:
            if not isinstance(made, Section):
                raise TypeError(f'{type(made).__name__} is no Section')
            return replace(made, pictures=tuple(_checked(made.pictures)))
    except UserError as error:
        where = f' ({material.without_home(error.where)})' if error.where else ''
        return Section(name, missing=(Missing(f'{error.what}{where}; {error.fix}.'),))
    except Exception as error:  # one section, of whatever package, is not worth the report
        return Section(name, missing=(
            Missing(f'This section failed: {type(error).__name__}: {error}'),))
    return None


def offered(material: Material) -> Iterator[tuple[str, Section]]:
    """The sections of all installed packages, by name: chapter and section."""
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        chapter, _, name = point.name.rpartition('.')

        def make(material: Material, point: EntryPoint = point) -> Any:
            return point.load()(material)

        section = guarded(name.capitalize(), make, material)
        if section is not None:
            yield chapter, section


def _checked(pictures: Iterable[Picture]) -> Iterator[Picture]:
    for picture in pictures:
        if picture.kind not in KINDS or not picture.alt.strip():
            raise ValueError(f'a picture of kind {picture.kind!r} with the text {picture.alt!r}')
        yield picture
