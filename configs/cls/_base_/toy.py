"""The toy world of the demo as classification: 64 px images, a narrow ResNet-18."""
train_pipeline = [
    dict(type='RefAugTransform', name='RandomCrop', size=64, padding=6, padding_mode='reflect'),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
]
train_dataloader = dict(
    batch_size=64, num_workers=1, persistent_workers=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefAugImageFolder', data_root='data/toy_images', split='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=256, num_workers=1, persistent_workers=True,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefAugImageFolder', data_root='data/toy_images', split=('val', 'test'),
                 pipeline=[]))
model = dict(
    type='RefAugClassifier', num_classes=None,
    network=dict(type='RefAugResNet', depth=18, width=16),
    data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375]))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=False))
auto_scale_lr = dict(base_batch_size=64)
