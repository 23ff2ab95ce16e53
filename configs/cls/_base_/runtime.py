"""What every stage 1 run shares: loop, hooks, metric, environment."""
custom_imports = dict(imports=['classification.train'])

train_cfg = dict(type='RefAugTrainLoop', max_epochs=1, val_interval=1)
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='RefAugClassificationMetric')

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    runtime_info=dict(type='RuntimeInfoHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    logger=dict(type='LoggerHook', interval=50),
    sync_buffers=dict(type='SyncBuffersHook'),
    history=dict(type='RefAugHistoryHook'),
    checkpoint=dict(type='RefAugCheckpointHook', interval=1, keep=2),
    progress=dict(type='RefAugProgressHook'),
    sampler_seed=None)

# cudnn chooses the fastest algorithms for the image sizes that it meets; no effect without a GPU
env_cfg = dict(cudnn_benchmark=True, mp_cfg=dict(opencv_num_threads=0))
default_scope = 'mmengine'
