"""Image folders: what is found, in what order, and what is refused with a place to look."""

import io
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from classification.datasets import RefAugImageFolder, split_folder
from classification.train import resolve_classes
from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES


@pytest.fixture
def root(tmp_path):
    """Two classes in train and test, three 12 x 10 PNGs each, all different."""
    rng = np.random.default_rng(0)
    for split in ('train', 'test'):
        for name in ('dog', 'cat'):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 255, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f'{number}.png')
    return tmp_path


def folder(root, split='train', pipeline=(), **more):
    return RefAugImageFolder(str(root), split, pipeline, **more)


def test_samples(root):
    dataset = folder(root)
    assert dataset.metainfo == {'classes': ('cat', 'dog')}
    assert len(dataset) == 6
    for index in range(6):
        sample = dataset[index]
        path = root / 'train' / ('cat', 'dog')[index // 3] / f'{index % 3}.png'
        expected = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
        assert sample['inputs'].dtype == torch.uint8
        assert torch.equal(sample['inputs'], expected)
        assert (sample['label'], sample['index']) == (index // 3, index)
        assert sample['augmented'] is False


def test_labels_follow_the_order_of_the_classes_given(root):
    dataset = folder(root, classes=('dog', 'cat'))
    assert dataset.classes == ('dog', 'cat')
    assert [label for _, label in dataset.samples] == [0, 0, 0, 1, 1, 1]
    assert [path.parent.name for path, _ in dataset.samples] == ['dog'] * 3 + ['cat'] * 3


def test_a_subset_of_the_classes(root):
    dataset = folder(root, classes=('dog',))
    assert len(dataset) == 3
    assert {path.parent.name for path, _ in dataset.samples} == {'dog'}


def test_files_that_are_no_images_and_hidden_ones_are_passed_over(root):
    (root / 'train' / '.cache').mkdir()
    for name in ('Thumbs.db', 'notes.txt', '._0.png', '.hidden.jpg'):
        (root / 'train' / 'cat' / name).write_text('no image')
    (root / 'train' / 'cat' / 'deep').mkdir()
    image = Image.open(root / 'train' / 'cat' / '0.png')
    image.save(root / 'train' / 'cat' / 'deep' / 'UPPER.PNG')
    dataset = folder(root)
    assert dataset.classes == ('cat', 'dog')
    assert len(dataset) == 7
    assert torch.equal(dataset[3]['inputs'], dataset[0]['inputs'])


@pytest.mark.parametrize(('classes', 'says', 'fix'), [
    (('cat', 'dgo'), 'dgo', "'dog'"), (('cat', ''), "''", 'cat, dog'), (('..',), '..', 'cat, dog'),
    (('cat', 'cat'), 'twice', 'cat, dog')])
def test_classes_that_are_not_there_are_refused(root, classes, says, fix):
    with pytest.raises(UserError) as caught:
        folder(root, classes=classes)
    assert says in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.where == str(root / 'train')


def test_missing_folder_says_where_it_looked(root):
    with pytest.raises(UserError) as caught:
        folder(root / 'nowhere', ('val', 'valid'))
    for name in ('val', 'valid'):
        assert str(root / 'nowhere' / name) in caught.value.where
    assert '--data-root' in caught.value.fix


def test_of_several_splits_the_first_that_exists_is_taken(root):
    assert split_folder(root, ('val', 'test')) == root / 'test'
    assert split_folder(root, ('train', 'test')) == root / 'train'


def test_folders_without_classes_or_images_are_refused(root):
    (root / 'empty').mkdir()
    with pytest.raises(UserError, match='no class folders'):
        folder(root, 'empty')
    (root / 'empty' / 'cat').mkdir()
    with pytest.raises(UserError, match='no images'):
        folder(root, 'empty')
    (root / 'train' / 'bird').mkdir()
    with pytest.raises(UserError, match='no images') as caught:
        folder(root)
    assert caught.value.where == str(root / 'train' / 'bird')


def jpeg(mode='RGB', size=(12, 10)):
    """A smooth picture."""
    data = io.BytesIO()
    across, down = np.meshgrid(np.linspace(0, 250, size[0]), np.linspace(0, 250, size[1]))
    pixels = np.stack([across, down, 0 * down + 40], 2).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(data, 'JPEG', quality=95)
    return data.getvalue()


def png(mode):
    data = io.BytesIO()
    Image.fromarray(np.full((10, 12, 3), 90, np.uint8)).convert(mode).save(data, 'PNG')
    return data.getvalue()


@pytest.mark.parametrize('data', [
    pytest.param(jpeg('CMYK'), id='CMYK'), pytest.param(jpeg('L'), id='grey JPEG'),
    pytest.param(png('RGB'), id='PNG named jpg'), pytest.param(png('P'), id='palette'),
    pytest.param(png('RGBA'), id='alpha'), pytest.param(png('1'), id='one bit'),
    pytest.param(jpeg()[:-20], id='JPEG that breaks off')])
def test_odd_images_are_decoded(root, data):
    (root / 'train' / 'cat' / '0.jpg').write_bytes(data)
    image = folder(root)[0]['inputs']
    assert image.dtype == torch.uint8
    assert image.shape == (3, 10, 12)
    assert image.is_contiguous()


def test_cmyk_has_the_colours_of_the_picture(root):
    (root / 'train' / 'cat' / '0.jpg').write_bytes(jpeg('CMYK'))
    (root / 'train' / 'cat' / '1.jpg').write_bytes(jpeg())
    dataset = folder(root)
    assert [path.name for path, _ in dataset.samples[:3]] == ['0.jpg', '0.png', '1.jpg']
    cmyk, rgb = dataset[0]['inputs'].float(), dataset[2]['inputs'].float()
    assert (cmyk - rgb).abs().mean() < 10 < (255 - cmyk - rgb).abs().mean()


@pytest.mark.parametrize('data', [b'', b'\xff\xd8', b'no image', jpeg()[:30], png('RGB')[:40],
                                  b'\xff\xd8' + bytes(100)])
def test_broken_images_are_named(root, data):
    path = root / 'train' / 'cat' / '0.jpg'
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        folder(root)[0]
    assert caught.value.where == str(path)


def test_an_image_that_a_transform_refuses_is_named(root):
    crop = dict(type='RefAugTransform', name='RandomCrop', size=11)
    with pytest.raises(UserError) as caught:
        folder(root, pipeline=[crop])[0]
    assert caught.value.where == str(root / 'train' / 'cat' / '0.png')
    assert '10' in caught.value.what
    assert folder(root, pipeline=[dict(crop, size=10)])[0]['inputs'].shape == (3, 10, 10)


def test_strength_is_asked_for_the_epoch_of_the_sample(root):
    invert = dict(type='RefAugAugmentation', name='RandomInvert', p=1.0)
    dataset, plain = folder(root, pipeline=[invert]), folder(root)[0]['inputs']
    assert dataset[0]['augmented'] is True  # on, until someone says otherwise
    dataset.strength = lambda epoch: float(epoch < 2)
    for epoch in (0, 1, 2, 1, 3):
        dataset.epoch = epoch
        sample = dataset[0]
        assert sample['augmented'] is (epoch < 2)
        assert torch.equal(sample['inputs'], 255 - plain if epoch < 2 else plain)


def config(root, **more):
    leaf = dict(type='RefAugImageFolder', data_root=str(root), split='train', pipeline=[])
    return Config(dict(dict(model=dict(num_classes=None), train_dataloader=dict(dataset=leaf),
                            val_dataloader=dict(dataset=dict(leaf, split='val'))), **more))


def test_classes_come_from_the_training_split(toy_images):
    cfg = config(toy_images)
    assert resolve_classes(cfg, None) == resolve_classes(cfg, 'auto') == sorted(CLASSES)
    assert cfg.model.num_classes == 8
    assert cfg.val_dataloader.dataset.classes == sorted(CLASSES)


def test_a_split_that_lacks_a_class_is_refused(toy_images, tmp_path):
    shutil.copytree(toy_images, tmp_path / 'data')
    shutil.rmtree(tmp_path / 'data' / 'val' / 'ring')
    with pytest.raises(UserError, match='ring') as caught:
        resolve_classes(config(tmp_path / 'data'), None)
    assert caught.value.where == str(tmp_path / 'data' / 'val')


@pytest.mark.parametrize(('dataset', 'says'), [
    (dict(type='Other'), 'Other does not say its classes'),
    (dict(type='RepeatDataset', times=2, dataset=dict(type='Other')), 'Other does not say'),
    (dict(data_root='.'), 'None does not say'), (dict(type='no.such.Thing'), 'does not say'),
    (dict(type='RefAugImageFolder', data_root='.'), "no 'split'")])
def test_a_data_set_that_cannot_say_its_classes_is_refused(dataset, says):
    with pytest.raises(UserError, match=says):
        resolve_classes(config('.', train_dataloader=dict(dataset=dataset)), None)


def test_concatenated_folders_share_all_their_classes(root):
    leaf = dict(type='RefAugImageFolder', data_root=str(root), split='train', pipeline=[])
    both = dict(type='ConcatDataset', datasets=[leaf, dict(leaf, split='test')])
    cfg = config(root, train_dataloader=dict(dataset=both), val_dataloader=None)
    assert resolve_classes(cfg, None) == ['cat', 'dog']
    assert [one.classes for one in cfg.train_dataloader.dataset.datasets] == [['cat', 'dog']] * 2
    shutil.copytree(root / 'test' / 'cat', root / 'test' / 'bird')
    with pytest.raises(UserError, match='bird') as caught:
        resolve_classes(cfg, 'auto')
    assert caught.value.where == str(root / 'train')


def test_the_classes_a_config_names_are_kept_unless_asked_for_all(root):
    for asked, expected in ((None, ['dog']), ('auto', ['cat', 'dog'])):
        cfg = config(root, val_dataloader=None)
        cfg.train_dataloader.dataset.classes = ['dog']
        assert resolve_classes(cfg, asked) == expected
