"""ImageNet: rate 0.1 for batches of 256 (He et al. 2019, 4.3). A recipe sets its drops."""
# weight decay, momentum, Nesterov and warm-up are not in the paper: 1e-4, 0.9, no, none
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=False))
auto_scale_lr = dict(base_batch_size=256)
