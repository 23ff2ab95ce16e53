"""ResNet-101 as in torchvision; pixels normalised by ImageNet's statistics (RGB, 0-255)."""
model = dict(
    type='RefAugClassifier', num_classes=1000,
    network=dict(type='RefAugResNet', depth=101),
    data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375]))
