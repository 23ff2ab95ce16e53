"""PASCAL VOC 2007 as mmdet v1 computed it in 2019, when the paper was written.

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc07_v1.py --backbone NAME \
        --data-root data/VOCdevkit --seed 0

Expect AP50 (published, single runs): standard 72.0; Mixup 67.4, refined 73.3;
AutoAugment 70.5, refined 73.1 (He et al. 2019, Table 6). Not run here.

Differs from faster_rcnn_r50_fpn_voc07.py by mmdet v1's losses, RoIAlign, RPN limits,
low-quality matches in the second stage, anchors that stay inside the image, and
boxes of x2 - x1 + 1 pixels in anchors, targets, overlaps and suppression. Not brought
back, for mmdet 3 has no switch for them: that extra pixel in RoIAlign, in the choice
of a region's pyramid level, in flips, and half of one in decoded corners.

Sources: mmdet v1.0 configs/pascal_voc/faster_rcnn_r50_fpn_1x_voc0712.py and
mmdet/core/bbox/geometry.py; mmdet 3 configs/legacy_1.x/faster-rcnn_r50_fpn_1x_coco_v1.py.
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '_base_/voc07.py',
          '_base_/voc_12_epochs.py', '_base_/runtime.py']

_overlaps = dict(type='RefAugLegacyOverlaps')
_rpn_nms = dict(type='nms', iou_threshold=0.7, offset=1)
model = dict(
    backbone=dict(frozen_stages=1, norm_eval=True),
    rpn_head=dict(
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0 / 9.0)),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2, aligned=False)),
        bbox_head=dict(
            num_classes=20,
            bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0))),
    train_cfg=dict(
        rpn=dict(allowed_border=0, assigner=dict(iou_calculator=_overlaps)),
        rpn_proposal=dict(nms_pre=2000, max_per_img=2000, nms=_rpn_nms),
        rcnn=dict(assigner=dict(match_low_quality=True, iou_calculator=_overlaps))),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=_rpn_nms),
        rcnn=dict(nms=dict(type='nms', iou_threshold=0.5, offset=1))))
