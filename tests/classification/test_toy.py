"""The toy image folder: its layout, its determinism and its refusals."""

import numpy as np
import pytest
from PIL import Image

from classification.toy import write_image_folder
from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES, MARKER


def files_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob('*') if path.is_file() and path.name != MARKER}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('toy') / 'images'
    assert write_image_folder(root, 3, 2, size=40, seed=5) is True
    return root


def test_layout(root):
    assert set(files_of(root)) == {
        f'{split}/{name}/{n:05d}.jpg'
        for split, count in (('train', 3), ('val', 2)) for name in CLASSES for n in range(count)}
    assert [path.name for path in root.parent.iterdir()] == [root.name]


def test_images_decode(root):
    for path in root.rglob('*.jpg'):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ('JPEG', 'RGB', (40, 40))
            assert np.asarray(image).std() > 5


def test_same_arguments_same_bytes_and_another_seed_differs(root, tmp_path):
    write_image_folder(tmp_path / 'same', 3, 2, size=40, seed=5)
    write_image_folder(tmp_path / 'other', 3, 2, size=40, seed=6)
    same, other = files_of(tmp_path / 'same'), files_of(tmp_path / 'other')
    assert same == files_of(root)
    assert set(other) == set(same)
    assert not set(other.values()) & set(same.values())


def test_no_image_occurs_twice(root):
    contents = list(files_of(root).values())
    assert len(set(contents)) == len(contents)


def test_a_larger_set_begins_with_the_smaller_one(root, tmp_path):
    write_image_folder(tmp_path / 'large', 4, 2, size=40, seed=5)
    small, large = files_of(root), files_of(tmp_path / 'large')
    assert small.items() < large.items()


def test_a_second_call_returns_at_once(root):
    assert write_image_folder(root, 3, 2, size=40, seed=5, progress=pytest.fail) is False


@pytest.mark.parametrize('change', [
    {'seed': 6}, {'size': 48}, {'train_per_class': 4}, {'val_per_class': 3}])
def test_another_set_in_the_same_place_is_refused(root, change):
    arguments = {'train_per_class': 3, 'val_per_class': 2, 'size': 40, 'seed': 5}
    before = files_of(root)
    with pytest.raises(UserError) as caught:
        write_image_folder(root, **(arguments | change))
    assert caught.value.fix
    assert files_of(root) == before


@pytest.mark.parametrize('change', [{'train_per_class': 0}, {'val_per_class': 0}, {'size': 31}])
def test_arguments_out_of_range_are_refused(tmp_path, change):
    arguments = {'train_per_class': 1, 'val_per_class': 1, 'size': 32}
    with pytest.raises(UserError):
        write_image_folder(tmp_path / 'images', **(arguments | change))
    assert not list(tmp_path.iterdir())
    assert write_image_folder(tmp_path / 'images', **arguments) is True


def test_progress_counts_to_the_end(tmp_path):
    calls = []
    write_image_folder(tmp_path / 'images', 1, 1, 32, progress=lambda *call: calls.append(call))
    assert calls == [(done, 16) for done in range(1, 17)]


def test_nothing_is_left_when_it_is_broken_off(tmp_path):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_image_folder(tmp_path / 'images', 1, 1, 32, progress=stop)
    assert not list(tmp_path.iterdir())
