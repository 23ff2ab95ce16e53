"""Configs: every key is known, and every file of ours says how to run it."""

from __future__ import annotations

import ast
import copy
import functools
from pathlib import Path

import pytest
from mmengine.config import Config

import classification.train  # noqa: F401  (registration)
import detection.train  # noqa: F401  (registration, and mmdet)
from refaug_det.errors import UserError
from refaug_det.runs import config as configs

ROOT = Path(__file__).parents[2]
OURS = sorted((ROOT / 'configs').glob('*/*.py'))
CLS = ROOT / 'configs/cls/r50_mixup_refine.py'
DET = ROOT / 'configs/det/faster_rcnn_r50_fpn_voc07.py'
UPSTREAM = [
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py',
    'pascal_voc/ssd300_voc0712.py', 'detr/detr_r50_8xb2-150e_coco.py',
    'vfnet/vfnet_r50_fpn_ms-2x_coco.py', 'rtmdet/rtmdet_s_8xb32-300e_coco.py',
    'dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py']


loaded = functools.cache(configs.load)  # mmdet's bases take a while


def check(path: Path, **options: object) -> Config:
    cfg = copy.deepcopy(loaded(path))
    cfg.merge_from_dict(options)
    configs.check_keys(cfg, path)
    return cfg


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Every file of ours

def test_there_are_configs():
    assert {CLS, DET} < set(OURS)


@pytest.mark.parametrize('path', OURS, ids=lambda p: p.stem)
def test_a_config_is_known_in_full_and_survives_dump_and_reload(path, tmp_path):
    cfg = check(path)
    cfg.dump(tmp_path / 'dumped.py')
    again = check(tmp_path / 'dumped.py')
    assert again.to_dict() == cfg.to_dict()
    again.optim_wrapper.optimizer.lr += 1
    assert again.to_dict() != cfg.to_dict()


@pytest.mark.parametrize('path', OURS, ids=lambda p: p.stem)
def test_a_config_opens_with_the_command_that_runs_it(path):
    words = ast.get_docstring(ast.parse(path.read_text())).split()
    place = words.index(str(path.relative_to(ROOT)))  # its own path, not that of another config
    assert words[place - 1] in (f'tools/train_{path.parent.name}.py', 'tools/dist_train.sh')
    assert (ROOT / words[place - 1]).is_file()


# Unknown keys

UNKNOWN = [
    (CLS, 'optim_wraper', 'optim_wrapper'),
    (DET, 'seeed', None),
    (DET, 'train_dataloader.batchsize', 'batch_size'),
    (DET, 'test_dataloader.dataset.anno_file', 'ann_file'),
    (DET, 'train_dataloader.dataset.pipeline.3.probb', 'prob'),
    (DET, 'train_dataloader.batch_sampler.drop_lst', 'drop_last'),
    (DET, 'model.backbone.detph', 'depth'),
    (DET, 'model.rpn_head.anchor_generator.scalse', 'scales'),
    (DET, 'model.roi_head.bbox_head.loss_bbox.loss_wieght', 'loss_weight'),
    (DET, 'model.train_cfg.rcnn.assigner.pos_iou', 'pos_iou_thr'),
    (DET, 'default_hooks.checkpoint.intervall', 'interval'),
    (DET, 'train_cfg.max_epoch', 'max_epochs'),
    (DET, 'optim_wrapper.clip_grads', 'clip_grad'),
    (DET, 'optim_wrapper.optimizer.momentun', 'momentum'),
    (DET, 'param_scheduler.0.milestone', 'milestones'),
    (CLS, 'model.num_clases', 'num_classes'),
    (CLS, 'model.network.detph', 'depth'),
    (CLS, 'model.batch_augments.0.alfa', 'alpha'),
    (CLS, 'custom_hooks.0.epoch', 'epochs'),
    (CLS, 'val_dataloader.dataset.split_name', 'split')]


