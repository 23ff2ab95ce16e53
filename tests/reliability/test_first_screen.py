"""Figure R18: importing is silent and cheap, help comes at once, a run opens with one screen."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from refaug_det.runs.loops import RefAugTrainLoop

HEAVY = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'scipy', 'matplotlib',
         'pandas', 'cv2', 'PIL', 'timm', 'pycocotools', 'jinja2', 'safetensors')
IMPORT, HELP = 'import refaug_det', 'from refaug_det import cli; cli.main(["--help"])'
LINES, WIDTH = 24, 80  # of a screen


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bad = neighbour('bad_world')


def loaded(code: str) -> tuple[list[str], str, str]:
    """Which heavy modules a line of Python loads, and what it prints on stdout and stderr."""
    ended = subprocess.run(
        [sys.executable, '-W', 'default', '-c', f'{code}\nimport json, sys\n'
         f'print("\\n" + json.dumps([name for name in {HEAVY} if name in sys.modules]))'],
        capture_output=True, text=True, check=True)
    out, _, names = ended.stdout.rstrip('\n').rpartition('\n')
    return json.loads(names), out.strip(), ended.stderr


@pytest.mark.figure('R18')
def test_importing_is_silent_and_loads_nothing_heavy(tally):
    found = loaded(IMPORT)
    tally(found != ([], '', ''), 1)
    assert found == ([], '', '')


@pytest.mark.figure('R18')
def test_help_loads_nothing_heavy(tally):
    names, out, err = loaded(HELP)
    tally(bool(names or err), 1)
    assert (names, err) == ([], '')
    assert 'Usage' in out


@pytest.mark.figure('R18')
@pytest.mark.parametrize('code', ['import refaug_det.tables, numpy', 'print("loading ...")',
                                  'import warnings; warnings.warn("old")'])
def test_what_is_heavy_or_loud_is_noticed(code):
    assert loaded(f'{IMPORT}\n{code}') != ([], '', '')


def best_s(code: str) -> float:
    """Seconds on a core that a line of Python takes, start included: the best of five.

    Others may be at work on the machine: it is the time that this takes on an idle one.
    """
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.figure('R18')
@pytest.mark.parametrize(('code', 'most_s'), [(IMPORT, 1.0), (HELP, 0.5)], ids=['import', 'help'])
def test_they_are_quick(code, most_s, tally, full):
    if full:
        took = best_s(code)
        tally(took >= most_s, 1)
        assert took < most_s


@pytest.mark.figure('R18')
def test_a_delay_is_measured():
    assert best_s('sum(range(10_000_000))') > best_s('')


class Reached(KeyboardInterrupt):
    """The first iteration."""


@pytest.fixture
def world(tmp_path, made, monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    monkeypatch.chdir(tmp_path)

    def stop(loop, number, batch):
        raise Reached

    monkeypatch.setattr(RefAugTrainLoop, 'run_iter', stop)
    return bad.World(tmp_path, made)


def untidy(world):
    """Data of which something is dropped and noted in every way."""
    faults = neighbour('bad_data').voc_faults
    root = world.copy('voc')
    for name in ('zero area', 'duplicate id', 'JPEG cut off', 'in train and test', 'object twice',
                 'space in a class', 'wrong size'):
        faults.CASES[name].spoil(root / 'VOC2007')
    return world.det(data=root)


def resumed(world):
    words = world.cls()
    bad.main_of('train_cls')([str(word) for word in words[1:]])
    return [*words[:4], '--resume', *words[4:]]


def refined(world):
    words = world.cls()
    return ['refine', *words[1:4], '--checkpoint', world.weights(), '--name', 'x', '--lr', '1',
            *words[4:]]


def many(world):
    """Class folders of which there are many."""
    from PIL import Image
    for split in ('train', 'val'):
        for number in range(100):
            path = world.home / 'many' / split / f'class {number}' / '0.png'
            path.parent.mkdir(parents=True)
            Image.new('RGB', (32, 32)).save(path)
    return world.cls(data=world.home / 'many')


RUNS = {'stage 1': lambda world: world.cls(), 'stage 2': lambda world: world.det(),
        'a refinement': refined, 'untidy data': untidy, 'resumed': resumed, 'many classes': many}


def rows_before(words, capfd) -> int:
    """Rows of a terminal that are filled before the first iteration."""
    capfd.readouterr()
    with pytest.raises(Reached):  # past the guard: not to be taken for a Ctrl-C
        bad.main_of(words[0]).__wrapped__([str(word) for word in words[1:]])
    said = capfd.readouterr()
    return sum(max(1, -(-len(line) // WIDTH)) for line in (said.out + said.err).splitlines())


@pytest.mark.figure('R18')
@pytest.mark.parametrize('name', RUNS)
def test_one_screen_before_the_first_iteration(name, world, capfd, tally):
    rows = rows_before(RUNS[name](world), capfd)
    tally(not 0 < rows <= LINES, 1)
    assert 0 < rows <= LINES


@pytest.mark.figure('R18')
def test_more_than_a_screen_is_noticed(world, capfd, monkeypatch):
    from refaug_det.runs import launch
    build = launch.build
    monkeypatch.setattr(launch, 'build', lambda *words: print('word ' * 500) or build(*words))
    assert rows_before(world.cls(), capfd) > LINES
