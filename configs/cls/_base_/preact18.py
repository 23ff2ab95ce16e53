"""PreActResNet-18, in the variant of Mixup's code.

Classes and pixel statistics belong to the data: a recipe takes them from there.
"""
model = dict(
    type='RefAugClassifier', network=dict(type='RefAugPreActResNet'),
    data_preprocessor=dict(type='RefAugImagePreprocessor'))
