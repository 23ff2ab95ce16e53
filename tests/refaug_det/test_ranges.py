"""Numbers that would end a run late are refused by name, before anything is claimed."""

import pytest
from mmengine.config import Config

from refaug_det.errors import UserError
from refaug_det.runs import ranges

GOOD = dict(train_cfg=dict(max_epochs=3, val_interval=1),
            train_dataloader=dict(batch_size=4, num_workers=0),
            optim_wrapper=dict(optimizer=dict(lr=0.1)))


@pytest.mark.parametrize(('key', 'value'), [
    ('train_cfg.max_epochs', 0), ('train_cfg.max_epochs', 'abc'), ('train_cfg.max_epochs', 1.5),
    ('train_cfg.val_interval', 0), ('train_cfg.micro_batch', -4), ('train_cfg.micro_batch', 0),
    ('train_dataloader.batch_size', 0), ('train_dataloader.batch_size', None),
    ('train_dataloader.num_workers', 'abc'), ('train_dataloader.num_workers', -1),
    ('auto_scale_lr.base_batch_size', 0), ('default_hooks.checkpoint.keep', 0),
    ('optim_wrapper.optimizer.lr', -1), ('optim_wrapper.optimizer.lr', 'abc'),
    ('optim_wrapper.optimizer.lr', float('nan')), ('train_cfg.max_epochs', True),
    ('train_dataloader', 3), ('optim_wrapper.optimizer', 'SGD')])
def test_out_of_range(key, value):
    cfg = Config(GOOD)
    cfg.merge_from_dict({key: value})
    with pytest.raises(UserError) as error:
        ranges.check(cfg)
    assert key in (error.value.where, error.value.what.split()[0])
    assert len(str(error.value).splitlines()) <= 3


def test_in_range():
    ranges.check(Config(GOOD))
    ranges.check(Config({**GOOD, 'optim_wrapper': None, 'default_hooks': dict(checkpoint=None)}))
    ranges.check(Config(dict(train_cfg=dict(max_epochs=None, max_iters=9))))
