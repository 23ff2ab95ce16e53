"""Which process this is, known before any process group is open."""

from __future__ import annotations

import os

from refaug_det.errors import UserError

_SET_BY = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}


def rank() -> int:
    """Global rank, from torchrun's or Slurm's environment; 0 without a launcher."""
    return _number(('RANK', 'SLURM_PROCID'), 0)


def world_size(launcher: str) -> int:
    """Number of processes of this launch.

    Raises:
        UserError: the environment is not that of a launcher.
    """
    if launcher == 'none':
        return 1
    return _number(('WORLD_SIZE', 'SLURM_NTASKS'), 1)


def is_first() -> bool:
    return rank() == 0


def refuse_without(launcher: str) -> None:
    """Refuse a launcher that has not launched this process.

    Raises:
        UserError: its variables are not in the environment.
    """
    if launcher != 'none' and _SET_BY[launcher] not in os.environ:
        raise UserError(f'{_SET_BY[launcher]} is not in the environment: this process was not '
                        f'started by {launcher}', f'--launcher {launcher}',
                        'leave it out, or start with tools/dist_train.sh')


def _number(names: tuple[str, str], otherwise: int) -> int:
    """The first of these variables that is set."""
    name = next((name for name in names if name in os.environ), '')
    value = os.environ.get(name, str(otherwise))
    if not value.isdecimal():
        raise UserError(f'{name} is {value!r}', 'environment', 'start several processes with '
                        'tools/dist_train.sh, which sets it')
    return int(value)
