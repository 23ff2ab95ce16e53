"""PASCAL VOC 2007, Faster R-CNN with FPN, 12 epochs (He et al. 2019, Table 6).

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc07.py --backbone NAME \
        --data-root data/VOCdevkit --seed 0
    tools/dist_train.sh configs/det/faster_rcnn_r50_fpn_voc07.py 8 --backbone NAME

Expect AP50 (published, single runs): standard 72.0; Mixup 67.4, refined 73.3;
AutoAugment 70.5, refined 73.1. One config run four times elsewhere: sd 0.5, so
4 to 5 seeds an arm. Not run here: VOC is not to be had.
"""
_base_ = ['_base_/faster_rcnn_r50_fpn.py', '_base_/voc07.py']

model = dict(
    backbone=dict(frozen_stages=1, norm_eval=True),
    roi_head=dict(bbox_head=dict(num_classes=20)))
train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[9], gamma=0.1)]
# no warm-up; clipping as in mmdet v1's VOC schedule, which the paper's recipe equals
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(base_batch_size=16)
