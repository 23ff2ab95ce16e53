"""What the config of a run directory may import and name; see also figure R10."""

from __future__ import annotations

import json
import sys

import mmengine.model  # registers what a model is made of
import pytest

from refaug_det.errors import UserError
from refaug_det.runs import stored

MODULE = '''
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module(force=True)
class TrustedNetOfTest(nn.Module):
    pass
'''


@pytest.fixture
def read(tmp_path, monkeypatch):
    """`read(config)`, where `trusted_of_test`, `exits_of_test` and `Kaiming` can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(stored.TRUST, raising=False)
    (tmp_path / 'trusted_of_test.py').write_text(MODULE)
    (tmp_path / 'exits_of_test.py').write_text('raise SystemExit(0)\n')
    (tmp_path / 'Kaiming.py').write_text('raise SystemExit(0)\n')
    for name in ('trusted_of_test', 'exits_of_test'):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def of(**config: object):
        path = tmp_path / 'config.json'
        path.write_text(json.dumps(config))
        return stored.read(path)
    return of


def imports(*names: str) -> dict:
    return dict(custom_imports=dict(imports=list(names)))


@pytest.mark.parametrize('trust', ['trusted_of_test', 'other, trusted_of_test'])
def test_a_module_that_the_reader_names_is_imported(read, monkeypatch, trust):
    config = dict(imports('trusted_of_test'), model=dict(type='TrustedNetOfTest'))
    with pytest.raises(UserError) as caught:
        read(**config)
    assert 'REFAUG_DET_TRUST=trusted_of_test' in caught.value.fix
    assert 'trusted_of_test' not in sys.modules
    monkeypatch.setenv(stored.TRUST, trust)
    assert read(**config).model.type == 'TrustedNetOfTest'


@pytest.mark.parametrize('trust', ['trusted', 'trusted_of_test.below', ',', ''])
def test_another_name_is_not_enough(read, monkeypatch, trust):
    monkeypatch.setenv(stored.TRUST, trust)
    with pytest.raises(UserError, match='importing runs it'):
        read(**imports('trusted_of_test'))
    assert 'trusted_of_test' not in sys.modules


def test_modules_of_the_house_need_no_word(read):
    assert read(**imports('refaug_det.runs.loops'))
    assert read(custom_imports=dict(imports='mmengine.hooks'))
    assert read(custom_imports=None)


@pytest.mark.parametrize('name', ['numpy.f2py.__main__', '_hidden', '.relative', 'a..b', '', 'a b'])
def test_a_private_part_is_refused_whoever_is_trusted(read, monkeypatch, name):
    monkeypatch.setenv(stored.TRUST, 'numpy,_hidden,a')
    with pytest.raises(UserError, match='no public module'):
        read(**imports(name))


@pytest.mark.parametrize('wanted', [7, [7], dict(imports=7), dict(imports=['a', None]),
                                    dict(imports={'a': 1})])
def test_imports_of_another_kind_are_refused(read, wanted):
    with pytest.raises(UserError, match='imports are'):
        read(custom_imports=wanted)


def test_a_trusted_module_that_ends_the_process_does_not(read, monkeypatch):
    monkeypatch.setenv(stored.TRUST, 'exits_of_test')
    with pytest.raises(UserError, match='cannot be imported: SystemExit'):
        read(**imports('exits_of_test'))


def test_initialisers_are_known_and_functions_are_not(read, monkeypatch):
    def model(name: object) -> dict:
        return dict(model=dict(type='ImgDataPreprocessor', init_cfg=[dict(type=name)]))

    assert mmengine.model.KaimingInit
    monkeypatch.setattr(sys, 'path', sys.path[1:])
    assert read(**model('Kaiming'))
    for name in ('os.system', ['os.system'], None, 'mmengine.os.system'):
        with pytest.raises(UserError, match='no part is registered'):
            read(**model(name))


def test_a_part_that_is_a_module_too_is_refused(read):
    """mmengine imports what a registry does not have, and Kaiming is none of its models."""
    with pytest.raises(UserError, match='no part is registered'):
        read(model=dict(type='Kaiming'))
