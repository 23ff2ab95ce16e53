"""CIFAR-10, WideResNet-28-10, AutoAugment, then refinement (He et al. 2019, Table 1).

    python tools/train_cls.py configs/cls/cifar10/cifar10_wide28_autoaugment.py --data-root data

Expect top-1 97.59 before refinement, 97.73 after (published: mean of 3 runs of the median
of the last 10 epochs). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar10.py',
          '../_base_/wide28.py', '../_base_/schedule_wide28.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    network=dict(dropout=0.3))
train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline, dict(type='RefAugAutoAugment', policy='cifar10'),
    dict(type='RefAugCutout', size=16, fill=_base_.img_norm_cfg.mean)]))
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
param_scheduler = [
    dict(type='CosineAnnealingLR', begin=0, end=400, by_epoch=True, T_max=400)]
# "reasonably small" after a cosine, says the paper; a hundredth of the first is our choice
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50, lr=1e-3)]
