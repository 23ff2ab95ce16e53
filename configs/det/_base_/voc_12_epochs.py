"""The schedule of mmdet v1's VOC configs, which the paper's recipe equals.

12 epochs, 16 images a batch, rate 0.01 divided by 10 after epoch 9, no warm-up,
gradients clipped at norm 35.
"""
train_cfg = dict(type='RefAugTrainLoop', max_epochs=12, val_interval=12)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[9], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(base_batch_size=16)
