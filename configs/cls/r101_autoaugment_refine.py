"""ImageNet, ResNet-101, AutoAugment, then refinement (He et al. 2019, Table 5).

    tools/dist_train.sh configs/cls/r101_autoaugment_refine.py 8 --data-root data/imagenet

Expect top-1 / top-5: 79.20 / 94.45 before refinement, 79.33 / 94.46 after (published;
number of runs not stated). Not run here: ImageNet is not to be had. The drops are our
choice: at the same quarters as for ResNet-50.
"""
_base_ = ['_base_/runtime.py', '_base_/imagenet.py', '_base_/resnet101.py',
          '_base_/schedule_imagenet.py']

train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline, dict(type='RefAugAutoAugment', policy='imagenet')]))
train_cfg = dict(max_epochs=220)  # T1 200, T2 20 at 1e-4
custom_hooks = [dict(type='RefAugRefinementHook', epochs=20, lr=1e-4)]
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=200, by_epoch=True, milestones=[50, 100, 150], gamma=0.1)]
