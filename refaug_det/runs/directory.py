"""The run directory: claimed by one run, its config kept, its record always written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from refaug_det.errors import UserError
from refaug_det.runs import config as configs
from refaug_det.runs import files, history, locks, processes, records, signals

RESOLVED = 'config.json'
_OWN_FILES = ('iter_*.pth', 'weights_*.safetensors', 'detections.npz',
              history.FILE_NAME, RESOLVED, 'risks.json', 'risk.*', 'curves.*', 'spectrum.*',
              'surface.*', 'surface_lines.*',  # from 'risks.json' on: what analyses left
              records.FILE_NAME)  # last: while any is left, the directory counts as used


def claim(work_dir: Path, resolved: dict, record: records.RunRecord, *,
          resume: bool = False, overwrite: bool = False) -> None:
    """Take a directory for a run, and keep the resolved config in it.

    A resumed run keeps the id, the start and the time of the record it goes on with.

    Raises:
        UserError: the directory cannot be made, another process is at work in it, it
            was used and neither flag is given, or the run to resume had another config.
    """
    stored = work_dir / RESOLVED
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make the run directory ({error.strerror})', work_dir,
                        'choose another --work-dir') from None
    locks.refuse_if_held(work_dir)
    if (work_dir / records.FILE_NAME).exists():
        if resume:
            history.read(work_dir)  # while nothing is changed yet
            earlier = records.read(work_dir)
            record.id, record.started = earlier.id, earlier.started
            record.wall_time_s = (earlier.wall_time_s or 0) + _unrecorded(work_dir, earlier)
            if stored.is_file():
                before = files.read_json(stored, 'the config of the run to resume', dict)
                _refuse_changes(before, resolved, work_dir)
        elif overwrite:
            for pattern in _OWN_FILES:
                for path in work_dir.glob(pattern):
                    path.unlink()
        else:
            raise UserError('the run directory was used before', work_dir, 'pass --resume to go '
                            'on, --overwrite to start anew, or another --work-dir')
    files.sweep_temporary(work_dir)
    files.write_json(stored, resolved)


@contextmanager
def recorded(work_dir: Path, record: records.RunRecord) -> Iterator[records.RunRecord]:
    """Keep `run.json` true: `running` now, `done` or why not at the end.

    Its time is added to that of the parts before it. Meanwhile the directory is locked.
    """
    with locks.held(work_dir) if processes.is_first() else nullcontext():
        with _recorded(work_dir, record):
            yield record


@contextmanager
def _recorded(work_dir: Path, record: records.RunRecord) -> Iterator[None]:
    begun, before = time.monotonic(), record.wall_time_s or 0
    if processes.is_first():
        record.write(work_dir)
    try:
        with signals.heard():
            yield
        record.status = 'done'
    except BaseException as error:
        files.name_if_full(error, work_dir)  # mmengine's own files do not say which they are
        record.status = 'interrupted' if isinstance(error, KeyboardInterrupt) else 'failed'
        record.error = f'{type(error).__name__}: {str(error)[:500]}'
        with suppress(OSError):  # on a full disk what ended the run is said, not this
            _end(record, work_dir, before + time.monotonic() - begun)
        raise
    _end(record, work_dir, before + time.monotonic() - begun)


def _end(record: records.RunRecord, work_dir: Path, seconds: float) -> None:
    record.ended, record.wall_time_s = records.now(), round(seconds, 1)
    if processes.is_first():
        record.write(work_dir)


def _unrecorded(work_dir: Path, earlier: records.RunRecord) -> float:
    """Seconds of a part that was killed: from its record to the last file that it left."""
    if earlier.status != 'running':
        return 0.0
    written = [path.stat().st_mtime for pattern in ('iter_*.pth', history.FILE_NAME)
               for path in work_dir.glob(pattern)]
    begun = (work_dir / records.FILE_NAME).stat().st_mtime
    return round(max(0.0, max(written, default=begun) - begun), 1)


def _refuse_changes(before: dict, after: dict, work_dir: Path) -> None:
    changed = configs.differences(before, after)
    if changed:
        shown = '; '.join(f'{key}: {old!r} -> {new!r}' for key, old, new in changed[:4])
        more = f'; and {len(changed) - 4} more' if len(changed) > 4 else ''
        raise UserError(f'the config is not the one of the run to resume: {shown}{more}', work_dir,
                        'resume with the same config, or start anew in another --work-dir')
