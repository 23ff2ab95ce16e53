"""CIFAR-100, PreActResNet-18, Mixup removed within 400 epochs (He et al. 2019, Figure 4).

    python tools/train_cls.py configs/cls/cifar100/cifar100_preact18_mixup_removed.py \
        --data-root data

Mixup is removed at epoch 350 here; --cfg-options custom_hooks.0.epochs=N removes it N epochs
before the end (0: never). The published curve of the test error (mean and range of 5 runs) has
no numbers; `refaug-det paper figure4` has the commands for our choice of N. Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    batch_augments=[dict(type='RefAugMixup', alpha=1.0)])
train_cfg = dict(max_epochs=400)
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50)]
