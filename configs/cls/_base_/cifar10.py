"""CIFAR-10: data_root holds cifar-10-batches-py."""
num_classes = 10
# of the training images, RGB, 0-255
img_norm_cfg = dict(mean=[125.307, 122.950, 113.865], std=[62.993, 62.089, 66.705])
# the paper says "random crops" only: the padding is the customary one
train_pipeline = [
    dict(type='RefAugTransform', name='RandomCrop', size=32, padding=4),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
]
train_dataloader = dict(
    batch_size=128, num_workers=4, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefAugCIFAR', data_root='data', name='cifar10', split='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500, num_workers=2, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefAugCIFAR', data_root='data', name='cifar10', split='test',
                 pipeline=[]))
_images = dict(train=50000, val=10000)  # a run on other data is not the recipe's
