"""A linear probe of location: how much of a box can be read off frozen features, linearly.

The paper conjectures that intensive augmentation costs location features and that refinement
brings them back; it measures neither. At places inside an object, the position of the box's
centre relative to the place and the logarithm of its size are regressed on the features there.

Photographers put objects in the middle, and padding tells even a random network where in the
image it is. So the place itself is given to the probe, and what counts is what the features
add to a probe that knows nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refaug_det.spectrum import FeatureMoments

TARGETS = ('dx', 'dy', 'log width', 'log height')
PLACE = ('x', 'y', 'x x', 'x y', 'y y')
QUANTITIES = {'position': slice(0, 2), 'size': slice(2, 4)}
RIDGES = tuple(10.0**power for power in range(-6, 2))  # of features with unit variance


def places(boxes: np.ndarray, rows: int, columns: int, height: float,
           width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of a feature map that lie inside an object, and what is to be read there.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels of the network's input.
        rows, columns: of the feature map.
        height, width: of that input, in pixels.

    Returns:
        Indices (M,) into the flattened map; (M, 5), `PLACE`, coordinates from -1 to 1 and
        their products; (M, 4) targets: the offset of the box's centre from the place, as a
        share of the input's longer side, and the logarithms of the box's width and height
        as such shares. Where boxes overlap, the smallest counts.

    Source: the assignment is that of FCOS (Tian et al. 2019, section 3.1).
    """
    longer = max(height, width)
    x = (np.arange(columns) + 0.5) * width / columns
    y = (np.arange(rows) + 0.5) * height / rows
    x, y = np.tile(x, rows), np.repeat(y, columns)
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]
    inside = ((x[:, None] > boxes[:, 0]) & (x[:, None] < boxes[:, 2])
              & (y[:, None] > boxes[:, 1]) & (y[:, None] < boxes[:, 3]))
    index = np.flatnonzero(inside.any(1))
    u, v = 2 * x[index] / width - 1, 2 * y[index] / height - 1
    terms = np.stack([u, v, u * u, u * v, v * v], 1)
    if not len(index):
        return index, terms, np.zeros((0, 4))
    areas = np.where(inside[index], sizes.prod(1), np.inf)
    own, size = boxes[areas.argmin(1)], sizes[areas.argmin(1)]
    centre = (own[:, :2] + own[:, 2:]) / 2 - np.stack([x, y], 1)[index]
    return index, terms, np.concatenate([centre / longer, np.log(size / longer)], 1)


@dataclass(frozen=True)
class LinearProbe:
    """targets = offset + features @ weights."""

    weights: np.ndarray  # (D, 4)
    offset: np.ndarray  # (4,)
    ridge: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(M, D) -> (M, 4)."""
        return self.offset + features @ self.weights


def gather(dimension: int) -> FeatureMoments:
    """Moments to fit from: of (features, place, targets), class 1 those a ridge is chosen on."""
    return FeatureMoments(dimension + len(PLACE) + len(TARGETS), classes=2, watched=(0, 1))


def fit(moments: FeatureMoments) -> LinearProbe:
    """Ridge regression in closed form; the ridge is the one of `RIDGES` best on class 1.

    Args:
        moments: from `gather`; both classes seen. Features and place are regressed on.
    """
    d = moments.means.shape[1] - len(TARGETS)
    means, scatters = moments.means, [moments.of_class(label) for label in (0, 1)]

    def held_out(ridge: float) -> float:
        """Squared error on class 1 of a fit on class 0, each target in units of its variance."""
        weights = _solve(scatters[0], d, ridge)
        residual = np.concatenate([-weights, np.eye(len(TARGETS))])
        shift = (means[1] - means[0]) @ residual
        errors = np.einsum('it,ij,jt->t', residual, scatters[1], residual)
        return float(((errors + moments.counts[1] * shift**2)
                      / np.maximum(np.diag(scatters[1])[d:], 1e-30)).sum())

    return _fitted(moments.total(), moments.mean, min(RIDGES, key=held_out))


def fit_place(moments: FeatureMoments) -> LinearProbe:
    """The probe that sees the place only: what the features are measured against."""
    columns = slice(-len(PLACE) - len(TARGETS), None)
    return _fitted(moments.total()[columns, columns], moments.mean[columns], min(RIDGES))


def _fitted(scatter: np.ndarray, mean: np.ndarray, ridge: float) -> LinearProbe:
    d = len(mean) - len(TARGETS)
    weights = _solve(scatter, d, ridge)
    return LinearProbe(weights, mean[d:] - mean[:d] @ weights, ridge)


def _solve(scatter: np.ndarray, d: int, ridge: float) -> np.ndarray:
    from scipy.linalg import solve

    scale = np.sqrt(np.maximum(np.diag(scatter)[:d], 1e-30))
    gram = scatter[:d, :d] / np.outer(scale, scale)
    gram[np.diag_indices(d)] += ridge
    return solve(gram, scatter[:d, d:] / scale[:, None], assume_a='pos') / scale[:, None]


def explained(errors: np.ndarray, of_place: np.ndarray, draws: int = 1000,
              seed: int = 0) -> dict[str, dict[str, float]]:
    """Partial R^2 of position and size over test images, with 95 % intervals.

    Args:
        errors: (images, 4), squared errors of the probe, summed over an image's places.
        of_place: the same of the probe that sees the place only: R^2 = 1 - errors / of_place.
        draws: bootstrap resamples of images.

    Returns:
        `position` and `size`, each the mean over its two targets: `value`, `low`, `high`.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=draws)
    counts = np.concatenate([np.ones((1, len(errors)), counts.dtype), counts])
    r2 = 1 - (counts @ errors) / np.maximum(counts @ of_place, 1e-30)
    found = {}
    for name, part in QUANTITIES.items():
        whole, *resampled = r2[:, part].mean(1)
        low, high = np.percentile(resampled, [2.5, 97.5])
        found[name] = dict(value=float(whole), low=float(low), high=float(high))
    return found
