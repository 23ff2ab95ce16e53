"""PASCAL VOC 2007 + 2012, FCOS (Tian et al. 2019) with group norm in its head, 12 epochs.

    python tools/train_det.py configs/det/fcos_r50_fpn_voc0712.py --backbone NAME \
        --data-root data/VOCdevkit --seed 0

No number is published for FCOS on VOC. Not run here.

Head, neck, warm-up and the rates of biases are those of mmdet's
fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py; data, length and frozen stages those of the
other VOC protocols. The warm-up counts updates, whatever the number of devices.
"""
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', '_base_/voc07.py',
          '_base_/voc_12_epochs.py', '_base_/runtime.py']

model = dict(
    type='FCOS',
    backbone=dict(frozen_stages=1, norm_eval=True),
    neck=dict(start_level=1, add_extra_convs='on_output', num_outs=5,
              relu_before_extra_convs=True),
    bbox_head=dict(
        _delete_=True,
        type='FCOSHead', num_classes=20, in_channels=256, stacked_convs=4, feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='IoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    train_cfg=None)
optim_wrapper = dict(paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='ConstantLR', factor=1.0 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[9], gamma=0.1)]
train_dataloader = dict(dataset=dict(also=['VOC2012']))  # trainval there too
