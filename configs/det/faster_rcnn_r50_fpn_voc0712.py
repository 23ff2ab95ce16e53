"""PASCAL VOC 2007 + 2012, Faster R-CNN with FPN, 12 epochs.

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc0712.py --backbone NAME \
        --data-root data/VOCdevkit --seed 0

Expect AP50 (11-point) 79.5 from torchvision's ResNet-50 (mmdet 2,
configs/pascal_voc/README.md). Not run here.

Both trainval sets, 16551 images, to train and 2007 test to test: `refaug-det data prepare
voc0712 --root data/VOCdevkit`. All else as in faster_rcnn_r50_fpn_voc07.py; against mmdet's
own config (data repeated 3 times in 4 epochs, drop after 3), bbox_min_size=0 and clipping.
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '_base_/voc07.py',
          '_base_/voc_12_epochs.py', '_base_/runtime.py']

model = dict(
    backbone=dict(frozen_stages=1, norm_eval=True),
    roi_head=dict(bbox_head=dict(num_classes=20)))
train_dataloader = dict(dataset=dict(also=['VOC2012']))  # trainval there too
