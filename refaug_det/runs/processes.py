"""Which process this is, known before any process group is open."""

from __future__ import annotations

import os


def rank() -> int:
    """Global rank, from torchrun's or Slurm's environment; 0 without a launcher."""
    return int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0)))


def world_size(launcher: str) -> int:
    """Number of processes of this launch."""
    if launcher == 'none':
        return 1
    return int(os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', 1)))


def is_first() -> bool:
    return rank() == 0
