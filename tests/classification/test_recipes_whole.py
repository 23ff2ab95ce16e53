"""A recipe says nothing but what the comparison with the paper looks at: no option slips by."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import classification.train  # noqa: F401  (registration)
from refaug_det.runs import config as configs

CLS = Path(__file__).parents[2] / 'configs' / 'cls'
RECIPES = {path.stem: path for path in sorted(CLS.rglob('*.py'))
           if path.parent.name != '_base_' and not path.stem.startswith(('toy_', 'small_'))}
KNOWN = {
    'model': {'type', 'network', 'num_classes', 'data_preprocessor', 'batch_augments'},
    'hook': {'type', 'epochs', 'lr', 'pipeline'},
    'train_cfg': {'type', 'max_epochs', 'val_interval'},
    'optim_wrapper': {'type', 'optimizer'},
    'optimizer': {'type', 'lr', 'momentum', 'weight_decay', 'nesterov'},
    'loader': {'batch_size', 'num_workers', 'persistent_workers', 'pin_memory', 'collate_fn',
               'sampler', 'dataset', 'drop_last'},
    'RefAugTransform': {'type', 'name', 'size', 'padding'},
    'RefAugAutoAugment': {'type', 'policy'}, 'RefAugCutout': {'type', 'size', 'fill'}}


def unlooked_at(cfg) -> set[str]:
    """Keys of a recipe that no test of its settings reads, and values that none allows."""
    parts = [('model', cfg.model), ('train_cfg', cfg.train_cfg),
             ('optim_wrapper', cfg.optim_wrapper), ('optimizer', cfg.optim_wrapper.optimizer),
             ('loader', cfg.train_dataloader), ('loader', cfg.val_dataloader)]
    parts += [('hook', hook) for hook in cfg.get('custom_hooks') or []]
    parts += [(step.type, step) for loader in (cfg.train_dataloader, cfg.val_dataloader)
              for step in loader.dataset.pipeline]
    found = {f'{name}.{key}' for name, part in parts for key in part
             if key not in KNOWN.get(name, ())}
    found |= {'hook.pipeline' for hook in cfg.get('custom_hooks') or [] if hook.get('pipeline')}
    imagenet = cfg.train_dataloader.dataset.type == 'RefAugImageFolder'
    if cfg.train_dataloader.get('drop_last', False) != imagenet:
        found.add('loader.drop_last')
    mean = [round(x) for x in cfg.model.data_preprocessor.mean]
    found |= {'RefAugCutout.fill' for step in cfg.train_dataloader.dataset.pipeline
              if step.type == 'RefAugCutout' and [round(x) for x in step.fill] != mean}
    return found


@pytest.mark.parametrize('name', sorted(RECIPES))
def test_every_key_is_looked_at(name):
    assert unlooked_at(configs.load(RECIPES[name])) == set()


@pytest.mark.parametrize(('name', 'key', 'value', 'seen'), [
    ('cifar10_preact18_mixup', 'custom_hooks.0.weaken', 50, 'hook.weaken'),
    ('cifar10_preact18_mixup', 'custom_hooks.0.optimizer_state', 'reset', 'hook.optimizer_state'),
    ('cifar10_preact18_mixup', 'model.label_smoothing', 0.1, 'model.label_smoothing'),
    ('cifar10_preact18_manifold_mixup', 'model.criterion', 'softmax_bce', 'model.criterion'),
    ('cifar10_preact18_mixup', 'train_cfg.val_begin', 449, 'train_cfg.val_begin'),
    ('cifar10_preact18_mixup', 'train_dataloader.drop_last', True, 'loader.drop_last'),
    ('cifar10_preact18_mixup', 'optim_wrapper.clip_grad', dict(max_norm=1),
     'optim_wrapper.clip_grad'),
    ('cifar10_preact18_mixup', 'optim_wrapper.paramwise_cfg', dict(norm_decay_mult=0),
     'optim_wrapper.paramwise_cfg'),
    ('cifar10_preact18_autoaugment', 'train_dataloader.dataset.pipeline.2.magnitudes',
     'torchvision', 'RefAugAutoAugment.magnitudes'),
    ('cifar10_preact18_autoaugment', 'train_dataloader.dataset.pipeline.3.fill', [0, 0, 0],
     'RefAugCutout.fill'),
    ('r50_mixup_refine', 'train_dataloader.dataset.pipeline.0.scale', [0.5, 1],
     'RefAugTransform.scale'),
    ('cifar10_preact18_standard', 'custom_hooks.0.pipeline',
     [dict(type='RefAugTransform', name='RandomHorizontalFlip')], 'hook.pipeline')])
def test_an_option_that_slips_in_is_seen(name, key, value, seen):
    cfg = copy.deepcopy(configs.load(RECIPES[name]))
    cfg.merge_from_dict({key: value})
    assert unlooked_at(cfg) == {seen}
