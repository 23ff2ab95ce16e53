"""One server of forked runs for all tests of this folder, and the tiny runs of both stages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def neighbour(name: str) -> ModuleType:
    """The module `NAME.py` beside this file."""
    path = Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(f'reliability_{name}', path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def stages() -> ModuleType:
    return neighbour('stages')


@pytest.fixture(scope='session')
def server():
    """Both stages' command lines, imported once for the session."""
    one = neighbour('fork_server').ForkServer()
    yield one
    one.close()


@pytest.fixture(scope='session')
def stage1(server, stages, tmp_path_factory):
    """A classifier with every augmentation, fading, refinement and a moving average."""
    from classification.toy import write_image_folder

    folder = tmp_path_factory.mktemp('stage1')
    write_image_folder(folder / 'images', 4, 2, size=32)
    config = folder / 'everything.py'
    config.write_text(stages.EVERYTHING)
    return stages.Stage(server, 'train_cls', [str(config), '--data-root', str(folder / 'images')],
                        stages.CLASSIFIER, folder)


@pytest.fixture(scope='session')
def stage2(server, stages, tmp_path_factory):
    """A small Faster R-CNN on a registered backbone."""
    import torch

    from detection.toy import write_voc
    from refaug_det.backbones import resnets, zoo

    folder = tmp_path_factory.mktemp('stage2')
    write_voc(folder / 'voc', trainval=12, test=6, size=(96, 80), seed=3)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('REFAUG_DET_ZOO', str(folder / 'zoo'))
        zoo.register('tiny', resnets.reference('resnet18', 8).state_dict(),
                     resnets.spec_of('resnet18', 8), provenance={}, metrics={})
    words = [str(stages.ROOT / 'configs' / 'det' / 'toy_faster_rcnn.py'), '--backbone', 'tiny',
             '--data-root', str(folder / 'voc'), '--classes', 'auto']
    return stages.Stage(server, 'train_det', words, stages.DETECTOR, folder,
                        {'REFAUG_DET_ZOO': str(folder / 'zoo')})


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    """What malformed and hostile inputs are made of, whole: `bad_world.Made`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('REFAUG_DET_ZOO', str(tmp_path_factory.mktemp('zoo')))
        found = neighbour('bad_world').Made(tmp_path_factory.mktemp('made'))
        _ = found.images, found.voc, found.run
    return found
