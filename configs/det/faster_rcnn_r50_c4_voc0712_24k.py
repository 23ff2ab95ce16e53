"""PASCAL VOC 2007 + 2012, Faster R-CNN C4, 24k updates: the self-supervised community's.

    tools/dist_train.sh configs/det/faster_rcnn_r50_c4_voc0712_24k.py 8 --backbone NAME \
        --data-root data/VOCdevkit --seed 0
    python tools/train_det.py configs/det/faster_rcnn_r50_c4_voc0712_24k.py --backbone NAME

Expect AP50 (11-point) 81.3 from supervised ImageNet, 81.5 from MoCo v1 and 82.4 from
MoCo v2 after 200 epochs; means of 5, sd 0.2 (MoCo's detection/README.md). Its AP and AP75
are 11-point too; ours are COCO's. Not run here.

As MoCo's pascal_voc_R_50_C4_24k.yaml on detectron2's defaults: all layers train, with batch
norm over all 16 images (SyncBN; one process takes the 16 at once), one more norm after res5,
no decay of norm layers, no clipping. Not as there: statistics are not re-estimated before
the test (PRECISE_BN), and objects marked difficult are ignored in training.
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50-caffe-c4.py', '_base_/voc07.py',
          '_base_/runtime.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, norm_cfg=norm_cfg, style='pytorch'),
    roi_head=dict(
        shared_head=dict(_delete_=True, type='RefAugRes5Head', depth=50, norm_cfg=norm_cfg),
        bbox_head=dict(num_classes=20)))
sync_bn = 'torch'

train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type='RandomChoiceResize', keep_ratio=True, scales=[
        (1333, 480), (1333, 512), (1333, 544), (1333, 576), (1333, 608), (1333, 640),
        (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)])
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (1333, 800)
train_dataloader = dict(batch_size=16, dataset=dict(also=['VOC2012'], pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

train_cfg = dict(type='RefAugTrainLoop', max_iters=24000, val_interval=1000)  # epochs: at the end
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', begin=0, end=24000, by_epoch=False, milestones=[18000, 22000],
         gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0))
auto_scale_lr = dict(base_batch_size=16)