@pytest.mark.parametrize(('path', 'key', 'right'), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest_name(path, key, right):
    with pytest.raises(UserError) as caught:
        check(path, **{key: 1})
    assert caught.value.what == f'unknown config key {key!r}'
    assert caught.value.where == str(path)
    assert right is None or caught.value.fix == f'did you mean {right!r}?'


@pytest.mark.parametrize('path', [CLS, DET], ids=lambda p: p.stem)
def test_the_same_keys_under_their_right_names_pass(path):
    check(path, **{'.'.join([*key.split('.')[:-1], right]): 1
                   for of, key, right in UNKNOWN if of == path and right})


@pytest.mark.parametrize(('line', 'passes'), [
    ('epochs = 3\ntrain_cfg = dict(max_epochs=epochs)', True),
    ('epochs = 3\ntrain_cfg = dict(max_epochs=epochs + 1)', True),
    ('epochs = 3', False),
    ('epochs = 3  # not read\ntrain_cfg = dict(epochs=epochs)', False),
    ('epochs = 3\ntrain_cfg = dict(max_epochs=4)', False),
    ("optim_wraper = dict(type='OptimWrapper')", False),
    ('_epochs = 3', True)])
def test_a_name_of_your_own_passes_when_the_config_reads_it(tmp_path, line, passes):
    path = write(tmp_path / 'own.py', f"_base_ = ['{CLS}']\n{line}\n")
    if passes:
        check(path)
    else:
        with pytest.raises(UserError, match='unknown config key'):
            check(path)


@pytest.mark.parametrize('path', UPSTREAM, ids=lambda p: Path(p).stem)
def test_mmdets_own_configs_raise_no_false_alarm(tmp_path, path):
    cfg = check(write(tmp_path / 'mine.py', f"_base_ = ['mmdet::{path}']\n"))
    assert cfg.default_scope == 'mmdet'
    with pytest.raises(UserError, match=r'model\.backbone\.detph'):
        check(tmp_path / 'mine.py', **{'model.backbone.detph': 50})


def test_types_are_looked_up_in_the_scope_of_the_config():
    node = dict(type='LoadAnnotations', with_mask=True)  # mmdet's; mmcv's has no masks
    configs.check_keys(dict(default_scope='mmdet', train_pipeline=[node]))
    with pytest.raises(UserError, match='with_mask'):
        configs.check_keys(dict(default_scope='mmengine', train_pipeline=[
            dict(node, type='mmengine.LoadAnnotations')]))
    configs.check_keys(dict(train_pipeline=[dict(node, type='mmdet.LoadAnnotations')]))
    configs.check_keys(dict(train_pipeline=[dict(node, _scope_='mmdet')]))


# Files that cannot be read

@pytest.mark.parametrize(('text', 'said'), [
    ('model = dict(', 'SyntaxError'), ('a = undefined', 'NameError'),
    ("_base_ = ['nowhere.py']", 'FileNotFoundError'), ('1 / 0', 'ZeroDivisionError'),
    ("a = 1\n_base_ = ['mmdet::nowhere.py']", 'Error'),
    ("custom_imports = dict(imports=['nothing_of_this_name'])", 'Error')])
def test_a_config_that_python_cannot_read(tmp_path, text, said):
    path = write(tmp_path / 'a.py', text)
    with pytest.raises(UserError, match=said) as caught:
        configs.load(path)
    assert caught.value.where == str(path)


def test_no_such_config(tmp_path):
    with pytest.raises(UserError, match='no such config file') as caught:
        configs.load(CLS.with_name('r50_mixup_refin.py'))
    assert 'r50_mixup_refine.py' in caught.value.fix
    for path in (tmp_path, tmp_path / 'no' / 'folder.py'):
        with pytest.raises(UserError, match='no such config file'):
            configs.load(path)


def test_an_option_that_does_not_fit():
    with pytest.raises(UserError, match='Error'):
        configs.load(CLS, {'param_scheduler.7.gamma': 1})


# The dict functions

def test_set_everywhere():
    cfg = Config(dict(a=dict(root='x', b=[dict(root='y'), dict(other=1)]), root='z'))
    assert configs.set_everywhere(cfg, 'root', 'new') == 3
    assert cfg.to_dict() == dict(a=dict(root='new', b=[dict(root='new'), dict(other=1)]),
                                 root='new')
    assert configs.set_everywhere(cfg, 'roots', 'new') == 0


def test_flat():
    assert configs.flat(dict(a=dict(b=[1, dict(c=2)]), d=[], e={}, f=None)) == {
        'a.b.0': 1, 'a.b.1.c': 2, 'd': [], 'e': {}, 'f': None}


@pytest.mark.parametrize('key', [
    'work_dir', 'resume', 'launcher', 'data_root', 'train_dataloader.num_workers',
    'train_dataloader.dataset.data_root', 'default_hooks.checkpoint.interval',
    'env_cfg.mp_cfg.opencv_num_threads', 'val_dataloader.persistent_workers'])
def test_keys_that_change_no_result_make_no_difference(key):
    assert configs.differences(nested(key, 1), nested(key, 2)) == []


@pytest.mark.parametrize('key', [
    'train_cfg.max_epochs', 'randomness.seed', 'optim_wrapper.optimizer.lr', 'resumes',
    'train_dataloader.batch_size', 'default_hooks.history.x', 'model.data_roots'])
def test_all_others_do(key):
    assert configs.differences(nested(key, 1), nested(key, 2)) == [(key, 1, 2)]
    assert configs.differences(nested(key, 1), {}) == [(key, 1, None)]


def nested(key: str, value: object) -> dict:
    for part in reversed(key.split('.')):
        value = {part: value}
    return value
