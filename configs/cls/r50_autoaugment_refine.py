"""ImageNet, ResNet-50, AutoAugment, then refinement (He et al. 2019, Table 5).

    tools/dist_train.sh configs/cls/r50_autoaugment_refine.py 8 --data-root data/imagenet

Expect top-1 / top-5: 77.83 / 93.70 before refinement, 77.98 / 93.86 after (published;
number of runs not stated). Not run here: ImageNet is not to be had.
"""
_base_ = ['_base_/runtime.py', '_base_/imagenet.py', '_base_/resnet50.py',
          '_base_/schedule_imagenet.py']

train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline, dict(type='RefAugAutoAugment', policy='imagenet')]))
train_cfg = dict(max_epochs=320)  # T1 300, T2 20 at 1e-4
custom_hooks = [dict(type='RefAugRefinementHook', epochs=20, lr=1e-4)]
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=300, by_epoch=True, milestones=[75, 150, 225], gamma=0.1)]
