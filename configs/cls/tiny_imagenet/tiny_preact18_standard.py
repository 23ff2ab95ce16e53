"""Tiny-ImageNet, PreActResNet-18, standard augmentation only (He et al. 2019, Table 4).

    python tools/train_cls.py configs/cls/tiny_imagenet/tiny_preact18_standard.py \
        --data-root data/tiny-imagenet-200

Expect top-1 (best, last): 60.84, 60.68 (published; number of runs not stated). Not run
here. The length of this baseline is our choice: the augmented phase of the others.
"""
_base_ = ['../_base_/runtime.py', '../_base_/tiny_imagenet.py',
          '../_base_/preact18.py', '../_base_/schedule_preact18.py']

model = dict(
    num_classes=_base_.num_classes, data_preprocessor=_base_.img_norm_cfg,
    network=dict(stem_stride=2))
train_cfg = dict(max_epochs=400)
