"""`run.json`: the one record of a run, and the only truth a table is made of."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refaug_det.errors import UserError
from refaug_det.runs import files

FILE_NAME = 'run.json'
SCHEMA = 1
_KINDS = {'id': str, 'started': str, 'data': dict, 'command': list}  # the rest: `comparison.trials`
STATUSES = ('running', 'done', 'failed', 'interrupted')


@dataclass
class RunRecord:
    """What is known of one run.

    Attributes:
        name: what the run is called in tables (for stage 2, the backbone's name).
        stage: `classification` or `detection`.
        status: one of `STATUSES`; `running` also marks a run that was killed.
        metrics: final values; shares and AP in percent, risks in nats.
        protocol: flat `dotted.key -> value` of all that must be equal for two
            runs to be compared; empty in stage 1.
        backbone: `{name, sha256, run}` of the backbone a stage 2 run started
            from (`run` is the stage 1 run id, or null).
        registered: names under which this run put backbones into the zoo.
        notes: fallbacks and counts a reader must know of.
    """

    name: str
    stage: str
    status: str = 'running'
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    schema: int = SCHEMA
    config: str = ''
    config_digest: str = ''
    command: list[str] = field(default_factory=list)
    seed: int | None = None
    started: str = ''
    ended: str | None = None
    wall_time_s: float | None = None
    selection: str = ''
    metrics: dict[str, float | None] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    protocol_fingerprint: str | None = None
    backbone: dict[str, str | None] | None = None
    registered: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    operators: str | None = None
    notes: list[str] = field(default_factory=list)
    error: str | None = None

    def write(self, run_dir: Path | str) -> None:
        files.write_json(Path(run_dir) / FILE_NAME, dataclasses.asdict(self))


def now() -> str:
    """Time in UTC, ISO 8601, to the second."""
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0).isoformat()


def read(path: Path | str) -> RunRecord:
    """Read a record from a run directory or a `run.json` file.

    Raises:
        UserError: no such file, not JSON, an unknown schema version or field.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UserError('no run record here', file,
                        'name a directory that tools/train_*.py wrote')
    value = files.read_json(file, 'the run record')
    if not isinstance(value, dict) or value.get('schema') != SCHEMA:
        found = value.get('schema') if isinstance(value, dict) else None
        raise UserError(f'run record of schema {found!r}; this version reads {SCHEMA}',
                        file, 'use the refaug-det version that wrote it')
    known = {f.name for f in dataclasses.fields(RunRecord)}
    unknown = sorted(set(value) - known)
    missing = [key for key in ('name', 'stage', 'status') if not isinstance(value.get(key), str)]
    missing += [key for key, kind in _KINDS.items() if not isinstance(value.get(key, kind()), kind)]
    if unknown or missing or value['status'] not in STATUSES:
        wrong = f'unknown {unknown}' if unknown else f'bad or missing {missing or ["status"]}'
        raise UserError(f'malformed run record: {wrong}', file,
                        'restore the file or run the job again')
    return RunRecord(**value)


def find(paths: list[Path | str]) -> list[tuple[Path, RunRecord]]:
    """All records in or below `paths`, sorted by path.

    Raises:
        UserError: a path holds no record at all, or a record is malformed.
    """
    found: dict[Path, RunRecord] = {}
    for start in map(Path, paths):
        candidates = [start] if start.is_file() else sorted(start.rglob(FILE_NAME))
        if not candidates:
            raise UserError('no run.json in or below this path', start,
                            'name run directories, or a folder that holds them')
        for file in candidates:
            found[file.resolve()] = read(file)
    return sorted(found.items())
