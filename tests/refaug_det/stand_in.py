"""Stands in for `tools/train_det.py`: a run of some epochs that are naps, recorded like a real one.

Beside the run directories, `trace.txt` has a line for each epoch, and says if two are at one run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from refaug_det.runs import files, records

EPOCHS, NAP = 4, float(os.environ.get('NAP', 0.1))
# not mmengine's: what the real ones write, without what takes seconds to import
HISTORY, RESOLVED = 'history.json', 'config.json'


def alive(pid: str) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0]
    except OSError:
        return False
    return state not in 'ZX'


def trace(run: Path, *words: object) -> None:
    line = ' '.join(map(str, (run.name, *words))) + '\n'
    descriptor = os.open(run.parent / 'trace.txt', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def claim(args: argparse.Namespace, record: records.RunRecord) -> None:
    run = args.work_dir
    if (run / 'run.json').is_file() and not args.overwrite:
        if not args.resume:
            print('error: the run directory was used before\n  fix: another', file=sys.stderr)
            raise SystemExit(2)
        earlier = records.read(run)
        record.id, record.wall_time_s = earlier.id, earlier.wall_time_s or 0
    elif args.overwrite:
        (run / HISTORY).unlink(missing_ok=True)
    run.mkdir(exist_ok=True, parents=True)
    marker = run / 'at_work'
    if marker.is_file() and alive(marker.read_text()):
        trace(run, 'twice')
    marker.write_text(str(os.getpid()))
    files.write_json(run / RESOLVED, json.loads(args.config))
    record.write(run)


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ('--backbone', '--config', '--digest', '--sha256'):
        parser.add_argument(name)
    parser.add_argument('--seed', type=int)
    parser.add_argument('--work-dir', type=Path)
    parser.add_argument('--fail-at', type=int)
    parser.add_argument('--killed-at', type=int)
    for name in ('--resume', '--overwrite'):
        parser.add_argument(name, action='store_true')
    args = parser.parse_args()
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    begun, run = time.monotonic(), args.work_dir
    record = records.RunRecord(
        f'standin-{args.backbone}', 'detection', seed=args.seed, config_digest=args.digest,
        backbone=dict(name=args.backbone, sha256=args.sha256, run=None), selection='last epoch',
        protocol=dict(total_batch=16), started=records.now())
    claim(args, record)
    code = train(args, record, asked)
    record.ended = records.now()
    record.wall_time_s = (record.wall_time_s or 0) + time.monotonic() - begun
    (run / 'at_work').unlink()
    record.write(run)
    return code


def train(args: argparse.Namespace, record: records.RunRecord, asked: list[int]) -> int:
    run = args.work_dir
    path = run / HISTORY
    rows = json.loads(path.read_text()) if path.is_file() else []
    trace(run, 'device', os.environ.get('CUDA_VISIBLE_DEVICES'))
    for epoch in range(len(rows) + 1, EPOCHS + 1):
        time.sleep(NAP)
        if epoch == args.fail_at:
            record.status, record.error = 'failed', 'RuntimeError: on purpose'
            print('RuntimeError: on purpose\nlast words')
            return 1
        if epoch == args.killed_at:
            print(f'killed at epoch {epoch}', flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        trace(run, 'epoch', epoch)
        rows.append(dict(epoch=epoch))
        files.write_json(path, rows)
        if asked:
            record.status = 'interrupted'
            return 128 + asked[0]
    record.status = 'done'
    record.metrics = {'AP50 (11-point)': 60.0 + len(args.backbone) + args.seed}
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
