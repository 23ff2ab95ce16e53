"""CIFAR-100, Shake-Shake 26 2x96d, standard augmentation only (He et al. 2019, Table 1).

    tools/dist_train.sh configs/cls/cifar100/cifar100_shake26_standard.py 2 --data-root data

Expect top-1 82.87 (published: number of runs not stated). Not run here. The length of this
baseline is our choice: the augmented phase of the others.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/shake26.py', '../_base_/schedule_shake26.py']

model = dict(num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg)
train_dataloader = dict(batch_size=64)  # on each of 2 GPUs
train_cfg = dict(max_epochs=1800)
