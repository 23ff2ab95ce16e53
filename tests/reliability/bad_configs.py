"""Configs that cannot be read, cannot be right or cannot be built, and options that spoil one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    'bad_world', Path(__file__).with_name('bad_world.py'))
_world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_world)
Case, CLS, DET = _world.Case, _world.CLS, _world.DET

BASE = f'_base_ = [{str(CLS)!r}]\n'


def text(content, name='own.py', says=None):
    """A config of this text."""
    return Case(lambda w: w.cls(config=w.put(name, content)), says or name)


def option(*changes, says=None, program='cls'):
    """`--cfg-options` that are wrong."""
    return Case(lambda w: getattr(w, program)(options=changes), says or changes[0].split('=')[0])


def circle(w):
    w.put('b.py', "_base_ = ['a.py']\n")
    return w.cls(config=w.put('a.py', "_base_ = ['b.py']\n"))


def loop(w):
    (w.home / 'loop.py').symlink_to(w.home / 'loop.py')
    return w.cls(config=w.home / 'loop.py')


def dangling(w):
    (w.home / 'link.py').symlink_to(w.home / 'gone.py')
    return w.cls(config=w.home / 'link.py')


FILES = {
    'empty config': text(''),
    'no such config': Case(lambda w: w.cls(config='configs/cls/toy_mixup_refin.py'), 'refin.py'),
    'a folder as config': Case(lambda w: w.cls(config=w.home), 'where'),
    'a file as a folder of configs': Case(lambda w: w.cls(config=w.put('a') / 'b.py'), 'b.py'),
    'a config that is a loop of links': Case(loop, 'loop.py'),
    'a config that is a dangling link': Case(dangling, 'link.py'),
    'a very long name of a config': Case(lambda w: w.cls(config='a' * 5000 + '.py'), 'aaa'),
    'an image as config': text(b'\x89PNG\r\n\x1a\n' + bytes(range(256))),
    'UTF-16 config': text(BASE.encode('utf-16')),
    'Latin-1 config': text(b'a = "\xe9"\n'),
    'NUL in a config': text(BASE + 'a = "\0"\n'),
    'syntax error': text(BASE + 'model = dict(\n'),
    'tabs and spaces': text('if True:\n\ta = 1\n        b = 2\n'),
    'error in Python': text(BASE + '_a = 1 / 0\n'),
    'undefined name': text(BASE + '_a = nothing\n'),
    'config that exits': text(BASE + 'import sys\nsys.exit(0)\n'),
    'config that never ends': text('_a = []\n_a.append(_a)\n_b = _a\n' + BASE),
    'brackets without end': text('_a = ' + '(' * 5000),
    'missing base': text("_base_ = ['nowhere.py']\n"),
    'base of no string': text('_base_ = [3]\n'),
    'missing base of mmdet': text("_base_ = ['mmdet::nowhere.py']\n"),
    'base of a missing package': text("_base_ = ['nothere::a.py']\n"),
    'bases that are each other\'s': Case(circle, '.py'),
    'base that is itself': text("_base_ = ['own.py']\n"),
    'import of a missing module': text(BASE + "custom_imports = dict(imports=['not_here_at_all'])"),
    'imports of no list': text(BASE + 'custom_imports = dict(imports=3)\n'),
    'JSON that is none': text('{"model": ', 'own.json'),
    'JSON of a list': text('[1, 2]', 'own.json'),
    'YAML config with a tag': text('a: !!python/object/apply:os.getcwd []\n', 'own.yaml'),
    'another suffix': text(BASE, 'own.txt'),
    'no network': text("default_scope = 'mmengine'\ntrain_cfg = dict(max_epochs=1)\n"),
    'model of no dict': text(BASE + 'model = 3\n'),
    'model without type': text(BASE + 'model = dict(_delete_=True, num_classes=2)\n'),
    'loader of no dict': text(BASE + 'train_dataloader = 3\n'),
    'loader without data set': text(BASE + 'train_dataloader = dict(_delete_=True, '
                                           'batch_size=2)\n', says='dataset.type'),
    'data set of no dict': text(BASE + 'train_dataloader = dict(dataset=3)\n'),
    'hooks of no list': text(BASE + 'custom_hooks = 3\n'),
    'a hook of no dict': text(BASE + 'custom_hooks = [3]\n'),
    'schedule of no list': text(BASE + 'param_scheduler = 3\n'),
    'no optimizer': text(BASE + 'optim_wrapper = dict(_delete_=True, type="OptimWrapper")\n'),
    'key of no text': text(BASE + 'model = {3: 4}\n'),
    'detector config for a classifier': Case(lambda w: w.cls(config=DET), 'toy_faster_rcnn'),
    'classifier config for a detector': Case(lambda w: w.det(config=CLS), 'toy_mixup_refine'),
}
OPTIONS = {
    'misspelt section': option('optim_wraper.type=SGD', says='optim_wraper'),
    'misspelt key': option('model.network.dept=18'),
    'misspelt key of a detector': option('model.backbone.detph=18', program='det'),
    'option without =': option('train_cfg.max_epochs', says='--cfg-options'),
    'option of =': option('=3', says='--cfg-options'),
    'option with an empty key inside': option('model..depth=3', says='model'),
    'option below a number': option('train_cfg.max_epochs.x=3', says='max_epochs'),
    'option beyond a list': option('param_scheduler.7.gamma=1', says='param_scheduler'),
    'option into a list by name': option('param_scheduler.first.gamma=1', says='param_scheduler'),
    'half a bracket': option('model.network.depth=(1,', says='depth'),
    'text for a number': option('train_cfg.max_epochs=many'),
    'no epochs': option('train_cfg.max_epochs=0'),
    'minus one epoch': option('train_cfg.max_epochs=-1'),
    'epochs of nan': option('train_cfg.max_epochs=nan'),
    'half an epoch': option('train_cfg.max_epochs=0.5'),
    'epochs of a list': option('train_cfg.max_epochs=[1,2]'),
    'rate of nan': option('optim_wrapper.optimizer.lr=nan'),
    'negative rate': option('optim_wrapper.optimizer.lr=-1'),
    'infinite rate': option('optim_wrapper.optimizer.lr=inf'),
    'text as rate': option('optim_wrapper.optimizer.lr=fast'),
    'no images in a batch': option('train_dataloader.batch_size=0'),
    'batch of half an image': option('train_dataloader.batch_size=1.5'),
    'minus one worker': option('train_dataloader.num_workers=-1'),
    'negative momentum': option('optim_wrapper.optimizer.momentum=-2', says='momentum'),
    'unknown optimizer': option('optim_wrapper.optimizer.type=SGDD', says='SGDD'),
    'unknown model': option('model.type=Nothing', says='Nothing'),
    'unknown network': option('model.network.type=Nothing', says='Nothing'),
    'depth that is none': option('model.network.depth=19', says='resnet19'),
    'width of 0': option('model.network.width=0', says='width'),
    'width of text': option('model.network.width=wide', says='width'),
    'other number of classes': option('model.num_classes=7', says='num_classes'),
    'alpha below 0': option('model.batch_augments.0.alpha=-1', says='alpha'),
    'alpha of nan': option('model.batch_augments.0.alpha=nan', says='alpha'),
    'refinement longer than training': option('custom_hooks.0.epochs=9', says='refinement'),
    'refinement of -1 epochs': option('custom_hooks.0.epochs=-1', says='epochs'),
    'refinement at a negative rate': option('custom_hooks.0.lr=-0.1', says='lr'),
    'unknown transform': option('train_dataloader.dataset.pipeline.0.name=RandomCorp',
                                says='RandomCorp'),
    'crop larger than the image': option('train_dataloader.dataset.pipeline.0.size=4000',
                                         says='.jpg'),
    'mean of two numbers': option('model.data_preprocessor.mean=1,2', says='mean'),
    'std of 0': option('model.data_preprocessor.std=0,0,0', says='std'),
    'load_from': option('load_from=a.pth'),
    'unknown scheduler': option('param_scheduler.0.type=StepLRR', says='StepLRR'),
    'unknown hook': option('custom_hooks.0.type=NoHook', says='NoHook'),
    'accumulation twice': option('optim_wrapper.accumulative_counts=2'),
    'unknown sampler': option('train_dataloader.sampler.type=NoSampler', says='NoSampler'),
    'scale of a detector\'s images': option('train_dataloader.dataset.pipeline.2.scale=0',
                                            program='det', says='scale'),
    'stages that are not there': option('model.backbone.frozen_stages=9', program='det'),
    'unknown detector': option('model.type=FasterRCNNN', program='det', says='FasterRCNNN'),
    'maps that are not there': option('model.backbone.out_indices=(0,9)', program='det',
                                      says='out_indices'),
}
CASES = {**FILES, **OPTIONS}
