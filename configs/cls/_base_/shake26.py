"""Shake-Shake 26 2x96d.

Classes and pixel statistics belong to the data: a recipe takes them from there.
"""
model = dict(
    type='RefAugClassifier', network=dict(type='RefAugShakeShake'),
    data_preprocessor=dict(type='RefAugImagePreprocessor'))
