"""CIFAR-100: data_root holds cifar-100-python."""
num_classes = 100
# of the training images, RGB, 0-255
img_norm_cfg = dict(mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])
# the paper says "random crops" only: the padding is the customary one
train_pipeline = [
    dict(type='RefAugTransform', name='RandomCrop', size=32, padding=4),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
]
train_dataloader = dict(
    batch_size=128, num_workers=4, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefAugCIFAR', data_root='data', name='cifar100', split='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500, num_workers=2, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefAugCIFAR', data_root='data', name='cifar100', split='test',
                 pipeline=[]))
_images = dict(train=50000, val=10000)  # a run on other data is not the recipe's
