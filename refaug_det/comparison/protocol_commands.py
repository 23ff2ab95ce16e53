"""`refaug-det protocol show|diff`: what must be equal for two APs to be comparable."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Any

from refaug_det import answers


def show(path: Path, /, *, json: bool = False) -> int:
    """Print the protocol of a config or a run, and its fingerprint.

    Example: refaug-det protocol show configs/det/faster_rcnn_r50_fpn_voc07.py

    Args:
        path: a config file, or a run directory of stage 2. Only a run's
            protocol says which data were found, and so has the fingerprint
            that comparisons go by.
        json: print JSON.

    Returns:
        Exit code, 0.
    """
    from refaug_det.comparison import protocol

    found = protocol_at(path)
    fingerprint = protocol.fingerprint(found)
    if json:
        answers.print_json(dict(fingerprint=fingerprint, protocol=found))
        return 0
    for key, value in found.items():
        print(f'{key} = {_shown(value)}')
    print(f'fingerprint {fingerprint}')
    return 0


def diff(a: Path, b: Path, /, *, json: bool = False) -> int:
    """Print the fields in which two protocols differ. Exit code 1 if there are any.

    Example: refaug-det protocol diff configs/det/faster_rcnn_r50_fpn_voc07.py work_dirs/RUN

    Args:
        a: a config file, or a run directory of stage 2.
        b: the same. Between a config and a run, which data were found is left aside.
        json: print JSON.

    Returns:
        Exit code: 0 if they are equal, 1 if not.
    """
    from refaug_det.comparison import protocol

    first, second = protocol_at(a), protocol_at(b)
    if any(path.suffix == '.py' for path in (a, b)):
        first, second = ({key: value for key, value in found.items()
                          if not key.startswith('data.')} for found in (first, second))
    fields = protocol.differences(first, second)
    if json:
        answers.print_json([dict(field=key, a=x, b=y) for key, x, y in fields])
    else:
        for key, x, y in fields:
            print(f'{key}: {_shown(x)} | {_shown(y)}')
        print(f'fields that differ: {len(fields)}' if fields else 'the protocols are equal')
    return 1 if fields else 0


def protocol_at(path: Path) -> dict[str, Any]:
    """The protocol of a config file (`.py`), as one process would train it, or of a run.

    Raises:
        UserError: no such config or run, or a run that has no protocol.
    """
    if path.suffix == '.py':
        return _of_config(path)
    from refaug_det.errors import UserError
    from refaug_det.runs import records

    record = records.read(path)
    if not record.protocol:
        raise UserError(f'this run has no protocol: stage {record.stage}, {record.status}', path,
                        'name a run of stage 2 that began to train')
    return record.protocol


def _of_config(path: Path) -> dict[str, Any]:
    from refaug_det.comparison import protocol
    from refaug_det.errors import UserError
    from refaug_det.runs import batches, ranges
    from refaug_det.runs import config as configs

    cfg = configs.load(path)
    configs.check_keys(cfg, path)
    if 'train_dataloader' not in cfg or 'train_cfg' not in cfg:
        raise UserError('the config trains nothing', path, 'name one such as those in configs/det')
    ranges.check(cfg)
    batches.keep_total_batch(cfg, 1)
    return protocol.protocol_of(cfg.to_dict())


def _shown(value: Any) -> str:
    from refaug_det.comparison import protocol
    from refaug_det.escapes import visible

    return value if value == protocol.ABSENT else visible(json_format.dumps(value))
