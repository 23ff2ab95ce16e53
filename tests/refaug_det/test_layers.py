"""The house rules that a machine can check: who imports whom, and what things are called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ('refaug_det', 'classification', 'detection')
FORBIDDEN = {  # in: package -> what it must not import, anywhere
    'refaug_det': {'classification', 'detection', 'tools', 'tests'},
    'classification': {'detection', 'tools', 'tests'},
    'detection': {'classification', 'tools', 'tests'},
    'tools': {'tools', 'tests'},
}
JUNK_DRAWERS = {'utils', 'util', 'common', 'core', 'helpers', 'helper', 'misc'}
OVERRIDES = {'Pretrained'}  # deliberate: a backbone loads whole in every config
SOURCES = [path for folder in (*PACKAGES, 'tools')
           for path in sorted((ROOT / folder).rglob('*.py'))]


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """Every imported top-level package, and whether importing the module imports it."""
    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name.split('.')[0], at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield (child.module or '.').split('.')[0] if not child.level else '.', at_import
            elif isinstance(child, ast.Call) and child.args and isinstance(
                    child.args[0], ast.Constant) and 'import_module' in ast.unparse(child.func):
                yield str(child.args[0].value).split('.')[0], at_import
            later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or (
                isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(child.test))
            yield from walk(child, at_import and not later)

    yield from walk(ast.parse(source), True)


def crossings(package: str, source: str) -> set[str]:
    """What a module of `package` imports against the rules."""
    found = {name for name, _ in imports(source) if name in FORBIDDEN[package]}
    if package == 'refaug_det':
        found |= {name for name, now in imports(source) if now and name in ('mmdet', 'mmcv')}
    return found


def registered(source: str) -> list[str]:
    """Names under which a module registers classes and functions."""
    names = []
    for node in ast.walk(ast.parse(source)):
        for decorator in getattr(node, 'decorator_list', ()):
            if isinstance(decorator, ast.Call) and 'register_module' in ast.unparse(decorator.func):
                given = [k.value for k in decorator.keywords if k.arg == 'name']
                names.append(given[0].value if given else node.name)
    return names


@pytest.mark.parametrize('path', SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    assert not crossings(path.relative_to(ROOT).parts[0], path.read_text())


@pytest.mark.parametrize(('package', 'source', 'found'), [
    ('classification', 'import detection.plug', {'detection'}),
    ('classification', 'def f():\n    from detection import plug', {'detection'}),
    ('detection', 'if True:\n    import classification', {'classification'}),
    ('detection', 'import importlib\nimportlib.import_module("classification.toy")',
     {'classification'}),
    ('refaug_det', 'class A:\n    import classification', {'classification'}),
    ('refaug_det', 'from mmdet.models import ResNet', {'mmdet'}),
    ('refaug_det', 'try:\n    import mmcv\nexcept ImportError:\n    pass', {'mmcv'}),
    ('refaug_det', 'def f():\n    import mmcv', set()),
    ('refaug_det', 'from mmengine import Config\nfrom . import x', set()),
    ('tools', 'from tools import demo', {'tools'}),
    ('tools', 'import classification.train, detection.train', set())])
def test_that_rule_sees_what_breaks_it(package, source, found):
    assert crossings(package, source) == found


def test_every_package_was_looked_at():
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == {*PACKAGES, 'tools'}
    assert len(SOURCES) > 40


def test_no_junk_drawers():
    names = {part for path in [*SOURCES, *(ROOT / 'tests').rglob('*.py')]
             for part in path.relative_to(ROOT).with_suffix('').parts}
    assert 'randomness' in names
    assert not names & JUNK_DRAWERS


def test_registered_names_begin_with_refaug():
    names = [name for path in SOURCES for name in registered(path.read_text())]
    assert {'RefAugTrainLoop', 'RefAugClassifier', 'RefAugVOCDataset', 'Pretrained'} <= set(names)
    assert [name for name in names if not name.startswith('RefAug')] == sorted(OVERRIDES)
    assert len(set(names)) == len(names)


def test_that_rule_sees_other_names():
    source = ('@MODELS.register_module()\nclass Net: pass\n'
              '@HOOKS.register_module(name="B")\nclass A: pass')
    assert registered(source) == ['Net', 'B']


def in_a_fresh_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True,
                          timeout=60, check=False)


def test_importing_is_silent_and_loads_no_torch():
    heavy = '[m for m in ("torch", "mmengine", "mmcv", "mmdet", "pandas", "scipy", "numpy",' \
            ' "matplotlib", "jinja2") if m in sys.modules]'
    done = in_a_fresh_python(f'import refaug_det, sys; assert not {heavy}, {heavy}')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    # and so does the command line until a command needs it
    done = in_a_fresh_python(f'import sys\nfrom refaug_det import cli\ncli.main(["--help"])\n'
                             f'assert not {heavy}, {heavy}')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'backbone' in done.stdout
    done = in_a_fresh_python(f'import refaug_det.images, sys; assert not {heavy}, {heavy}')
    assert done.returncode == 1  # a module that does load something: this test sees it
    assert 'numpy' in done.stderr
