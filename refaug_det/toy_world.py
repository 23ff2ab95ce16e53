"""The toy world: procedural pictures in which only the silhouette names an object.

Eight classes differ in shape; colour, texture, light, pose and size are random, so that none
is a cue. All is drawn from the generator that is passed in: same state, same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from refaug_det.errors import UserError
from refaug_det.runs import files

CLASSES = ('disc', 'ring', 'square', 'cross', 'star', 'crescent', 'arrow', 'comb')
DROPPED_BELOW, DIFFICULT_BELOW = 0.15, 0.4  # visible share of the whole silhouette
DROPPED_SIDE, DIFFICULT_SIDE = 6, 14  # pixels of the box's shorter side
MARKER, DRAWING = 'toy.json', 1  # raise DRAWING when a seed begins to give other pictures
Rng = np.random.Generator
Placed = list[tuple[int, np.ndarray, float]]  # class index, centre (x, y), radius in pixels
Pieces = list[tuple[bool, np.ndarray]]  # polygons (n, 2) as (x, y), each added or cut out


class SceneObject(NamedTuple):
    """One object of a scene, as far as it can be seen."""

    name: str
    box: tuple[int, int, int, int]  # xmin, ymin, xmax, ymax: 1-based and inclusive as in VOC
    visible: float  # share of the whole silhouette, in (0, 1]
    difficult: bool
    truncated: bool
    occluded: bool
    mask: np.ndarray  # the visible pixels, bool, (height, width)


def keyed_rng(*key: int | str) -> Rng:
    """A generator that depends on the key alone; different keys share no draws."""
    return np.random.default_rng(list(hashlib.sha256(repr(key).encode()).digest()))


def draw_object_image(rng: Rng, class_index: int, size: int = 64) -> np.ndarray:
    """Draw one dominant object of class `CLASSES[class_index]`, at least 55 % of it visible.

    Returns an RGB image, uint8, (size, size, 3); `size` is 32 or more.
    """
    while True:
        radius = size * rng.uniform(0.17, 0.5)
        reach = max(size / 2 - 0.75 * radius, 0.0)
        placed = [(class_index, size / 2 + rng.uniform(-reach, reach, 2), radius)]
        if rng.random() < 0.3:  # a smaller object of any class behind the dominant one
            other = int(rng.integers(len(CLASSES)))
            placed.insert(0, (other, rng.uniform(0, size, 2), 0.45 * radius))
        image, objects = _compose(rng, size, size, placed)
        if objects[-1] and objects[-1].visible >= 0.55:
            return image


def draw_scene(
        rng: Rng, width: int = 192, height: int = 144) -> tuple[np.ndarray, list[SceneObject]]:
    """Draw a scene with one to five objects, rearmost first; sides in pixels, 64 or more.

    Returns an RGB image, uint8, (height, width, 3), and the objects that can be seen.
    """
    objects: list[SceneObject] = []
    while not objects:
        placed: Placed = []
        for _ in range(rng.integers(1, 6)):
            radius = min(width, height) * np.exp(rng.uniform(*np.log((0.085, 0.26))))
            centre = rng.uniform(0.15 * radius, np.array([width, height]) - 0.15 * radius)
            if placed and rng.random() < 0.4:  # crowd: partly over the one before
                centre = placed[-1][1] + placed[-1][2] * rng.uniform(-1.3, 1.3, 2)
            placed.append((int(rng.integers(len(CLASSES))), centre, radius))
        image, found = _compose(rng, width, height, placed)
        objects = [item for item in found if item]
    return image, objects


def _compose(rng: Rng, width: int, height: int, placed: Placed,
             ) -> tuple[np.ndarray, list[SceneObject | None]]:
    """Paint back to front: clutter, the placed objects, bars, light and noise."""
    span, canvas = min(width, height), _texture(rng, height, width)
    for _ in range(rng.integers(1, 5)):  # shards that belong to no class
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        shard = rng.uniform(0.04, 0.25, (len(angles), 1)) * span * _circle(angles)
        _stamp(rng, canvas, [(True, shard + rng.uniform(0, [width, height]))])
    for _ in range(rng.integers(0, 4)):
        _stamp(rng, canvas, _bar(rng, canvas, 0.01, 0.035))
    covers = [_stamp(rng, canvas, _pose(rng, _silhouette(rng, CLASSES[index]), centre, radius),
                     distinct=True) for index, centre, radius in placed]
    free = np.ones((height, width), np.float32)
    for _ in range(rng.integers(0, 3)):
        free *= 1 - _stamp(rng, canvas, _bar(rng, canvas, 0.03, 0.1))[0]
    objects = []
    for (index, _, _), (alpha, area) in zip(placed[::-1], covers[::-1], strict=True):
        objects.append(_describe(CLASSES[index], alpha, alpha * free > 0.5, area))
        free *= 1 - alpha
    canvas *= 1 + rng.uniform(0, 0.35) * _ramp(rng, height, width)[..., None]
    canvas += rng.uniform(0, 14) * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8), objects[::-1]


def _describe(name: str, alpha: np.ndarray, mask: np.ndarray, area: int) -> SceneObject | None:
    """Box and flags from the visible pixels; None when next to nothing is left to see."""
    seen, inside = int(mask.sum()), int((alpha > 0.5).sum())
    if seen <= DROPPED_BELOW * area:
        return None
    rows, columns = np.flatnonzero(mask.any(1)) + 1, np.flatnonzero(mask.any(0)) + 1
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    side = min(box[2] - box[0], box[3] - box[1]) + 1
    difficult = seen < DIFFICULT_BELOW * area or side < DIFFICULT_SIDE
    return None if side < DROPPED_SIDE else SceneObject(
        name, box, seen / area, difficult, inside < area, seen < 0.97 * inside, mask)


def _silhouette(rng: Rng, name: str) -> Pieces:
    """One individual of the class, about within the unit circle."""
    a, b, few = rng.random(), rng.random(), int(rng.integers(3, 6))
    disc, corner = _circle(np.arange(40) * np.pi / 20), np.arange(4 + 2 * few)[:, None]
    spikes = _circle(corner[:, 0] * np.pi / (2 + few)) * np.where(corner % 2, 0.36 + 0.16 * a, 1)
    arm, neck, half, pitch = 0.18 + 0.18 * a, 0.45 * a - 0.1, 0.5 + 0.3 * b, 1.8 / (few - 0.45)
    return {
        'disc': [(True, disc)],
        'ring': [(True, disc), (False, disc * (0.4 + 0.28 * a))],
        'square': [_box(-0.8, -0.8, 0.8, 0.8)],
        'cross': [_box(-1, -arm, 1, arm), _box(-arm, -1, arm, 1)],
        'star': [(True, spikes)],
        'crescent': [(True, disc), (False, disc * (0.72 + 0.2 * a) + (0.42 + 0.2 * b, 0))],
        'arrow': [_box(-1, -0.3 * half, neck + 0.05, 0.3 * half),
                  (True, np.array([(neck, -half), (1, 0), (neck, half)]))],
        'comb': [_box(-0.9, -0.6, 0.9, 0.2 * a - 0.3)] + [
            _box(x, -0.5, x + 0.55 * pitch, 0.65) for x in np.arange(few) * pitch - 0.9],
    }[name]


def _pose(rng: Rng, pieces: Pieces, centre: np.ndarray, radius: float) -> Pieces:
    """Wobble, stretch, mirror, shear, turn and place: one transform for all pieces."""
    wave, phase = rng.uniform(2, 4, 2), rng.uniform(0, 2 * np.pi, 2)
    stretch = np.exp(rng.uniform(-0.22, 0.22) * np.array([1, -1])) * (rng.choice((-1, 1)), 1)
    shear, turn = rng.uniform(-0.2, 0.2), _circle(rng.uniform(-0.8, 0.8) + np.array([0, np.pi / 2]))
    bent = [(filled, xy + 0.07 * np.sin(xy[:, ::-1] * wave + phase)) for filled, xy in pieces]
    return [(filled, centre + radius * (xy * stretch + xy[:, ::-1] * (shear, 0)) @ turn)
            for filled, xy in bent]


def _stamp(rng: Rng, canvas: np.ndarray, pieces: Pieces, distinct: bool = False,
           ) -> tuple[np.ndarray, int]:
    """Paint pieces in a fresh texture; returns coverage (height, width) and area, uncut."""
    fine, alpha = 3, np.zeros(canvas.shape[:2], np.float32)
    hull = np.concatenate([points for filled, points in pieces if filled])
    low, high = np.floor(hull.min(0)).astype(int), np.ceil(hull.max(0)).astype(int) + 1
    sheet = Image.new('L', tuple((high - low) * fine))  # drawn finer, then averaged
    for filled, points in pieces:
        corners = (points - low) * fine
        ImageDraw.Draw(sheet).polygon(corners.ravel().tolist(), fill=255 * filled)
    whole = np.asarray(sheet.reduce(fine), np.float32) / 255
    first, last = np.maximum(low, 0), np.minimum(high, alpha.shape[::-1])
    if (last > first).all():
        (left, top), (right, bottom) = first - low, last - low
        part, at = whole[top:bottom, left:right], np.s_[first[1]:last[1], first[0]:last[0]]
        unlike = canvas[at].mean((0, 1)) if distinct else None
        paint = _texture(rng, bottom - top, right - left, unlike)
        canvas[at] += part[..., None] * (paint - canvas[at])
        alpha[at] = part
    return alpha, int((whole > 0.5).sum())


def _texture(rng: Rng, height: int, width: int, unlike: np.ndarray | None = None) -> np.ndarray:
    """Two random colours mixed by a gradient, clouds, stripes, a lattice or not: (h, w, 3)."""
    colours, kind = rng.uniform(0, 255, (4, 3)), rng.integers(5)
    if unlike is None:  # clutter is darker and paler than objects: sight finds, shape tells
        colours = 90 + 0.3 * (colours - 128)
    else:
        colours = np.array(sorted(80 + 0.69 * colours, key=lambda c: -abs(c - unlike).sum()))
    blend = (_ramp(rng, height, width) / 2 + 0.5) * (kind > 0)
    if kind == 1:
        cells = Image.fromarray(rng.integers(0, 256, (5, 5), np.uint8))
        blend = np.asarray(cells.resize((width, height), Image.Resampling.BICUBIC)) / 255
    elif kind in (2, 3):
        waves = np.pi * np.hypot(height, width) / rng.uniform(3, 12)
        ripple = np.sin(2 * waves * blend) * (
            1 if kind == 2 else np.sin(waves * _ramp(rng, height, width)))
        blend = np.clip(0.5 + 2 * ripple, 0, 1)
    return (colours[0] + 0.5 * blend[..., None] * (colours[1] - colours[0])).astype(np.float32)


def _ramp(rng: Rng, height: int, width: int) -> np.ndarray:
    """From -1 to 1 at most over the diagonal, in a random direction: (height, width)."""
    x, y = _circle(rng.uniform(0, 2 * np.pi)) * 2 / np.hypot(height, width)
    return (np.arange(height) - height / 2)[:, None] * y + (np.arange(width) - width / 2) * x


def _bar(rng: Rng, canvas: np.ndarray, thin: float, thick: float) -> Pieces:
    """A strip anywhere in the image; its thickness is a share of the shorter side."""
    length, half = rng.uniform(0.2, 0.8), rng.uniform(thin, thick) / 2
    strip, centre = _box(-1, -half / length, 1, half / length), rng.uniform(0, canvas.shape[1::-1])
    return _pose(rng, [strip], centre, length * min(canvas.shape[:2]))


def _circle(angles: Any) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[bool, np.ndarray]:
    x, y = (left + right) / 2, (top + bottom) / 2  # points along the edges let them bend
    return True, np.array([(left, top), (x, top), (right, top), (right, y),
                           (right, bottom), (x, bottom), (left, bottom), (left, y)])


def write_whole(root: Path | str, arguments: Mapping[str, Any],
                fill: Callable[[Path], object]) -> bool:
    """Let `fill` write a data set into a directory that appears whole or not at all.

    It is built beside `root`, marked with `arguments` (JSON values) and renamed; what a killed
    process left there is removed. Returns False where `root` holds this very data set already.

    Raises:
        UserError: `root` holds something else.
    """
    root = Path(root).resolve()
    wanted = json.dumps({**arguments, 'classes': CLASSES, 'drawing': DRAWING}, indent=2) + '\n'
    root.parent.mkdir(parents=True, exist_ok=True)
    files.sweep_dead(root)
    if _holds(root, wanted):
        return False
    with files.folder_aside(root) as fresh:
        fill(fresh)
        files.write_text(fresh / MARKER, wanted)
        try:
            fresh.rename(root)
        except OSError:  # another process may have been faster with the same data
            if not _holds(root, wanted):
                raise
    return True


def _holds(root: Path, wanted: str) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    if not marker.is_file() or marker.read_text(encoding='utf-8', errors='replace') != wanted:
        raise UserError('the folder holds other data than the toy set asked for', root,
                        'name another folder, delete this one, or ask with its own arguments')
    return True
