"""CIFAR-10, PreActResNet-18, Manifold Mixup, then refinement (He et al. 2019, Table 1).

    python tools/train_cls.py configs/cls/cifar10/cifar10_preact18_manifold_mixup.py \
        --data-root data

Expect top-1 95.81 before refinement, 96.07 after (published: mean of 3 runs of the median
of the last 10 epochs). Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar10.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    batch_augments=[dict(type='RefAugManifoldMixup', alpha=1.0)])
train_cfg = dict(max_epochs=450)  # T1 400, T2 50
custom_hooks = [dict(type='RefAugRefinementHook', epochs=50)]
