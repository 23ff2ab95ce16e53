"""What every test gets: a zoo of its own, and a watch over what is not the test's."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: tiny tensors, few cores

import pytest

ROOT = Path(__file__).parents[1]
_made: list[Path] = []


def _watch(event: str, args: tuple) -> None:
    """Note every folder that is made among the checkout's run directories."""
    if event == 'os.mkdir':
        path = Path(os.path.abspath(os.fsdecode(args[0])))
        if (ROOT / 'work_dirs') in (path, *path.parents):
            _made.append(path)


sys.addaudithook(_watch)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--full', action='store_true', help='as many kills and cases as the '
                     'figures of reliability ask for, as tools/soak.py does; hours')


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether a figure is measured at its full size; else at a size for every change."""
    return request.config.getoption('--full')


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[int, int], None]:
    """`tally(missed, of)` records cases of the test's figure; call it before asserting.

    A test with `@pytest.mark.figure('R1')` counts for that figure of `tools/soak.py`; one
    that records no case, such as a negative control, must only pass.
    """
    assert request.node.get_closest_marker('figure'), 'which figure? @pytest.mark.figure'

    def record(missed: int, of: int) -> None:
        request.node.user_properties.append(('cases', (missed, of)))

    return record


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a zoo that belongs to this test; it does not exist yet."""
    monkeypatch.setenv('REFAUG_DET_ZOO', str(tmp_path / 'zoo'))
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'data-home'))  # where the default zoo lies
    return tmp_path / 'zoo'


@pytest.fixture(autouse=True)
def _nothing_of_the_user(zoo: Path) -> Iterator[None]:
    """No test reaches the user's zoo, or starts a run in the checkout's `work_dirs`."""
    _made.clear()
    yield
    assert not _made, f'the test made {_made[0]}: pass --work-dir, or change directory'


@pytest.fixture
def tool() -> Callable[[str], Callable[..., int]]:
    """`tool(name)` is the `main` of `tools/NAME.py`, which is no module of a package."""
    def main_of(name: str) -> Callable[..., int]:
        spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return main_of
