"""The demo's detector: the VOC 2007 recipe at toy size (images, widths, epochs).

    python tools/train_det.py configs/det/toy_faster_rcnn.py --backbone toy_standard \
        --data-root data/toy_voc --classes auto

Data: written by `python tools/demo.py --data-only`. Numbers: README.
"""
_base_ = ['faster_rcnn_r50_fpn_voc07.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(frozen_stages=1),
    neck=dict(out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100), rcnn=dict(max_per_img=50)))
_scale = (192, 192)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = _scale
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = _scale
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader
train_cfg = dict(max_epochs=6)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=6, by_epoch=True, milestones=[5], gamma=0.1)]
optim_wrapper = dict(optimizer=dict(lr=0.02))
auto_scale_lr = dict(base_batch_size=8)
