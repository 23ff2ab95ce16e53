"""mmdet's runtime with our hooks: history, exact checkpoints, progress."""
_base_ = ['mmdet::_base_/default_runtime.py']

custom_imports = dict(imports=['detection.train'])

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    runtime_info=dict(type='RuntimeInfoHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    logger=dict(type='LoggerHook', interval=50),
    history=dict(type='RefAugHistoryHook'),
    checkpoint=dict(type='RefAugCheckpointHook', interval=1, keep=2),
    progress=dict(type='RefAugProgressHook'),
    sampler_seed=None)  # the keyed sampler needs no help
vis_backends = []
visualizer = dict(type='DetLocalVisualizer', vis_backends=[], name='visualizer')
