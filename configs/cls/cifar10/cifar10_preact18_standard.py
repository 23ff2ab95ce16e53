"""CIFAR-10, PreActResNet-18, standard augmentation, then none at all (He et al. 2019, Table 1).

    python tools/train_cls.py configs/cls/cifar10/cifar10_preact18_standard.py --data-root data

Expect top-1 94.63 before, 94.48 after the last 50 epochs without any augmentation
(published: mean of 3 runs of the median of the last 10 epochs). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar10.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg)
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50, pipeline=[])]
