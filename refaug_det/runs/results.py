"""The files that analyses leave: numbers with a schema version, one entry for all that is alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refaug_det.errors import UserError
from refaug_det.runs import files

SCHEMA = 1


def read(path: Path | str) -> list[dict[str, Any]]:
    """The entries of a file that `keep` wrote; none where there is no file.

    Raises:
        UserError: not JSON, or of another schema version.
    """
    path = Path(path)
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
        schemas = {entry['schema'] for entry in entries}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise UserError('this is no file of an analysis', path, 'remove it, and analyse again'
                        ) from None
    if schemas - {SCHEMA}:
        raise UserError(f'an analysis of schema {sorted(schemas)}; this version reads {SCHEMA}',
                        path, 'use the refaug-det version that wrote it')
    return entries


def keep(path: Path | str, run: str, weights: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Write an entry; it replaces one of the same weights, and all those of another run.

    Args:
        path: the file: a list of entries.
        run: id of the run, `RunRecord.id`; a directory can be used anew.
        weights: what was analysed, such as `last`.
        entry: JSON-able.

    Returns:
        The entry as written, with `schema`, `run` and `weights`.
    """
    entry = dict(schema=SCHEMA, run=run, weights=weights, **entry)
    others = [e for e in read(path) if e.get('run') == run and e.get('weights') != weights]
    files.write_json(path, [*others, entry])
    return entry
