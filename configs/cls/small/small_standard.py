"""CIFAR at a small scale, standard augmentation, then none at all: the baseline.

    python tools/train_cls.py configs/cls/small/small_standard.py --data-root data/cifar_small

Data: data/cifar_small/{train,test}/CLASS/*.png. No published number: the paper's are of
other widths and epochs (configs/cls/cifar10).
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar_small.py']

train_cfg = dict(max_epochs=60, val_interval=10)
custom_hooks = [dict(type='RefAugRefinementHook', epochs=10, pipeline=[])]
