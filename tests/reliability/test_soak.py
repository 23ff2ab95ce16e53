"""`tools/soak.py`: a figure is reached only where all its tests ran, passed, and counted enough."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'soak.py'
CASES = {
    'whole': ('', True), 'missed': ('tally(1, 5)', False), 'failed': ('assert 0', False),
    'skipped': ('pytest.skip()', False), 'cut off': ('raise KeyboardInterrupt', False)}
TESTS = """
import pytest

@pytest.mark.figure('R1')
def test_cases(tally):
    tally(0, 5)

@pytest.mark.figure('R1')
def test_more(tally):
    {}

@pytest.mark.figure('R1')
def test_control():
    pass

@pytest.mark.figure('R2')
def test_another_figure(tally):
    tally(1, 1)
"""


@pytest.fixture(scope='module')
def soak():
    spec = importlib.util.spec_from_file_location('soak', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('name', CASES)
def test_what_is_reached(soak, tmp_path, name):
    body, reached = CASES[name]
    (tmp_path / 'conftest.py').write_text((TOOL.parents[1] / 'tests' / 'conftest.py').read_text())
    (tmp_path / 'test_it.py').write_text(TESTS.format(body or 'tally(0, 1)'))
    counter = soak.Counter(tmp_path / 'soak.json', ['R1'])
    pytest.main(['-q', '-p', 'no:cacheprovider', '--rootdir', str(tmp_path), str(tmp_path)],
                plugins=[counter])
    text, found = soak.markdown(counter.found, fast=True)
    assert found is reached
    assert ('NOT REACHED' not in text) is reached
    assert 'R2' not in text
    if name == 'whole':
        assert '| R1 | 0 | 6 (of 200 asked)' in text
        assert not soak.markdown(counter.found, fast=False)[1]  # too few
