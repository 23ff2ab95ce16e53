"""Figure R8: what is malformed ends with code 2 and at most three lines: what, where, remedy."""

from __future__ import annotations

import copy
import functools
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from refaug_det.errors import UserError, exits_cleanly
from refaug_det.runs import records


def neighbour(name: str):
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bad = neighbour('bad_world')
LONG = re.compile('trained on|each other|scale of')
TABLES = ('bad_configs', 'bad_data', 'bad_files', 'bad_weights', 'bad_words')
CASES = {f'{table}: {name}': case for table in TABLES
         for name, case in neighbour(table).CASES.items()}


read = Config.fromfile
read_once = functools.cache(read)


def remembered(path: str, *args, **options) -> Config:
    """A config; those of the repository are read once: mmdet's bases take a while."""
    if not args and not options and Path(path).is_relative_to(bad.ROOT / 'configs'):
        return copy.deepcopy(read_once(path))
    return read(path, *args, **options)


@pytest.fixture
def world(tmp_path, made, monkeypatch):
    """The folder of a case, which is the working directory too."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    monkeypatch.setattr(Config, 'fromfile', remembered)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return bad.World(tmp_path / 'here', made)


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def halves(before: dict, after: dict) -> list[Path]:
    """What a refused command has changed or left half-done; a run that failed may say so."""
    failed = [path.parent for path in after if path not in before
              and path.name == records.FILE_NAME and records.read(path).status == 'failed']
    return [path for path in {*before, *after} if before.get(path) != after.get(path) and (
        path in before or path.suffix == '.partial' or not any(
            folder in path.parents for folder in failed))]


def judge(capsys, case, world) -> list[str]:
    """What is wrong with how a case ends; nothing if all is well."""
    variables = dict(os.environ)
    program, *words = map(str, case.spoil(world))
    before = contents(world.home)
    capsys.readouterr()
    try:
        code = bad.main_of(program)(words)
    except SystemExit as error:
        code = f'exit {error.code!r}'
    except BaseException as error:
        code = f'{type(error).__name__}: {str(error)[:300]}'
    finally:
        os.environ.clear()
        os.environ.update(variables)
    said = capsys.readouterr()
    told = said.err or said.out  # of data, a line each on stdout
    lines = said.err.splitlines()
    faults = {
        f'ends with {code}': code != 2, 'a traceback': 'Traceback' in said.out + said.err,
        f'{len(lines)} lines': len(lines) > 3, f'does not say {case.says!r}': case.says not in told,
        'no remedy': '  fix: ' not in said.err and (said.err or '(' not in said.out),
        f'left {(left := halves(before, contents(world.home)))}': bool(left)}
    return [*(fault for fault, is_one in faults.items() if is_one),
            *([told[-1500:]] if any(faults.values()) else [])]


def pytest_generate_tests(metafunc):
    """All cases at full size; else every third, and fewer of those that take long."""
    if 'case' in metafunc.fixturenames:
        whole = metafunc.config.getoption('--full')
        names = [name for number, name in enumerate(CASES)
                 if whole or number % (8 if LONG.search(name) else 3) == 0]
        metafunc.parametrize('case', [CASES[name] for name in names], ids=names)


@pytest.mark.figure('R8')
def test_malformed_input_is_three_lines(case, world, capsys, tally):
    faults = judge(capsys, case, world)
    tally(bool(faults), 1)
    assert not faults, '\n'.join(faults)


def leaves_a_file(words):
    Path('table.md').write_text('half a ta')
    raise UserError('no', 'where', 'fix')


def says(text, code=2):
    def ends(words):
        print(text, file=sys.stderr)
        return code
    return ends


@pytest.mark.figure('R8')
@pytest.mark.parametrize(('program', 'fault'), [
    (says(''), "does not say 'b.py'"), (says('error: b.py\n  fix: it', 0), 'ends with 0'),
    (says('error: b.py\n  fix: it', 1), 'ends with 1'), (says('error: b.py'), 'no remedy'),
    (says('b.py\n  fix: it\n\n\n'), '5 lines'), (says('Traceback b.py\n  fix: '), 'a traceback'),
    (leaves_a_file, 'left ['), (lambda words: 1 / 0, 'ends with ZeroDivisionError'),
    (lambda words: sys.exit(2), 'ends with exit 2'), (says('error: b.py\n  fix: it'), '')])
def test_the_judgement_can_fail(world, capsys, monkeypatch, program, fault):
    monkeypatch.setattr(bad, 'main_of', lambda name: exits_cleanly(program))
    faults = judge(capsys, bad.Case(lambda w: ['a', 'b.py'], 'b.py'), world)
    assert any(one.startswith(fault) for one in faults) if fault else not faults


@pytest.mark.figure('R8')
@pytest.mark.parametrize('table', TABLES)
def test_without_the_guard_of_the_commands_a_case_is_missed(world, capsys, monkeypatch, table):
    name = next(name for name in CASES if name.startswith(table))

    def unguarded(program):
        return main_of(program).__wrapped__

    main_of = bad.main_of
    monkeypatch.setattr(bad, 'main_of', unguarded)
    assert any('UserError' in fault for fault in judge(capsys, CASES[name], world))
