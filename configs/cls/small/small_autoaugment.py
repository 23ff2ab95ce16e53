"""CIFAR at a small scale, AutoAugment and Cutout, then refinement.

    python tools/train_cls.py configs/cls/small/small_autoaugment.py --data-root data/cifar_small

Data: data/cifar_small/{train,test}/CLASS/*.png. No published number: the paper's are of
other widths and epochs (configs/cls/cifar10).
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar_small.py']

train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline,
    dict(type='RefAugAutoAugment', policy='cifar10'), dict(type='RefAugCutout', size=16)]))
train_cfg = dict(max_epochs=60, val_interval=10)
custom_hooks = [dict(type='RefAugRefinementHook', epochs=10)]
