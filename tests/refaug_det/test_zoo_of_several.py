"""A zoo of several users: what one of them has left is in no other's way."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from refaug_det.backbones import entries
from refaug_det.backbones import zoo as backbones
from refaug_det.backbones.resnets import spec_of
from refaug_det.runs import files


def register(name: str, value: float) -> None:
    backbones.register(name, {'conv1.weight': torch.full((2, 3), value)}, spec_of('resnet18', 8),
                       provenance={}, metrics={}, overwrite=True)


def of_another(monkeypatch, folder: Path) -> None:
    """One may not remove or rename what is in a folder; the superuser could."""
    def guarded(real):
        def refuses(path, *others, **options):
            if Path(path).parent == folder and os.path.lexists(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *others, **options)
        return refuses

    monkeypatch.setattr(Path, 'unlink', guarded(Path.unlink))
    monkeypatch.setattr(os, 'replace', guarded(os.replace))


@pytest.mark.parametrize('left', ['.card.json.here.new.1.partial', entries._beside('0' * 64)])
def test_what_another_has_left_stays(zoo, monkeypatch, left):
    for name in ('theirs', 'mine', 'stale'):
        register(name, 1.0)
    for name in ('theirs', 'stale'):
        (zoo / name / left).touch()
    with monkeypatch.context() as patch:
        of_another(patch, zoo / 'theirs')
        register('new', 3.0)
        register('mine', 2.0)
        assert (backbones.weights('mine')['conv1.weight'] == 2).all()
        assert backbones.names() == ['mine', 'new', 'stale', 'theirs']
        assert (zoo / 'theirs' / left).exists()
        assert not (zoo / 'stale' / left).exists()  # what one may remove goes
        with pytest.raises(PermissionError):  # of the entry that is registered, it counts
            register('theirs', 2.0)
    register('new', 3.0)
    assert not (zoo / 'theirs' / left).exists()


def test_a_file_in_the_zoo_that_stays(zoo, monkeypatch):
    register('theirs', 1.0)
    left = files.aside_of(zoo / 'x')
    left.touch()
    of_another(monkeypatch, zoo)
    register('mine', 1.0)
    assert left.exists()
    assert backbones.names() == ['mine', 'theirs']
