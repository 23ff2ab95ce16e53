"""Shake-Shake: 1800 augmented epochs under a cosine (He et al. 2019, 4.1)."""
param_scheduler = [
    dict(type='CosineAnnealingLR', begin=0, end=1800, by_epoch=True, T_max=1800)]
# momentum 0.9 without Nesterov is our choice: the paper does not say
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=False))
auto_scale_lr = dict(base_batch_size=128)
