"""COCO 2017, Faster R-CNN with FPN, 12 epochs (the 1x schedule).

    tools/dist_train.sh configs/det/faster_rcnn_r50_fpn_coco_1x.py 8 --backbone NAME \
        --data-root data/coco --seed 0
    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_coco_1x.py --backbone NAME

Expect AP 37.4 from torchvision's ResNet-50 (mmdet's configs/faster_rcnn/README.md; detectron2's
model zoo has 37.9, R50-FPN 1x). Not run here.

`refaug-det data prepare coco --root data/coco` puts the data in place; your own data in this
layout: --classes auto. All else as in mmdet's faster-rcnn_r50_fpn_1x_coco.py. The rate belongs
to 16 images, and is held on any number of devices; a device sees at most 2 at once, as there.
VOC's metrics are computed too, with crowds as difficult objects.
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '_base_/coco17.py',
          '_base_/coco_1x.py', '_base_/runtime.py']

model = dict(
    backbone=dict(frozen_stages=1, norm_eval=True),
    roi_head=dict(bbox_head=dict(num_classes=80)))
