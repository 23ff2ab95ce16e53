"""Our own runs, torchvision and timm: weights come with their pixels and their provenance."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from refaug_det.backbones import timm_pyramids, zoo
from refaug_det.backbones.importing import add
from refaug_det.backbones.resnets import IMAGENET_MEAN, build
from refaug_det.errors import UserError
from refaug_det.runs.records import RunRecord

MEAN, STD = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]


def weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {f'net.{k}': v for k, v in build(18, 8, 5).state_dict().items()}


@pytest.fixture
def run(tmp_path):
    """A finished run of two epochs, as tools/train_cls.py leaves it."""
    home = tmp_path / 'run'
    home.mkdir()
    record = RunRecord('toy', 'classification', 'done', config='a.py', config_digest='12', seed=3)
    record.write(home)
    (home / 'config.json').write_text(json.dumps(dict(model=dict(
        network=dict(type='RefAugResNet', depth=18, width=8),
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=MEAN, std=STD)))))
    (home / 'history.json').write_text(json.dumps([
        dict(epoch=1, iteration=10, phase='augmented', lr=0.1, loss=2.0, **{'top-1': 50.0}),
        dict(epoch=2, iteration=20, phase='refinement', lr=0.1, loss=1.0, **{'top-1': 60.0})]))
    for iteration in (10, 20):
        torch.save(dict(format=1, epoch=iteration // 10, iteration=iteration, optimizer={},
                        state_dict={f'network.{k}': v for k, v in weights(iteration).items()}),
                   home / f'iter_{iteration}.pth')
    save_file(weights(10), home / 'weights_augmented.safetensors')
    return home, record


@pytest.mark.parametrize(('file', 'seed', 'epoch', 'phase', 'top1'), [
    ('', 20, 2, 'refinement', 60.0), ('iter_10.pth', 10, 1, 'augmented', 50.0),
    ('weights_augmented.safetensors', 10, 1, 'augmented', 50.0)])
def test_a_run_of_ours(run, file, seed, epoch, phase, top1):
    home, record = run
    card, report = add('mine', home / file)
    assert report.names.name == 'refaug-det'
    assert (card.spec.mean, card.spec.std) == (tuple(MEAN), tuple(STD))
    assert (card.spec.architecture, card.spec.width, card.spec.channel_order) == (
        'resnet18', 8, 'RGB')
    assert torch.equal(zoo.weights('mine')['conv1.weight'], weights(seed)['net.conv1.weight'])
    found = card.provenance
    source = home / (file or 'iter_20.pth')
    assert (found['run'], found['seed'], found['epoch'], found['phase'], found['file']) == (
        record.id, 3, epoch, phase, source.name)
    assert found['sha256'] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert card.metrics == {'top-1': top1}


def test_a_file_taken_out_of_its_run_asks_for_the_pixels(run, tmp_path):
    moved = (run[0] / 'iter_20.pth').rename(tmp_path / 'iter_20.pth')
    with pytest.raises(UserError, match='nothing says which pixels'):
        add('mine', moved)
    add('mine', moved, mean=MEAN, std=STD, channel_order='RGB')


def test_another_file_that_lies_in_a_run_is_not_of_the_run(run):
    torch.save(build(18, 8, 5).state_dict(), run[0] / 'r18.pth')
    card, _ = add('mine', run[0] / 'r18.pth')
    assert card.spec.mean == IMAGENET_MEAN
    assert 'run' not in card.provenance


@pytest.mark.parametrize(('spoil', 'said'), [
    (lambda home: (home / 'run.json').unlink(), 'no run record'),
    (lambda home: (home / 'config.json').unlink(), 'does not say'),
    (lambda home: (home / 'config.json').write_text('{"model": []}'), 'does not say'),
    (lambda home: (home / 'config.json').write_text('{'), 'does not say'),
    (lambda home: [path.unlink() for path in home.glob('iter_*')], 'no checkpoint'),
    (lambda home: RunRecord('x', 'detection').write(home), 'detection run')])
def test_a_run_that_cannot_give_a_backbone(run, spoil, said):
    home, _ = run
    spoil(home)
    with pytest.raises(UserError, match=said):
        add('mine', home)
    assert zoo.names() == []


@pytest.fixture
def torchvision(monkeypatch):
    """torchvision's hub, answering with a narrow network; returns what was asked of it."""
    asked = []

    def get_state_dict(**options):
        asked.append(options)
        return build(18, 8, 5).state_dict()

    def transforms():
        return SimpleNamespace(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])

    entry = SimpleNamespace(name='IMAGENET1K_V1', url='https://x/r.pth', transforms=transforms,
                            get_state_dict=get_state_dict)
    monkeypatch.setattr('torchvision.models.get_model_weights',
                        lambda name: {'resnet18': {'IMAGENET1K_V1': entry}}[name])
    return asked


def test_torchvision_by_name(torchvision):
    for source in ('torchvision://resnet18', 'torchvision://resnet18.imagenet1k_v1'):
        card, _ = add('mine', source, width=8, overwrite=True)
        assert card.spec.mean == pytest.approx(IMAGENET_MEAN)
        assert card.provenance['source'] == source
        assert card.provenance['weights'] == 'IMAGENET1K_V1'
    assert all(options['weights_only'] is True for options in torchvision)
    for source in ('torchvision://resnet18.V9', 'torchvision://resnet19', 'timm://nothing'):
        with pytest.raises(UserError, match='cannot get these weights') as caught:
            add('other', source)
        assert 'downloaded' in caught.value.fix


@pytest.fixture
def timm_hub(monkeypatch):
    """timm's hub: `pretrained=True` answers with weights from a generator."""
    import timm
    create = timm.create_model

    def created(name, pretrained=False, **options):
        torch.manual_seed(5)
        model = create(name, pretrained=False, **options)
        if pretrained:
            model.pretrained_cfg = dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), tag='a1')
        return model

    monkeypatch.setattr('timm.create_model', created)
    return created


def test_timm_by_name(timm_hub):
    card, _ = add('r18', 'timm://resnet18.a1_in1k')
    assert card.spec.architecture == 'resnet18'
    assert card.spec.mean == (127.5, 127.5, 127.5)
    card, _ = add('aa', 'timm://resnetaa50')  # torchvision's names, another function
    assert card.spec.architecture == 'timm/resnetaa50'
    found = timm_pyramids.build('timm/resnetaa50')
    found.load_state_dict(zoo.weights('aa'), strict=True)


def test_a_network_of_timm_from_a_file(tmp_path, timm_hub):
    state = timm_hub('convnext_atto').state_dict()
    torch.save({'state_dict': {f'module.{k}': v for k, v in state.items()}}, tmp_path / 'a.pth')
    save_file(state, tmp_path / 'a.safetensors')
    with pytest.raises(UserError, match='no known format'):
        add('mine', tmp_path / 'a.safetensors')
    card, report = add('mine', tmp_path / 'a.safetensors', 'timm/convnext_atto')
    assert report.said == 'timm\'s configuration'
    assert card.spec.mean == pytest.approx(IMAGENET_MEAN)
    assert report.taken + sum(report.unused.values()) == len(state)
    timm_pyramids.build('timm/convnext_atto').load_state_dict(zoo.weights('mine'), strict=True)
    _, report = add('same', tmp_path / 'a.pth', 'timm/convnext_atto')
    assert report.names.name == 'data-parallel'
    assert zoo.card('same').sha256 == zoo.card('mine').sha256
    with pytest.raises(UserError):
        add('other', tmp_path / 'a.safetensors', 'timm/convnext_femto')
