"""CIFAR images in class folders, data_root/{train,test}/CLASS/*.png, at a scale for few cores.

A ResNet-18 of width 16 (torchvision's stem) and 60 epochs, of which the last 10 are
refinement: the shape of the paper's CIFAR schedule (He et al. 2019, section 4.1), short.
Meant for some thousand training images; in place of a folder for them, links will do.
"""
train_pipeline = [
    dict(type='RefAugTransform', name='RandomCrop', size=32, padding=4),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
]
train_dataloader = dict(
    batch_size=64, num_workers=0,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefAugImageFolder', data_root='data/cifar_small', split='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500, num_workers=0,
    collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefAugImageFolder', data_root='data/cifar_small', split='test',
                 pipeline=[]))
# CIFAR-10's training images, RGB, 0-255
model = dict(
    type='RefAugClassifier', num_classes=10,
    network=dict(type='RefAugResNet', depth=18, width=16),
    data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[125.307, 122.950, 113.865],
                           std=[62.993, 62.089, 66.705]))
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=50, by_epoch=True, milestones=[20, 35], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=False))
auto_scale_lr = dict(base_batch_size=64)
