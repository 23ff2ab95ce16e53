"""Figure R10: whatever a file asks for, nothing in it runs and nothing outside is touched."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from mmengine.config import Config


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = neighbour('hostile_files')
bad = hostile.bad
CASES = {**hostile.CASES, **neighbour('hostile_archives').CASES}


@pytest.fixture
def world(tmp_path, made, monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    monkeypatch.setattr(sys, 'argv', list(sys.argv))
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.syspath_prepend(tmp_path / 'here')  # as `python -m` does: a file here can be named
    return bad.World(tmp_path / 'here', made)


@pytest.fixture
def trap(tmp_path):
    return hostile.Trap(tmp_path / 'outside')


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob('*')}


def judge(case, world, trap, capsys) -> list[str]:
    """What a hostile file has achieved; nothing if all is well."""
    program, *words = map(str, case.make(world, trap))
    before = contents(trap.outside)
    capsys.readouterr()
    try:
        code = bad.main_of(program)(words)
    except BaseException as error:
        code = f'{type(error).__name__}: {str(error)[:300]}'
    said = capsys.readouterr()
    faults = {'the payload ran': trap.mark.exists(), f'ends with {code}': code != case.code,
              'it changed what is outside': before != contents(trap.outside),
              'what is outside is shown': 'TOP SECRET' in said.out + said.err,
              f'does not name {case.says}': case.says not in (said.err or said.out)}
    return [*(fault for fault, is_one in faults.items() if is_one),
            *([(said.err or said.out)[-800:]] if any(faults.values()) else [])]


@pytest.mark.figure('R10')
@pytest.mark.parametrize('name', CASES)
def test_nothing_runs_and_nothing_escapes(name, world, trap, capsys, tally):
    faults = judge(CASES[name], world, trap, capsys)
    tally(bool(faults), 1)
    assert not faults, '\n'.join(faults)


@pytest.mark.figure('R10')
@pytest.mark.parametrize('name', [name for name, case in CASES.items() if case.live])
def test_the_payload_is_live(name, world, trap):
    """Opened by someone trusting, it runs: else its case would prove nothing."""
    case = CASES[name]
    case.make(world, trap)
    assert not trap.mark.exists()
    case.live(world, trap)
    assert trap.mark.exists()


@pytest.mark.figure('R10')
@pytest.mark.parametrize(('name', 'broken', 'fault'), [
    ('code in a .pth', ('torch.load', lambda path, **_: TRUSTING(path, weights_only=False)),
     'the payload ran'),
    ('a zip that leads out', ('refaug_det.data.archives.refuse_escape', lambda *_: None),
     'ends with 0'),
    *((name, ('classification.analysis.loading.stored.read', lambda path: Config.fromfile(
        str(path))), 'the payload ran') for name in (
            'a function as model', 'a function behind a key of the same spelling',
            'a function in the pipeline of refinement', 'a scope that is a module')),
    ('custom_imports of a main', ('refaug_det.runs.stored._import', lambda wanted, path: [
        importlib.import_module(name) for name in wanted['imports']]), 'the payload ran'),
    ('a bomb of a zip', ('refaug_det.data.archives.refuse_larger', lambda *_: None),
     'ends with 0')])
def test_without_its_guard_a_file_has_its_way(name, broken, fault, world, trap, capsys,
                                              monkeypatch):
    monkeypatch.setattr(*broken)
    faults = judge(CASES[name], world, trap, capsys)
    assert fault in faults


TRUSTING = torch.load


@pytest.mark.figure('R10')
def test_a_resumed_run_passes_over_a_hostile_checkpoint(world, trap, capsys, tally):
    """It says so, goes on from the one before, and runs nothing."""
    case = hostile.of_run('iter_9.pth')
    words = case.make(world, trap)
    faults = judge(case._replace(make=lambda *_: words, code=0), world, trap, capsys)
    tally(bool(faults), 1)
    assert not faults, faults


@pytest.mark.figure('R10')
def test_text_that_is_code_elsewhere_stays_text(world, trap, capsys, tally):
    """mmengine evaluates meta.config on resume; here it says what the pixels were, or nothing."""
    state = {f'backbone.{key}': value for key, value in torch.load(world.weights()).items()}
    text = (f'{trap.python}custom_imports = dict(imports=["evil"])\n'
            'img_norm_cfg = dict(mean=[1.0, 2, 3], std=[4.0, 5, 6], to_rgb=True)\n'
            "model = dict(backbone=dict(type='ResNet', style='pytorch'))")
    (world.home / 'evil.py').write_text(trap.python)
    torch.save(dict(state_dict=state, meta=dict(config=text, cfg=text)), world.home / 'b.pth')
    case = hostile.Hostile(lambda w, t: hostile.add(w, w.home / 'b.pth'), 'registered x', 0)
    faults = judge(case, world, trap, capsys)
    tally(bool(faults), 1)
    assert not faults, faults
    exec(text)
    assert trap.mark.exists()


def test_a_bomb_is_one(world, trap):
    """The directory of the archive claims more than any disk of a test has."""
    CASES['a bomb of a zip'].make(world, trap)
    with zipfile.ZipFile(world.home / 'a.zip') as packed:
        claimed = sum(info.file_size for info in packed.infolist())
    assert claimed > 1e13 > 1e6 > (world.home / 'a.zip').stat().st_size / 10
