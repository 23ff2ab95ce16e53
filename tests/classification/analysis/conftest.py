"""Two tiny runs, finished: Mixup with refinement and risks by epoch, and a standard one."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIG = '''
_base_ = [{base!r}]
train_pipeline = [
    dict(type='RefAugTransform', name='RandomCrop', size=32, padding=4),
    dict(type='RefAugTransform', name='RandomHorizontalFlip')]
custom_hooks = [{hooks}]
'''
REFINE = "dict(type='RefAugRefinementHook', epochs=1)"
RISKS = "dict(type='RefAugRiskHook', every={every}, images=12)"


@pytest.fixture(scope='session')
def config(tmp_path_factory):
    """`config(base, *hooks)` is the file of a config with these hooks, as text."""
    def make(base: str, *hooks: str) -> Path:
        path = tmp_path_factory.mktemp('config') / 'tiny.py'
        root = Path(__file__).parents[3] / 'configs' / 'cls'
        path.write_text(CONFIG.format(base=str(root / base), hooks=', '.join(hooks)))
        return path
    return make


@pytest.fixture(scope='session')
def trained(tmp_path_factory, train_cls, arguments, config):
    """`trained(name, base, *hooks)`: the directory of a run that has been trained."""
    folder = tmp_path_factory.mktemp('runs')

    def train(name: str, base: str, *hooks: str, words=('--overwrite',), **options) -> Path:
        refine = 1 if REFINE in hooks else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('REFAUG_DET_ZOO', str(folder / name / 'zoo'))
            code = train_cls(arguments(folder / name, *words, refine=refine,
                                       config=config(base, *hooks), **options))
        assert code == 0
        return folder / name
    return train


@pytest.fixture(scope='session')
def mixup_run(trained):
    return trained('mixup', 'toy_mixup_refine.py', REFINE, RISKS.format(every=2))


@pytest.fixture(scope='session')
def standard_run(trained):
    return trained('standard', 'toy_standard.py')
