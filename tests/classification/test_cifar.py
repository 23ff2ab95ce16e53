"""CIFAR: labels and pixels as published, and nothing unpickled that is not the known file."""

import os
import pickle

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torchvision.datasets import CIFAR10, CIFAR100

from classification import cifar
from classification.cifar import RefAugCIFAR
from classification.train import resolve_classes
from refaug_det.errors import UserError

FOLDER = CIFAR10.base_folder


@pytest.fixture
def root(tmp_path, monkeypatch, miniatures):
    return miniatures.cifar(tmp_path / 'data', monkeypatch)


@pytest.mark.parametrize(('name', 'kind'), [('cifar10', CIFAR10), ('cifar100', CIFAR100)])
def test_images_and_labels(tmp_path, monkeypatch, miniatures, name, kind):
    miniatures.cifar(tmp_path, monkeypatch, name)
    for split, copies in (('train', 5), ('test', 1)):
        dataset, theirs = RefAugCIFAR(str(tmp_path), split, [], name), kind(
            str(tmp_path), train=split == 'train')
        assert dataset.classes == tuple(theirs.classes)
        assert len(dataset) == len(theirs) == copies * len(dataset.classes)
        labels = set()
        for index in range(len(dataset)):
            sample, (image, label) = dataset[index], theirs[index]
            pixels = sample['inputs']
            assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 32, 32))
            assert pixels.is_contiguous()
            assert pixels.permute(1, 2, 0).numpy().tobytes() == image.tobytes()
            assert (sample['label'], sample['index'], sample['augmented']) == (label, index, False)
            assert (pixels[0] == miniatures.STEP * label).all()
            assert (pixels[1] == 255).nonzero().tolist() == [[0, 0]]  # top left
            assert (pixels[2] == 255).nonzero().tolist() == [[0, 31]]  # top right
            labels.add(label)
        assert labels == set(range(len(dataset.classes)))


def test_some_classes_in_a_given_order(root, miniatures):
    dataset = RefAugCIFAR(str(root), 'train', [], classes=('truck', 'bird'))
    assert dataset.classes == ('truck', 'bird')
    red = {(dataset[i]['label'], int(dataset[i]['inputs'][0, 5, 5])) for i in range(len(dataset))}
    assert red == {(0, 9 * miniatures.STEP), (1, 2 * miniatures.STEP)}
    assert len(dataset) == 10
    with pytest.raises(UserError, match='trukc') as caught:
        RefAugCIFAR(str(root), 'train', [], classes=('trukc',))
    assert "'truck'" in caught.value.fix


def test_a_transform_in_place_leaves_the_data_as_it_is(root):
    dataset = RefAugCIFAR(str(root), 'train', [])
    before = dataset.images.copy()
    dataset.pipeline = lambda image, strength: (image.zero_(), False)
    assert not dataset[0]['inputs'].any()
    assert (dataset.images == before).all()
    assert before[0].any()


def test_all_images_are_one_array(root):
    dataset = RefAugCIFAR(str(root), 'train', [])
    assert dataset.images.flags.c_contiguous
    assert dataset.images.shape == (50, 3, 32, 32)
    # nothing that grows, or that forked workers copy by counting references
    assert [v for v in vars(dataset).values() if isinstance(v, (list, dict))] == []


def test_an_image_that_a_transform_refuses_is_named(root):
    crop = dict(type='RefAugTransform', name='RandomCrop', size=33)
    with pytest.raises(UserError) as caught:
        RefAugCIFAR(str(root), 'test', [crop])[3]
    assert caught.value.where == f'{root / FOLDER}, image 3'


class Attack:
    """Unpickled, it makes a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize('file', ['data_batch_3', 'test_batch', 'batches.meta'])
def test_only_the_published_files_are_unpickled(root, tmp_path, file):
    mark, path = tmp_path / 'attacked', root / FOLDER / file
    path.write_bytes(pickle.dumps(Attack(str(mark))))
    with pytest.raises(UserError, match='md5') as caught:
        RefAugCIFAR(str(root), 'train', [])
    assert caught.value.where == str(path)
    assert [fault.where for fault in cifar.cifar10.check(root).faults] == [str(path)]
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # it would have been seen
    assert mark.exists()


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(UserError, match='not here') as caught:
        RefAugCIFAR(str(tmp_path / 'nowhere'), 'train', [])
    assert caught.value.where == str(tmp_path / 'nowhere' / FOLDER)
    assert 'refaug-det data prepare cifar10' in caught.value.fix
    for wrong in (dict(split='val'), dict(name='cifar1000')):
        with pytest.raises(UserError):
            RefAugCIFAR(**dict(dict(data_root=str(root), split='test', pipeline=[]), **wrong))
    (root / FOLDER / 'data_batch_2').unlink()
    with pytest.raises(UserError, match='missing') as caught:
        RefAugCIFAR(str(root), 'test', [])
    assert caught.value.where == str(root / FOLDER / 'data_batch_2')


def config(root, wrap=lambda leaf: leaf):
    leaf = dict(type='RefAugCIFAR', data_root=str(root), split='train', pipeline=[])
    return Config(dict(model=dict(num_classes=None), train_dataloader=dict(dataset=wrap(leaf)),
                       val_dataloader=dict(dataset=dict(leaf, split='test'))))


@pytest.mark.parametrize('wrap', [
    lambda leaf: leaf, lambda leaf: dict(type='RepeatDataset', times=2, dataset=leaf),
    lambda leaf: dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[leaf, dict(leaf, split='test')]))])
def test_classes_of_a_config(root, miniatures, wrap):
    cfg = config(root, wrap)
    assert resolve_classes(cfg, None) == list(miniatures.CIFAR10_NAMES)
    assert cfg.model.num_classes == 10
    assert DATASETS.build(cfg.train_dataloader.dataset)[0]['label'] == 9
    cfg = config(root, wrap)
    assert resolve_classes(cfg, 'truck,cat') == ['truck', 'cat']
    assert cfg.val_dataloader.dataset.classes == ['truck', 'cat']
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert {dataset[i]['label'] for i in range(len(dataset))} == {0, 1}
    with pytest.raises(UserError, match='cow'):
        resolve_classes(config(root, wrap), 'cow')


def test_classes_are_had_without_reading_images(root, monkeypatch):
    monkeypatch.setattr(cifar, 'load', None)
    assert len(resolve_classes(config(root), 'auto')) == 10
    with pytest.raises(TypeError):  # it is what reads images
        RefAugCIFAR(str(root), 'train', [])


def test_refinement_switches_its_augmentation_off(root, observe, miniatures):
    invert = dict(type='RefAugAugmentation', name='RandomInvert', p=1.0)
    dataset = dict(type='RefAugCIFAR', data_root=str(root), split='train', pipeline=[invert],
                   classes=['bird', 'airplane', 'automobile'])
    _, recorder = observe(dataset=dataset, epochs=2, refine=1, batch_augments=False, workers=1,
                          persistent=True)
    for epoch, expected in ((0, {255, 235, 215}), (1, {0, 20, 40})):
        seen = recorder.of(epoch)
        assert {int(image[0, 5, 5]) for one in seen for image in one.raw} == expected
        assert all(one.flags.all() if epoch == 0 else not one.flags.any() for one in seen)
