"""Tiny-ImageNet, PreActResNet-18, Mixup 0.5, then refinement (He et al. 2019, Table 4).

    python tools/train_cls.py configs/cls/tiny_imagenet/tiny_preact18_mixup_05.py \
        --data-root data/tiny-imagenet-200

Expect top-1 (best, last): 63.95, 63.34 before refinement, 65.45, 65.08 after (published;
number of runs not stated). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/tiny_imagenet.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    network=dict(stem_stride=2),
    batch_augments=[dict(type='RefAugMixup', alpha=0.5)])
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50)]
