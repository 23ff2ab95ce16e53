"""Tiny-ImageNet, PreActResNet-18, AutoAugment, CIFAR policy, then refinement
(He et al. 2019, Table 4).

    python tools/train_cls.py configs/cls/tiny_imagenet/tiny_preact18_autoaugment_cifar.py \
        --data-root data/tiny-imagenet-200

Expect top-1 (best, last): 65.08, 64.29 before refinement, 65.31, 65.12 after (published;
number of runs not stated). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/tiny_imagenet.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    network=dict(stem_stride=2))
train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline, dict(type='RefAugAutoAugment', policy='cifar10'),
    dict(type='RefAugCutout', size=32, fill=_base_.img_norm_cfg.mean)]))
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50)]
