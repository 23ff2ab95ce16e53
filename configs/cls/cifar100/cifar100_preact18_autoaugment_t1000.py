"""CIFAR-100, PreActResNet-18, AutoAugment for 1000 epochs, then refinement
(He et al. 2019, Table 3).

    python tools/train_cls.py configs/cls/cifar100/cifar100_preact18_autoaugment_t1000.py \
        --data-root data

Expect top-1 78.16 before refinement, 80.38 after (published: mean of 3 runs of the median
of the last 10 epochs). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg)
train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline, dict(type='RefAugAutoAugment', policy='cifar10'),
    dict(type='RefAugCutout', size=16, fill=_base_.img_norm_cfg.mean)]))
train_cfg = dict(max_epochs=1200)  # T1 1000, T2 200
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=1000, by_epoch=True, milestones=[400, 800], gamma=0.1)]
custom_hooks = [dict(type='RefAugRefinementHook', epochs=200)]
