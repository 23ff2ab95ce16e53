"""PreActResNet-18: 400 augmented epochs, then the last rate goes on (He et al. 2019, 4.1)."""
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=400, by_epoch=True, milestones=[150, 275], gamma=0.1)]
# momentum 0.9 without Nesterov is our choice: the paper does not say
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=False))
auto_scale_lr = dict(base_batch_size=128)
