"""CIFAR-100, PreActResNet-18, CutMix, then refinement (He et al. 2019, Table 1).

    python tools/train_cls.py configs/cls/cifar100/cifar100_preact18_cutmix.py --data-root data

Expect top-1 79.75 before refinement, 80.46 after (published: mean of 3 runs of the median
of the last 10 epochs). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    batch_augments=[dict(type='RefAugCutMix', alpha=1.0, probability=0.5)])
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50)]
