"""The demo's Mixup classifier, then refinement: one run, two backbones.

    python tools/train_cls.py configs/cls/toy_mixup_refine.py --data-root data/toy_images

Data: written by `python tools/demo.py --data-only`. Numbers: README.
"""
_base_ = ['_base_/runtime.py', '_base_/toy.py']

model = dict(batch_augments=[dict(type='RefAugMixup', alpha=0.2)])
train_cfg = dict(max_epochs=11)
custom_hooks = [dict(type='RefAugRefinementHook', epochs=2)]
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=9, by_epoch=True, milestones=[5, 8], gamma=0.1)]
