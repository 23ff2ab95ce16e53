"""PASCAL VOC 2007 + 2012, RetinaNet (Lin et al. 2017), 12 epochs.

    python tools/train_det.py configs/det/retinanet_r50_fpn_voc0712.py --backbone NAME \
        --data-root data/VOCdevkit --seed 0

Expect AP50 (11-point) 79.2 from torchvision's ResNet-50 (mmdet 2,
configs/pascal_voc/README.md). Not run here.

The data, rate and length of mmdet's own config; of ours are bbox_min_size=0 and, as in
mmdet v1, clipping.
"""
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', '_base_/voc07.py',
          '_base_/voc_12_epochs.py', '_base_/runtime.py']

model = dict(
    backbone=dict(frozen_stages=1, norm_eval=True),
    bbox_head=dict(num_classes=20))
train_dataloader = dict(dataset=dict(also=['VOC2012']))  # trainval there too
