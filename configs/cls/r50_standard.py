"""ImageNet, ResNet-50, standard augmentation only: the baseline (He et al. 2019, Table 5).

    tools/dist_train.sh configs/cls/r50_standard.py 8 --data-root data/imagenet

Expect top-1 / top-5: 76.39 / 93.19 (published). The paper does not state the
baseline's length; 120 epochs with drops at 30, 60, 90 is our choice.
"""
_base_ = ['_base_/runtime.py', '_base_/imagenet.py', '_base_/resnet50.py']

train_cfg = dict(max_epochs=120)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=120, by_epoch=True, milestones=[30, 60, 90], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=False))
auto_scale_lr = dict(base_batch_size=256)
