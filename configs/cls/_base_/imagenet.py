"""ImageNet-1k in class folders: data_root/{train,val}/nXXXXXXXX/*.JPEG."""
train_pipeline = [
    dict(type='RefAugTransform', name='RandomResizedCrop', size=224),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
]
test_pipeline = [
    dict(type='RefAugTransform', name='Resize', size=256),
    dict(type='RefAugTransform', name='CenterCrop', size=224),
]
# 32 images a device: the paper's batch of 256 on 8 GPUs
train_dataloader = dict(
    batch_size=32, num_workers=8, persistent_workers=True, pin_memory=True, drop_last=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefAugImageFolder', data_root='data/imagenet', split='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64, num_workers=8, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefAugImageFolder', data_root='data/imagenet', split='val',
                 pipeline=test_pipeline))
_images = dict(train=1281167, val=50000)  # a run on other data is not the recipe's
