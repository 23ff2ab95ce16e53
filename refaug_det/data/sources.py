"""Data sets by name: what can prepare and check them, collected from entry points.

Each stage, and anyone else's package, names its own in the group `refaug_det.data_sets`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from refaug_det.errors import UserError

GROUP = 'refaug_det.data_sets'
FATAL, DROPPED, NOTE = 'fatal', 'dropped', 'note'


class Fault(NamedTuple):
    """One thing that is wrong with the data: what, the file or folder, the remedy.

    Attributes:
        level: `fatal`: training refuses it; `dropped`: training leaves it out, and counts
            it; `note`: worth knowing, and no error.
        kind: a fixed word for what is wrong, where the data set has such words.
    """

    what: str
    where: str
    fix: str
    level: str = FATAL
    kind: str = ''

    def __str__(self) -> str:
        said = '' if self.level == FATAL else f'{self.level}: '
        return f'{said}{self.what}: {self.where} ({self.fix})'


def refuse(faults: Sequence[Fault]) -> None:
    """Raise the first fatal one of several faults, if there is any.

    Raises:
        UserError: that fault.
    """
    for fault in faults:
        if fault.level == FATAL:
            raise UserError(fault.what, fault.where, fault.fix) from None


@dataclass(frozen=True)
class Report:
    """What a check has seen.

    Attributes:
        data_set: its name.
        root: the folder that was checked.
        images: split -> number of images in it.
        classes: number of classes.
        faults: nothing, if all is well.
    """

    data_set: str
    root: str
    images: Mapping[str, int] = field(default_factory=dict)
    classes: int = 0
    faults: Sequence[Fault] = ()

    @property
    def notes(self) -> int:
        """How many of the faults are notes, no errors."""
        return sum(fault.level == NOTE for fault in self.faults)

    def summary(self) -> str:
        """One line: images per split, classes, and how many faults and notes."""
        counts = ', '.join(f'{split} {count}' for split, count in self.images.items())
        errors = len(self.faults) - self.notes
        said = f'{errors or "no"} fault{"s" * (errors != 1)}'
        if self.notes:
            said += f', {self.notes} note{"s" * (self.notes != 1)}'
        return (f'{self.data_set} in {self.root}: {counts or "no"} images, {self.classes} classes: '
                f'{said}')

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return dict(data_set=self.data_set, root=self.root, images=dict(self.images),
                    classes=self.classes,
                    faults=[{key: value for key, value in fault._asdict().items() if value}
                            for fault in self.faults])


class Source(Protocol):
    """What an entry point of `refaug_det.data_sets` names.

    Attributes:
        about: one line, what it is and where to get it.
    """

    about: str

    def prepare(self, root: Path, archives: Sequence[Path]) -> str:
        """Put the data set below `root`, from archives or a download; says in a line what it did.

        Whole or not at all, and nothing when it is there.

        Raises:
            UserError: what is missing or wrong, and what to do.
        """

    def check(self, root: Path, quick: bool = False) -> Report:
        """Look for all that is wrong below `root`; `quick` does not decode the images."""

    # and, where the layout of a folder tells what it is:
    # def recognises(self, root: Path) -> bool: whether this data set seems to lie in `root`;
    # where only its name tells which it is, `lies_in`, the same question, for refaug-det doctor


def names() -> list[str]:
    """The names of all data sets that installed packages offer, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def source(name: str) -> Source:
    """What prepares and checks a data set.

    Raises:
        UserError: no data set of this name.
    """
    for point in entry_points(group=GROUP, name=name):
        return point.load()
    near = difflib.get_close_matches(name, names(), 1)
    raise UserError(f'no data set {name!r}', 'NAME', f'did you mean {near[0]!r}?' if near else
                    f'one of {", ".join(names())}')


def recognised(root: Path) -> Source:
    """What checks a folder whose layout tells which data set it is.

    Raises:
        UserError: no such folder, or its layout is that of no data set or of several.
    """
    if not root.is_dir():
        raise UserError('no such folder', root, 'name a folder, or a data set and its --root')
    found = {name: each for name, each in ((name, source(name)) for name in names())
             if getattr(each, 'recognises', lambda _: False)(root)}
    if len(found) != 1:
        raise UserError('the folder is laid out as ' + (' and '.join(found) or 'no known data set'),
                        root, 'say what it is: refaug-det data check NAME --root DIR, NAME one of '
                        + ', '.join(found or names()))
    return next(iter(found.values()))
