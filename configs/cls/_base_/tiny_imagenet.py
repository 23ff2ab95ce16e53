"""Tiny-ImageNet (200 classes, 64 px): data_root is the folder of its archive."""
num_classes = 200
# of the training images, RGB, 0-255; not in the paper: as in wide use
img_norm_cfg = dict(mean=[122.461, 114.258, 101.368], std=[70.492, 68.568, 71.813])
# the paper says "random crops" only: the padding is the customary one
train_pipeline = [
    dict(type='RefAugTransform', name='RandomCrop', size=64, padding=4),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
]
train_dataloader = dict(
    batch_size=128, num_workers=4, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefAugTinyImageNet', data_root='data/tiny-imagenet-200', split='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500, num_workers=2, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefAugTinyImageNet', data_root='data/tiny-imagenet-200', split='val',
                 pipeline=[]))
_images = dict(train=100000, val=10000)  # a run on other data is not the recipe's
