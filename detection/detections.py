"""The detections of a run and the objects they are measured against, kept in one file."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refaug_det.errors import UserError
from refaug_det.runs import files

FILE_NAME = 'detections.npz'
VERSIONS = 1, 2  # the second says of objects what COCO's files do
_INDEX, _TEXT = 'int32', 'U'
_Kind = tuple[str, str, tuple[int, ...]]  # type, what its length is, numbers a row
_ARRAYS: dict[str, _Kind] = {
    'classes': (_TEXT, 'classes', ()),
    'image_ids': (_TEXT, 'images', ()), 'image_sizes': (_INDEX, 'images', (2,)),
    'boxes': ('float32', 'detections', (4,)), 'scores': ('float32', 'detections', ()),
    'labels': ('int16', 'detections', ()), 'images': (_INDEX, 'detections', ()),
    'gt_boxes': ('float32', 'objects', (4,)), 'gt_labels': ('int16', 'objects', ()),
    'gt_difficult': ('bool', 'objects', ()), 'gt_images': (_INDEX, 'objects', ())}
_OF_COCO: dict[str, _Kind] = {  # all of them or none
    'gt_xywh': ('float64', 'objects', (4,)), 'gt_areas': ('float64', 'objects', ()),
    'gt_crowd': ('bool', 'objects', ())}
_FIX = 'evaluate the detector again, or restore the file'


@dataclass(frozen=True, eq=False)
class Detections:
    """N detections and G objects of C classes in I images; boxes in pixels of the image file.

    Attributes:
        classes: (C,) names.
        image_ids: (I,) text, distinct, in the order of the data set.
        image_sizes: (I, 2) int32 width, height.
        boxes: (N, 4) float32 x1, y1, x2, y2.
        scores: (N,) float32.
        labels: (N,) int16 index into `classes`.
        images: (N,) int32 index into `image_ids`.
        gt_boxes, gt_labels, gt_images: (G, 4), (G,), (G,) alike, objects in the file's order.
        gt_difficult: (G,) bool; a crowd is difficult too.
        gt_xywh: (G, 4) float64 boxes x, y, width, height with all their digits; None where the
            data set is not COCO's, as the next two. `gt_boxes` then are that to the metric.
        gt_areas: (G,) float64 pixels of the segmentation, which COCO's sizes go by.
        gt_crowd: (G,) bool.
    """

    classes: NDArray
    image_ids: NDArray
    image_sizes: NDArray
    boxes: NDArray
    scores: NDArray
    labels: NDArray
    images: NDArray
    gt_boxes: NDArray
    gt_labels: NDArray
    gt_difficult: NDArray
    gt_images: NDArray
    gt_xywh: NDArray | None = None
    gt_areas: NDArray | None = None
    gt_crowd: NDArray | None = None


def of_images(classes: Sequence[str], rows: Sequence[dict[str, Any]]) -> Detections:
    """Put together what was found image by image.

    Args:
        classes: their names.
        rows: an image each: `image_ids` (text) and `image_sizes` (width, height), and its part
            of every other array of `Detections` but the two that index images; of the last
            three all or none.
    """
    arrays: dict[str, Any] = {'classes': list(classes)}
    kinds = _ARRAYS | {name: kind for name, kind in _OF_COCO.items() if rows and name in rows[0]}
    for name, (dtype, length, row_shape) in kinds.items():
        if name in ('images', 'gt_images'):
            like = 'labels' if name == 'images' else 'gt_labels'
            arrays[name] = np.repeat(np.arange(len(rows)), [len(row[like]) for row in rows])
        elif length == 'images':
            arrays[name] = [row[name] for row in rows]
        elif length != 'classes':
            arrays[name] = np.concatenate([
                np.zeros((0, *row_shape), dtype),
                *(np.reshape(row[name], (-1, *row_shape)) for row in rows)])
        arrays[name] = np.asarray(arrays[name], dtype).reshape(-1, *row_shape)
    return Detections(**arrays)


def save(detections: Detections, path: Path | str) -> None:
    """Write them, compressed; the file is whole or absent.

    Raises:
        UserError: it cannot be written.
    """
    arrays = {field.name: value for field in dataclasses.fields(detections)
              if (value := getattr(detections, field.name)) is not None}
    try:
        files.write_with(path, lambda file: np.savez_compressed(
            file, version=np.int64(VERSIONS['gt_xywh' in arrays]), **arrays))
    except OSError as error:
        raise UserError(f'cannot write the detections ({error.strerror or error})', path,
                        'make room, or choose another --work-dir') from None


def load(path: Path | str) -> Detections:
    """Read what `save` wrote; runs no code from the file.

    Args:
        path: the file, or the run directory it is in.

    Raises:
        UserError: no such file, another version, anything missing or out of range in it.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise UserError('no detections here', path, 'name a run directory of tools/train_det.py '
                        'that got as far as an evaluation')
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in getattr(stored, 'files', ())}
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, MemoryError,
            NotImplementedError, RuntimeError, SyntaxError, zipfile.BadZipFile,
            zlib.error) as error:
        raise UserError(f'not a file of detections ({type(error).__name__})', path,
                        _FIX) from None
    version = arrays.pop('version', None)
    if version is None or version.shape or version not in VERSIONS:
        raise UserError(f'detections of version {version}; this version reads '
                        f'{" and ".join(map(str, VERSIONS))}', path,
                        'use the refaug-det version that wrote them')
    if fault := _fault(arrays):
        raise UserError(f'malformed detections: {fault}', path, _FIX)
    return Detections(**arrays)


def find(paths: Sequence[Path | str]) -> list[Path]:
    """All files of detections in or below `paths`, sorted.

    Raises:
        UserError: a path holds none.
    """
    found: set[Path] = set()
    for start in map(Path, paths):
        here = [start] if start.is_file() else sorted(start.rglob(FILE_NAME))
        if not here:
            raise UserError(f'no {FILE_NAME} in or below this path', start,
                            'name run directories of tools/train_det.py, or a folder with them')
        found.update(here)
    return sorted(found)


def _fault(arrays: dict[str, NDArray]) -> str | None:
    """What is wrong with the arrays of a file."""
    kinds = _ARRAYS | _OF_COCO if arrays.keys() & _OF_COCO.keys() else _ARRAYS
    if arrays.keys() != kinds.keys():
        return f'missing or unknown {sorted(arrays.keys() ^ kinds.keys())}'
    lengths: dict[str, int] = {}
    for name, (dtype, length, row_shape) in kinds.items():
        array = arrays[name]
        right = array.dtype.kind == 'U' if dtype == _TEXT else array.dtype == dtype
        if not right or array.ndim != 1 + len(row_shape) or array.shape[1:] != row_shape:
            return f'{name} is {array.dtype} {array.shape}'
        if len(array) != lengths.setdefault(length, len(array)):
            return f'{len(array)} {name} for {lengths[length]} {length}'
    for name in ('labels', 'images', 'gt_labels', 'gt_images'):
        array, end = arrays[name], lengths['classes' if 'labels' in name else 'images']
        if len(array) and not 0 <= array.min() <= array.max() < end:
            return f'{name} outside [0, {end})'
    for name in ('classes', 'image_ids'):
        if len(set(arrays[name])) != len(arrays[name]):
            return f'{name} are not distinct'
    for name in ('boxes', 'scores', 'gt_boxes', 'gt_xywh', 'gt_areas'):
        if name in arrays and not np.isfinite(arrays[name]).all():
            return f'{name} are not all finite'
    return None
