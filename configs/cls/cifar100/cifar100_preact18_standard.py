"""CIFAR-100, PreActResNet-18, standard augmentation, then none at all (He et al. 2019, Table 1).

    python tools/train_cls.py configs/cls/cifar100/cifar100_preact18_standard.py --data-root data

Expect top-1 75.79 before, 76.06 after the last 50 epochs without any augmentation
(published: mean of 3 runs of the median of the last 10 epochs). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg)
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50, pipeline=[])]
