"""The toy world draws the same from the same seed, and its boxes are where its objects are."""

import numpy as np
import pytest

from refaug_det import toy_world
from refaug_det.errors import UserError
from refaug_det.toy_world import CLASSES, draw_object_image, draw_scene, keyed_rng, write_whole

SCENES = 60


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(keyed_rng('test', n)) for n in range(SCENES)]


def tight_box(mask):
    """The box of a mask, 1-based and inclusive, written another way than in the package."""
    points = np.argwhere(mask)[:, ::-1] + 1
    return (*points.min(0).tolist(), *points.max(0).tolist())


def test_keyed_rng_depends_on_the_whole_key():
    keys = (0, 'a', 1), (0, 'a', 2), (0, 'b', 1), (1, 'a', 1)
    draws = [keyed_rng(*key).random() for key in keys]
    assert keyed_rng(*keys[0]).random() == draws[0]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize('index', range(len(CLASSES)))
def test_object_images_repeat_with_their_seed_and_with_no_other(index):
    image = draw_object_image(keyed_rng(3), index, 48)
    assert image.shape == (48, 48, 3)
    assert image.dtype == np.uint8
    assert image.tobytes() == draw_object_image(keyed_rng(3), index, 48).tobytes()
    assert image.tobytes() != draw_object_image(keyed_rng(4), index, 48).tobytes()
    assert image.tobytes() != draw_object_image(keyed_rng(3), (index + 1) % 8, 48).tobytes()


def test_scenes_repeat_with_their_seed_and_with_no_other(scenes):
    image, objects = scenes[5]
    again, same_objects = draw_scene(keyed_rng('test', 5))
    assert image.tobytes() == again.tobytes()
    assert [item[:6] for item in objects] == [item[:6] for item in same_objects]
    assert image.tobytes() != scenes[6][0].tobytes()


def test_boxes_are_tight_inside_the_image_and_never_degenerate(scenes):
    for image, objects in scenes:
        assert 1 <= len(objects) <= 5
        assert image.shape == (144, 192, 3)
        for item in objects:
            xmin, ymin, xmax, ymax = item.box
            assert 1 <= xmin < xmax <= 192
            assert 1 <= ymin < ymax <= 144
            assert item.box == tight_box(item.mask)
            assert item.box != tight_box(item.mask[:, 1:])  # zero-based boxes would fail
            assert all(type(corner) is int for corner in item.box)
        assert sum(item.mask.astype(int) for item in objects).max() == 1


def test_masks_agree_with_the_pixels(monkeypatch):
    def black_world_white_objects(rng, height, width, unlike=None):
        return np.full((height, width, 3), 0 if unlike is None else 255, np.float32)

    monkeypatch.setattr(toy_world, '_texture', black_world_white_objects)
    agree, shifted, covered, whole = [], [], 0, 0
    for n in range(30):
        image, objects = draw_scene(keyed_rng('white', n))
        bright = image.mean(2) > 80
        mask = np.any([item.mask for item in objects], axis=0)
        agree.append(np.mean(mask == bright))
        shifted.append(np.mean(np.roll(mask, 3, axis=1) == bright))
        covered, whole = covered + (mask & ~bright).sum(), whole + mask.sum()
    # Edges are soft and hidden remains are not annotated: nearly all pixels, not all.
    assert np.median(agree) > 0.99
    assert np.median(shifted) < 0.985
    assert covered < 0.002 * whole  # a mask that ran on under a bar in front would show here


def test_objects_come_rearmost_first_and_the_front_one_covers():
    placed = [(0, np.array([48.0, 48.0]), 30.0), (2, np.array([48.0, 48.0]), 15.0)]
    for order in (placed, placed[::-1]):
        _, (rear, front) = toy_world._compose(keyed_rng(1), 96, 96, order)
        assert rear is None or rear.name == CLASSES[order[0][0]]
        assert front.name == CLASSES[order[1][0]]
        assert (rear is None) == (order is not placed)  # the large one hides the small one


def test_every_class_and_every_flag_occurs(scenes):
    objects = [item for _, found in scenes for item in found]
    assert {item.name for item in objects} == set(CLASSES)
    for flag in ('difficult', 'truncated', 'occluded'):
        assert {getattr(item, flag) for item in objects} == {True, False}


def test_flags_follow_from_what_is_visible(scenes):
    for _, objects in scenes:
        for item in objects:
            side = min(item.box[2] - item.box[0], item.box[3] - item.box[1]) + 1
            assert toy_world.DROPPED_BELOW < item.visible <= 1
            assert side >= toy_world.DROPPED_SIDE
            assert item.difficult == (item.visible < toy_world.DIFFICULT_BELOW
                                      or side < toy_world.DIFFICULT_SIDE)
            if item.visible < 0.95:
                assert item.truncated or item.occluded
            if item.visible == 1:
                assert not item.truncated
                assert not item.occluded


def test_portrait_scenes_have_their_own_shape():
    image, objects = draw_scene(keyed_rng(0), 100, 160)
    assert image.shape == (160, 100, 3)
    assert objects[0].mask.shape == (160, 100)


def one_file(folder):
    (folder / 'data.txt').write_text('data')


def test_write_whole_writes_once(tmp_path):
    root, calls = tmp_path / 'deep' / 'set', []

    def fill(folder):
        calls.append(folder)
        assert not root.exists()
        one_file(folder)

    assert write_whole(root, {'seed': 0}, fill) is True
    assert write_whole(root, {'seed': 0}, fill) is False
    assert len(calls) == 1
    assert sorted(path.name for path in root.iterdir()) == ['data.txt', toy_world.MARKER]
    assert list(root.parent.iterdir()) == [root]


def test_write_whole_accepts_an_empty_folder(tmp_path):
    assert write_whole(tmp_path, {}, one_file) is True
    assert (tmp_path / 'data.txt').exists()


def test_write_whole_refuses_other_arguments(tmp_path):
    write_whole(tmp_path / 'set', {'seed': 0}, one_file)
    with pytest.raises(UserError) as caught:
        write_whole(tmp_path / 'set', {'seed': 1}, one_file)
    assert 'another folder' in caught.value.fix
    assert str(tmp_path / 'set') in caught.value.where


def test_write_whole_leaves_foreign_files_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('mine')
    with pytest.raises(UserError):
        write_whole(tmp_path, {}, one_file)
    with pytest.raises(UserError):
        write_whole(tmp_path / 'thesis.txt', {}, one_file)
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']
    assert (tmp_path / 'thesis.txt').read_text() == 'mine'


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_write_whole_leaves_nothing_after_an_exception(tmp_path, error):
    def fill(folder):
        one_file(folder)
        assert list(tmp_path.iterdir())  # it was there, so the emptiness below means something
        raise error

    with pytest.raises(error):
        write_whole(tmp_path / 'set', {}, fill)
    assert not list(tmp_path.iterdir())


def test_write_whole_lets_a_faster_process_win(tmp_path):
    def racing_with(arguments):
        return lambda folder: (write_whole(tmp_path / 'set', arguments, one_file),
                               one_file(folder))

    assert write_whole(tmp_path / 'set', {'seed': 0}, racing_with({'seed': 0})) is True
    assert [path.name for path in tmp_path.iterdir()] == ['set']
    (tmp_path / 'set').rename(tmp_path / 'first')
    with pytest.raises(UserError):
        write_whole(tmp_path / 'set', {'seed': 0}, racing_with({'seed': 1}))
