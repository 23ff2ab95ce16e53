"""The demo's detector: the VOC 2007 recipe at toy size (images, widths, epochs).

    python tools/train_det.py configs/det/toy_faster_rcnn.py --backbone toy_standard \
        --data-root data/toy_voc --classes auto

Data: written by `python tools/demo.py --data-only`. Numbers: README.
"""
_base_ = ['faster_rcnn_r50_fpn_voc07.py']

model = dict(
    neck=dict(out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=32, roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2)),
        bbox_head=dict(in_channels=32, fc_out_channels=256)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=300, max_per_img=100), rcnn=dict(sampler=dict(num=48))),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=30)))
_scale = (192, 192)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = _scale
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = _scale
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader
train_cfg = dict(max_epochs=4)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[3], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=4)  # at the recipe's rate of 0.01: few images, many steps
