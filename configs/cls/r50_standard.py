"""ImageNet, ResNet-50, standard augmentation only: the baseline (He et al. 2019, Table 5).

    tools/dist_train.sh configs/cls/r50_standard.py 8 --data-root data/imagenet

Expect top-1 / top-5: 76.39 / 93.19 (published; number of runs not stated). Not run here:
ImageNet is not to be had. The length of this baseline, 120 epochs with drops at 30, 60, 90,
is our choice.
"""
_base_ = ['_base_/runtime.py', '_base_/imagenet.py', '_base_/resnet50.py',
          '_base_/schedule_imagenet.py']

train_cfg = dict(max_epochs=120)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=120, by_epoch=True, milestones=[30, 60, 90], gamma=0.1)]
