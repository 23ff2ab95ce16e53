"""CIFAR-100, WideResNet-28-10, standard augmentation only (He et al. 2019, Table 1).

    python tools/train_cls.py configs/cls/cifar100/cifar100_wide28_standard.py --data-root data

Expect top-1 81.15 (published: mean of 3 runs of the median of the last 10 epochs). Not run
here. The length of this baseline is our choice: the augmented phase of the others.
"""
_base_ = ['../_base_/runtime.py', '../_base_/cifar100.py',
          '../_base_/wide28.py', '../_base_/schedule_wide28.py']

model = dict(num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg)
train_cfg = dict(max_epochs=400)
