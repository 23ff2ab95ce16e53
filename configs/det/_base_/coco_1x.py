"""The 1x schedule of COCO, as in mmdet's schedule_1x.py.

12 epochs, 16 images a batch, rate 0.02 divided by 10 after epochs 8 and 11, a warm-up
over 500 updates, no clipping.
"""
train_cfg = dict(type='RefAugTrainLoop', max_epochs=12, val_interval=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
auto_scale_lr = dict(base_batch_size=16)
