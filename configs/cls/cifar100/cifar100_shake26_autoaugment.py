"""CIFAR-100, Shake-Shake 26 2x96d, AutoAugment, then refinement (He et al. 2019, Table 1).

    tools/dist_train.sh configs/cls/cifar100/cifar100_shake26_autoaugment.py 2 --data-root data

Expect top-1 85.62 before refinement, 86.13 after (published: number of runs not stated).
Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/shake26.py', '../_base_/schedule_shake26.py']

model = dict(num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg)
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=[  # 64 on each of 2 GPUs
    *_base_.train_pipeline, dict(type='RefAugAutoAugment', policy='cifar10'),
    dict(type='RefAugCutout', size=16, fill=_base_.img_norm_cfg.mean)]))
train_cfg = dict(max_epochs=2000)  # T1 1800, T2 200
# "reasonably small" after a cosine, says the paper; a hundredth of the first is our choice
custom_hooks = [dict(type='RefAugRefinementHook', epochs=200, lr=1e-4)]
