"""CIFAR-100, Shake-Shake 26 2x96d, CutMix, then refinement (He et al. 2019, Table 1).

    tools/dist_train.sh configs/cls/cifar100/cifar100_shake26_cutmix.py 2 --data-root data

Expect top-1 84.51 before refinement, 84.64 after (published: number of runs not stated).
Not run here.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/shake26.py', '../_base_/schedule_shake26.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    batch_augments=[dict(type='RefAugCutMix', alpha=1.0, probability=0.5)])
train_dataloader = dict(batch_size=64)  # on each of 2 GPUs
train_cfg = dict(max_epochs=2000)  # T1 1800, T2 200
# "reasonably small" after a cosine, says the paper; a hundredth of the first is our choice
custom_hooks = [dict(type='RefAugRefinementHook', epochs=200, lr=1e-4)]
