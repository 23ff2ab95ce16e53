"""`tools/refine.py`: a checkpoint of anyone, refined, or given new statistics only."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from safetensors.torch import load_file

from classification.refine import bare, load_network, plan, starting_weights
from classification.refinement import AUGMENTED_WEIGHTS
from refaug_det.backbones import zoo
from refaug_det.errors import UserError
from refaug_det.runs import checkpoints, config, history

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs' / 'cls' / 'toy_mixup_refine.py'
WIDTH = ['model.network.width=8', 'train_dataloader.dataset.pipeline.0.size=32',
         'train_dataloader.batch_size=8', 'auto_scale_lr.base_batch_size=8',
         'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']


@pytest.fixture(scope='module')
def refine_main():
    spec = importlib.util.spec_from_file_location('refine', ROOT / 'tools' / 'refine.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def refine(refine_main, toy_images, tmp_path):
    def run(checkpoint, *more, work_dir='refined', options=()):
        return refine_main([str(CONFIG), '--checkpoint', str(checkpoint), '--data-root',
                            str(toy_images), '--work-dir', str(tmp_path / work_dir), '--name',
                            work_dir, *more, '--cfg-options', *WIDTH, *options])
    return run


@pytest.fixture
def trained(tmp_path):
    """A file of the network, by torchvision's key names, with a wrapper's prefix."""
    torch.manual_seed(3)
    net = MODELS.build(dict(type='RefAugResNet', depth=18, width=8, num_classes=8)).net
    for key, value in net.state_dict().items():
        if key.endswith('running_mean'):
            value.fill_(7.0)
    path = tmp_path / 'theirs.pth'
    torch.save(dict(state_dict={f'module.{k}': v for k, v in net.state_dict().items()}), path)
    return path, net.state_dict()


def parameters(state):
    return {k: v for k, v in state.items() if 'running' not in k and 'num_batches' not in k}


def same(a, b):
    assert a.keys() == b.keys()
    return [torch.equal(a[key], b[key]) for key in a]


def last(tmp_path, work_dir='refined'):
    state = checkpoints.newest_valid(tmp_path / work_dir)[1]['state_dict']
    return bare(state)


def test_refining_someone_elses_weights(refine, trained, tmp_path):
    path, before = trained
    assert refine(path, '--epochs', '1', '--lr', '0.001') == 0
    row, = history.read(tmp_path / 'refined')
    assert (row['phase'], row['augmented_share'], row['lr']) == ('refinement', 0, 0.001)
    assert not any(same(parameters(last(tmp_path)), parameters(before)))
    record = json.loads((tmp_path / 'refined' / 'run.json').read_text())
    assert any(note.startswith('starts from theirs.pth: 102 tensors matched, 0 missing')
               for note in record['notes'])
    card = zoo.card('refined')
    assert card.provenance['refined_from']['file'] == 'theirs.pth'
    assert len(card.provenance['refined_from']['sha256']) == 64


def test_it_starts_from_the_weights_and_not_from_random_ones(refine, trained, tmp_path):
    path, before = trained
    assert refine(path, '--epochs', '1', '--lr', '1e-12') == 0
    near = parameters(last(tmp_path))
    for key, value in parameters(before).items():
        torch.testing.assert_close(near[key], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('workers', [0, 1])
def test_the_control_arm_changes_statistics_only(refine, trained, tmp_path, workers):
    path, before = trained
    assert refine(path, '--batch-norm-only',
                  options=[f'train_dataloader.num_workers={workers}']) == 0
    after = last(tmp_path)
    assert all(same(parameters(after), parameters(before)))
    means = [key for key in after if key.endswith('running_mean')]
    assert means
    assert not any(torch.equal(after[key], before[key]) for key in means)
    row, = history.read(tmp_path / 'refined')
    assert row['augmented_share'] == 0
    assert zoo.names() == ['refined']


def test_statistics_resumed_inside_the_epoch_are_those_of_one_go(refine, trained, tmp_path):
    path, _ = trained
    more = ['default_hooks.checkpoint.interval_iters=1', 'default_hooks.checkpoint.keep=9']
    assert refine(path, '--batch-norm-only', options=more) == 0
    whole = last(tmp_path)
    (tmp_path / 'refined' / 'iter_4.pth').unlink()
    assert refine(path, '--batch-norm-only', '--resume', '--overwrite', options=more) == 0
    assert all(same(last(tmp_path), whole))
    (tmp_path / 'refined' / 'iter_4.pth').unlink()
    half = torch.load(tmp_path / 'refined' / 'iter_3.pth', weights_only=True)['state_dict']
    assert not all(same(bare(half), whole))  # a whole epoch had something left to add


def test_our_own_files_are_taken_as_they_lie(refine, words, train_cls, tmp_path):
    assert train_cls([*words(epochs=2)]) == 0
    source = tmp_path / 'run' / AUGMENTED_WEIGHTS
    assert refine(source, '--epochs', '1', '--lr', '1e-12', work_dir='a') == 0
    assert refine(tmp_path / 'run' / 'iter_4.pth', '--epochs', '1', '--lr', '1e-12',
                  work_dir='b') == 0
    ours = parameters(bare(load_file(source)))
    for key, value in parameters(last(tmp_path, 'a')).items():
        torch.testing.assert_close(value, ours[key], atol=1e-6, rtol=1e-5)
    assert not all(torch.allclose(value, ours[key], atol=1e-6) for key, value in
                   parameters(last(tmp_path, 'b')).items())  # those are the refined ones


def test_a_network_of_timm():
    import timm
    net = MODELS.build(dict(type='RefAugTimm', name='resnet18', num_classes=4))
    weights = timm.create_model('resnet18', num_classes=4).state_dict()
    assert load_network(net, weights, 'x').whole
    assert torch.equal(net.net.conv1.weight, weights['conv1.weight'])
    with pytest.raises(UserError, match='another shape'):
        load_network(net, timm.create_model('resnet18', num_classes=5).state_dict(), 'x')


@pytest.mark.parametrize('spoil', ['headless', 'deeper', 'page'])
def test_anything_but_whole_weights_is_refused(refine, trained, tmp_path, capsys, spoil):
    path, weights = trained
    if spoil == 'page':
        path.write_text('<html>not found</html>')
    else:
        kept = {k: v for k, v in weights.items() if not k.startswith('fc.')}
        if spoil == 'deeper':
            kept = {**weights, 'layer1.2.conv1.weight': weights['layer1.1.conv1.weight']}
        torch.save(kept, path)
    assert refine(path, '--epochs', '1', '--lr', '0.1') == 2
    assert 1 <= len(capsys.readouterr().err.strip().splitlines()) <= 3
    assert zoo.names() == []


def test_rate_schedule_and_hook_of_the_config():
    def planned(*words, hook=None):
        cfg = config.load(CONFIG)
        cfg.custom_hooks = [dict(type='RefAugRefinementHook', **(hook or dict(epochs=2)))]
        plan(cfg, *words)
        return cfg

    cfg = planned(5, 0.01, 'cosine', False)
    assert cfg.custom_hooks == [dict(type='RefAugRefinementHook', epochs=5, weaken=0, lr=0.01,
                                     schedule='cosine')]
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler) == (5, None)
    kept = planned(5, None, None, False, hook=dict(epochs=2, lr=0.3, pipeline=[], weaken=1))
    assert kept.custom_hooks[0] == dict(type='RefAugRefinementHook', epochs=5, weaken=0, lr=0.3,
                                        pipeline=[])
    assert planned(5, 0.0, None, False).custom_hooks[0].lr == 0
    with pytest.raises(UserError, match='0 epochs'):
        planned(0, 0.1, None, False)
    with pytest.raises(UserError, match='no learning rate'):
        planned(5, None, None, False)
    for given in ((5, None, None), (None, 0.01, None), (None, None, 'cosine')):
        with pytest.raises(UserError, match='nothing is trained'):
            planned(*given, True)
    still = planned(None, None, None, True)
    assert still.train_cfg.max_epochs == 1
    assert still.optim_wrapper.type == 'RefAugNoUpdate'


def test_where_weights_come_from(monkeypatch, trained):
    weights, digest = starting_weights(str(trained[0]))
    assert set(bare(weights)) == set(trained[1])
    assert len(digest) == 64
    for name in ('torchvision://resnet5000', 'ftp://x', 'timm://no_such_network'):
        with pytest.raises(UserError, match='cannot get these weights'):
            starting_weights(name)
    with pytest.raises(UserError, match='no such weights file'):
        starting_weights('nowhere.pth')


def test_other_pixels_or_classes_than_those_of_the_training_are_refused(refine, words, train_cls,
                                                                       tmp_path, capsys):
    assert train_cls([*words(epochs=2)]) == 0
    source = tmp_path / 'run' / AUGMENTED_WEIGHTS
    capsys.readouterr()
    more = ('--epochs', '1', '--lr', '0.1')
    assert refine(source, *more, options=['model.data_preprocessor.mean=0,0,0']) == 2
    assert 'trained with pixel mean [123.675, 116.28, 103.53]' in capsys.readouterr().err
    classes = json.loads((tmp_path / 'run' / 'config.json').read_text())
    names = classes['train_dataloader']['dataset']['classes']
    assert refine(source, *more, '--classes', ','.join(names[::-1])) == 2
    assert 'other classes, or in another order' in capsys.readouterr().err
    assert refine(source, *more, '--classes', ','.join(names)) == 0
