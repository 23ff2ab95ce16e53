"""WideResNet-28-10.

Classes and pixel statistics belong to the data: a recipe takes them from there.
"""
model = dict(
    type='RefAugClassifier', network=dict(type='RefAugWideResNet'),
    data_preprocessor=dict(type='RefAugImagePreprocessor'))
