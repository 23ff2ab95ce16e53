"""What a comparison is: rows, and what a reader must know; shown as tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from refaug_det.comparison.trials import Seed, Trials
from refaug_det.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from refaug_det.comparison.significance import Verdict
    from refaug_det.tables import Table

SIZES = {size: f'AP ({size})' for size in ('small', 'medium', 'large')}


@dataclass(frozen=True)
class Row:
    """One backbone.

    Attributes:
        backbone: its name.
        sha256: digest of its weights; None where no record says.
        values: seed -> metric (AP in percent), finished trials only.
        expected: every seed seen in any row, sorted.
        mean: over `values`; None without values.
        sd: sample standard deviation (ddof = 1); None with fewer than 2 values.
        difference: mean less the baseline's; None in the baseline's own row.
        standard_error: of the difference, sqrt(sd1^2 / n1 + sd2^2 / n2) (Welch); None
            where either row has fewer than 2 values.
        failed, interrupted, running: runs that did not finish; never averaged.
        unmeasured: finished trials without a value of this metric.
    """

    backbone: str
    sha256: str | None
    values: Mapping[Seed, float]
    expected: tuple[Seed, ...]
    mean: float | None
    sd: float | None
    difference: float | None
    standard_error: float | None
    failed: int
    interrupted: int
    running: int
    unmeasured: int

    @property
    def n(self) -> int:
        """Trials that the mean is over."""
        return len(self.values)

    @property
    def missing(self) -> tuple[Seed, ...]:
        """Seeds that some row has tried and this one has no value for."""
        return tuple(seed for seed in self.expected if seed not in self.values)


@dataclass(frozen=True)
class Comparison:
    """Rows by falling mean (those without values last), and what a reader must know.

    Attributes:
        metric: what the rows' values are.
        selection: which checkpoint was measured, such as `last epoch`.
        fingerprint: of the protocol that all runs share.
        baseline: name of the row that differences are against.
        seeds: every seed seen, sorted.
        rows: one per backbone.
        classification_runs, copies, repeats, set_aside: records that are in no row, or
            in it once only; see `refaug_det.comparison.trials.Trials`.
        notes: what the finished runs' records note, and versions, devices and operators
            in which they differ -> number of runs.
        verdicts: on the differences to the baseline; empty where none was asked for.
        best: the row that the test tells from all others, if there is one.
        trials: the runs themselves.
    """

    metric: str
    selection: str
    fingerprint: str
    baseline: str
    seeds: tuple[Seed, ...]
    rows: tuple[Row, ...]
    classification_runs: int = 0
    copies: int = 0
    repeats: int = 0
    set_aside: int = 0
    notes: Mapping[str, int] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    best: str | None = None
    trials: Trials | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """All but the trials, JSON-able; a row's `values` are in the order of `seeds`."""
        out = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del out['trials']
        rows = []
        for row in self.rows:
            cells = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
            del cells['expected']
            rows.append({**cells, 'n': row.n, 'missing': list(row.missing),
                         'values': [row.values.get(seed) for seed in self.seeds]})
        return {**out, 'seeds': list(self.seeds), 'notes': dict(self.notes), 'rows': rows,
                'verdicts': [one.to_dict() for one in self.verdicts]}

    def to_frame(self) -> pd.DataFrame:
        """A row per backbone, a column `seed S` per seed, NaN where a value is missing."""
        import pandas as pd

        from refaug_det.comparison import tables
        return pd.DataFrame(tables.records(self))

    def table(self) -> Table:
        """A row a backbone; the best in bold where a test was asked for and says so."""
        from refaug_det.comparison import tables
        return tables.main_table(self)

    def verdict_table(self) -> Table | None:
        """Which differences are real; None where that was not asked, or cannot be said."""
        from refaug_det.comparison import tables
        return tables.verdict_table(self)

    def breakdown(self, by: str) -> Table:
        """A row a class, or a size of objects; a column a backbone.

        Args:
            by: `class` (of this metric) or `size` (COCO's AP).

        Raises:
            UserError: the runs have no such metrics.
        """
        from refaug_det.comparison import tables
        return tables.breakdown_table(self, by, self.parts(by))

    def parts(self, by: str) -> dict[str, Comparison]:
        """Class or size -> the comparison of its metric, in no test.

        Raises:
            UserError: as `breakdown`.
        """
        found = self.trials.results.values() if self.trials else ()
        names = list(dict.fromkeys(name for seeds in found for record in seeds.values()
                                   for name, value in record.metrics.items() if value is not None))
        start = f'{self.metric}/'
        wanted = {'class': {name.removeprefix(start): name for name in names
                            if name.startswith(start)},
                  'size': {size: name for size, name in SIZES.items() if name in names}}.get(by)
        if not wanted or self.trials is None:
            raise UserError(f'no run has {self.metric} by {by}', '--by', 'it is class or size; '
                            'classes have AP50 (11-point), AP50 (area) and AP')
        from refaug_det.comparison.compare import of_trials
        return {part: of_trials(self.trials, self.baseline, name)
                for part, name in wanted.items()}

    def plot(self) -> Figure:
        """Differences to the baseline with their intervals: a forest plot."""
        from refaug_det.comparison import forest
        return forest.draw(self)

    def tables(self) -> list[Table]:
        """The table of rows, and that of verdicts if there is one."""
        return [table for table in (self.table(), self.verdict_table()) if table is not None]

    def to_markdown(self) -> str:
        """Titles, tables and notes in Markdown (GFM)."""
        return '\n'.join(table.to_markdown() for table in self.tables())

    def to_latex(self) -> str:
        """A `table` each in LaTeX; it needs the packages booktabs and textcomp."""
        return '\n'.join(table.to_latex() for table in self.tables())

    def to_html(self) -> str:
        """A `<table>` each, without style or script."""
        return '\n'.join(table.to_html() for table in self.tables())

    def to_csv(self) -> str:
        """Header and rows (RFC 4180), full precision, empty where a value is missing."""
        from refaug_det.comparison import tables
        return tables.to_csv(self)

    _repr_html_ = to_html

    def __str__(self) -> str:
        return '\n'.join(table.to_text() for table in self.tables())
