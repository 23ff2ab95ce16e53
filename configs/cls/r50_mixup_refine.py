"""ImageNet, ResNet-50, Mixup, then refinement (He et al. 2019, Table 5).

    tools/dist_train.sh configs/cls/r50_mixup_refine.py 8 --data-root data/imagenet

Expect top-1 / top-5: 77.47 / 93.75 before refinement, 77.69 / 93.83 after
(published, single run, Mixup's alpha 0.2). Not run here: ImageNet is not to be had.
"""
_base_ = ['_base_/runtime.py', '_base_/imagenet.py', '_base_/resnet50.py']

model = dict(batch_augments=[dict(type='RefAugMixup', alpha=0.2)])

# T1 = 200 epochs with drops at 60, 120, 180; then T2 = 20 at 1e-4
train_cfg = dict(max_epochs=220)
custom_hooks = [dict(type='RefAugRefinementHook', epochs=20, lr=1e-4)]
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=200, by_epoch=True, milestones=[60, 120, 180],
         gamma=0.1)]
# weight decay, Nesterov and warm-up are not in the paper: 1e-4, no, none
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=False))
auto_scale_lr = dict(base_batch_size=256)
