"""PASCAL VOC 2007 with the whole backbone frozen: what its features are worth as they are.

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc07_frozen.py \
        --backbone NAME --data-root data/VOCdevkit --seed 0

No published number. An arm beside faster_rcnn_r50_fpn_voc07.py, from which it differs
by frozen_stages alone: fine-tuning cannot make good what pretraining left undone.
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '_base_/voc07.py',
          '_base_/voc_12_epochs.py', '_base_/runtime.py']

model = dict(
    backbone=dict(frozen_stages=4, norm_eval=True),
    roi_head=dict(bbox_head=dict(num_classes=20)))
