"""The two files of a backbone in the zoo: of one kind, whenever a write is cut off."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from refaug_det.runs import files

CARD, WEIGHTS = 'card.json', 'weights.safetensors'


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def add(home: Path, card: Mapping[str, Any], weights: bytes) -> None:
    """Put a new entry in place, by one rename.

    Args:
        home: its folder, which is not there yet.
        card: JSON-able; its `sha256` is that of the weights.
    """
    aside = files.aside_of(home)
    try:
        files.write_bytes(aside / WEIGHTS, weights)
        files.write_json(aside / CARD, dict(card))
        os.rename(aside, home)
    finally:
        files.remove(aside)


def replace(home: Path, card: Mapping[str, Any], weights: bytes) -> None:
    """Put new weights beside the old ones, then the card that is theirs, then take the old name.

    Whenever it is cut off, `weights_of` finds those of the card.
    """
    try:
        files.write_bytes(home / _beside(card['sha256']), weights)
        files.write_json(home / CARD, dict(card))
    finally:
        _settle(home)


def weights_of(home: Path, sha256: str) -> bytes | None:
    """The weights with this digest; None if they are not there."""
    for name in (_beside(sha256), WEIGHTS):
        with suppress(FileNotFoundError):
            data = (home / name).read_bytes()
            if sha256_of(data) == sha256:
                return data
    return None


def sweep(zoo: Path) -> None:
    """Settle and remove what killed processes left, where none is at work.

    What one may not remove is left: in a zoo of several users it is another's.
    """
    homes = [path.parent for path in zoo.glob(f'*/{CARD}')]
    for folder in (zoo, *homes):
        for left in [*folder.glob(f'.*{files.TEMPORARY_SUFFIX}')]:
            with suppress(OSError):
                files.remove(left)
    for home in homes:
        with suppress(OSError):
            _settle(home)


def _beside(sha256: str) -> str:
    """Name of weights that have not taken the place of the old ones yet."""
    return f'weights-{sha256}.safetensors'


def _settle(home: Path) -> None:
    """Finish a replacement whose card is written, take back one whose card is not."""
    for left in home.glob(_beside('*')):
        try:
            written = json.loads((home / CARD).read_bytes())['sha256']
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # malformed
            written = None
        if left.name == _beside(written):
            os.replace(left, home / WEIGHTS)
        else:
            files.remove(left)
