"""PASCAL VOC 2007, Faster R-CNN with FPN, 12 epochs (He et al. 2019, Table 6).

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc07.py --backbone NAME \
        --data-root data/VOCdevkit --seed 0
    tools/dist_train.sh configs/det/faster_rcnn_r50_fpn_voc07.py 8 --backbone NAME

Expect AP50 (published, single runs): standard 72.0; Mixup 67.4, refined 73.3;
AutoAugment 70.5, refined 73.1. One config run four times elsewhere: sd 0.5, so
4 to 5 seeds an arm. Not run here: VOC is not to be had. With the numerics of the
paper's time: faster_rcnn_r50_fpn_voc07_v1.py.

The arm that changes nothing but batch norm statistics (is it the weights that
refinement mends, or what norm_eval holds fast?) is this protocol from the backbone of

    python tools/refine.py configs/cls/r50_mixup_refine.py --batch-norm-only \
        --checkpoint RUN/weights_augmented.safetensors --name r50_mixup_bn
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '_base_/voc07.py',
          '_base_/voc_12_epochs.py', '_base_/runtime.py']

model = dict(
    backbone=dict(frozen_stages=1, norm_eval=True),
    roi_head=dict(bbox_head=dict(num_classes=20)))
