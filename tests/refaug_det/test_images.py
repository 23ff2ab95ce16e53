"""Images are decoded alike by every path, and what is no image is named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from refaug_det import images
from refaug_det.errors import UserError
from refaug_det.images import decode, is_truncated


@pytest.fixture
def picture():
    """Smooth, so that JPEG changes little; every channel differs."""
    y, x = np.mgrid[:40, :56]
    return np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], 2).clip(0, 255).astype(np.uint8)


def put(path, picture, **options):
    Image.fromarray(picture).save(path, **options)
    return path


@pytest.mark.parametrize('subsampling', [0, 1, 2])
def test_a_jpeg_is_decoded_as_pillow_does(tmp_path, picture, subsampling):
    path = put(tmp_path / 'a.jpg', picture, quality=90, subsampling=subsampling)
    expected = np.asarray(Image.open(path))
    assert expected.shape == (40, 56, 3)
    assert decode(path).tobytes() == expected.tobytes()
    assert decode(str(path), 'BGR').tobytes() == expected[..., ::-1].tobytes()
    assert decode(path, 'BGR').tobytes() != expected.tobytes()


def test_a_jpeg_does_not_take_the_slow_way(tmp_path, picture, monkeypatch):
    path = put(tmp_path / 'a.jpg', picture)
    monkeypatch.setattr(images.Image, 'open', lambda *_: pytest.fail('Pillow was asked'))
    decode(path)


@pytest.mark.parametrize('name', ['a.png', 'a.bmp', 'a.webp'])
def test_other_formats(tmp_path, picture, name):
    path = put(tmp_path / name, picture, **({'lossless': True} if name == 'a.webp' else {}))
    assert decode(path).tobytes() == picture.tobytes()
    bgr = decode(path, 'BGR')
    assert bgr.tobytes() == picture[..., ::-1].tobytes()
    assert bgr.flags['C_CONTIGUOUS']
    path.rename(tmp_path / 'wrong.jpg')
    assert decode(tmp_path / 'wrong.jpg').tobytes() == picture.tobytes()


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'CMYK', '1', 'LA'])
def test_every_mode_becomes_rgb(tmp_path, picture, mode):
    path = tmp_path / ('a.jpg' if mode in ('L', 'CMYK') else 'a.png')
    Image.fromarray(picture).convert(mode).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        decoded = decode(path)
    assert decoded.shape == (40, 56, 3)
    assert decoded.dtype == np.uint8
    expected = np.asarray(Image.open(path).convert('RGB'))
    difference = np.abs(decoded.astype(int) - expected).max()
    assert difference <= (1 if mode == 'CMYK' else 0)
    assert np.abs(decoded[..., ::-1].astype(int) - expected).max() > 1 or mode in ('L', '1', 'LA')


def test_an_exif_rotation_is_not_applied(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    path = put(tmp_path / 'a.jpg', picture, exif=exif)
    assert decode(path).shape == (40, 56, 3)


def test_a_jpeg_that_breaks_off_is_decoded_as_far_as_it_goes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = put(tmp_path / 'a.jpg', noise)
    whole, data = decode(path), path.read_bytes()
    assert not is_truncated(path)
    path.write_bytes(data + b'\0' * 3000)  # cameras fill up with zeros
    assert not is_truncated(path)
    path.write_bytes(data[:len(data) * 2 // 3])
    assert is_truncated(path)
    cut = decode(path)
    assert cut.shape == whole.shape
    assert (cut[:16] == whole[:16]).all()
    assert (cut[-8:] != whole[-8:]).any()
    assert not is_truncated(put(tmp_path / 'a.png', noise))


@pytest.mark.parametrize('content', [
    b'', b'\xff\xd8', b'\xff\xd8\xff\xe0 no more', b'<html>404</html>', b'\x89PNG\r\n\x1a\n',
    b'GIF89a', b'PK\x03\x04'])
def test_what_is_no_image_is_named(tmp_path, content):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(UserError, match='cannot decode the image') as caught:
        decode(path)
    assert caught.value.where == str(path)
    assert caught.value.fix


def test_a_torn_png_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = put(tmp_path / 'a.png', noise)
    decode(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match='cannot decode'):
        decode(path)


def test_no_file_and_no_read(tmp_path):
    with pytest.raises(UserError, match='no such image'):
        decode(tmp_path / 'a.jpg')
    with pytest.raises(UserError, match='cannot decode'):
        decode(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    path = put(tmp_path / 'a.png', np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match='cannot decode'):
        decode(path)
