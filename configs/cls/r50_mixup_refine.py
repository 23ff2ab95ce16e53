"""ImageNet, ResNet-50, Mixup 0.2, then refinement (He et al. 2019, Table 5).

    tools/dist_train.sh configs/cls/r50_mixup_refine.py 8 --data-root data/imagenet

Expect top-1 / top-5: 77.47 / 93.75 before refinement, 77.69 / 93.83 after (published;
number of runs not stated). Not run here: ImageNet is not to be had.
"""
_base_ = ['_base_/runtime.py', '_base_/imagenet.py', '_base_/resnet50.py',
          '_base_/schedule_imagenet.py']

model = dict(batch_augments=[dict(type='RefAugMixup', alpha=0.2)])
train_cfg = dict(max_epochs=220)  # T1 200, T2 20 at 1e-4
custom_hooks = [dict(type='RefAugRefinementHook', epochs=20, lr=1e-4)]
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=200, by_epoch=True, milestones=[60, 120, 180], gamma=0.1)]
