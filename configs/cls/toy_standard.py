"""The demo's baseline classifier: standard augmentation only.

    python tools/train_cls.py configs/cls/toy_standard.py --data-root data/toy_images

Data: written by `python tools/demo.py --data-only`. Numbers: README.
"""
_base_ = ['_base_/runtime.py', '_base_/toy.py']

train_cfg = dict(max_epochs=11)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=11, by_epoch=True, milestones=[6, 9], gamma=0.1)]
