"""Image files to pixels, the same way in both stages."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from refaug_det.errors import UserError

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'


def decode(path: Path | str, order: str = 'RGB') -> np.ndarray:
    """Decode a file to uint8 (H, W, 3).

    simplejpeg decodes bit-identically to Pillow and OpenCV (CMYK to within 1 of
    255), and faster; Pillow takes the other formats, whatever their name. A JPEG that
    breaks off is decoded as far as it goes: see `is_truncated`. An EXIF
    rotation is not applied: labels belong to the stored pixels.

    Args:
        path: the file.
        order: `RGB` or `BGR`.

    Raises:
        UserError: no such file, or it is no image.
    """
    try:
        data = Path(path).read_bytes()
        if data.startswith(_JPEG_START):
            try:
                return simplejpeg.decode_jpeg(data, colorspace=order, strict=False)
            except ValueError:
                pass
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # palette and EXIF remarks
            image = np.array(Image.open(io.BytesIO(data)).convert('RGB'))
    except FileNotFoundError:
        raise UserError('no such image', path, 'restore the file, or take it off the list'
                        ) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError,
            Image.DecompressionBombError) as error:
        raise UserError(f'cannot decode the image ({type(error).__name__})', path,
                        'replace the file, or take it off the list') from None
    return image if order == 'RGB' else np.ascontiguousarray(image[..., ::-1])


def is_truncated(path: Path | str) -> bool:
    """Whether a JPEG lacks its end marker; other formats are not judged."""
    with Path(path).open('rb') as file:
        start = file.read(len(_JPEG_START))
        file.seek(max(file.seek(0, io.SEEK_END) - 2048, 0))
        end = file.read().rstrip(b'\0')
        if len(end) < 1024:  # filled up with zeros, as cameras do: look further back
            file.seek(0)
            end = file.read().rstrip(b'\0')
    return start == _JPEG_START and _JPEG_END not in end[-1024:]
