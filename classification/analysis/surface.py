"""The loss between three solutions: on the plane through them, and on the lines of it.

A point (x, y) of the plane has the weights

    augmented + x (refined - augmented) + y (standard - augmented)

so that the three solutions are (0, 0), (1, 0) and (0, 1), however far apart they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

State = dict[str, torch.Tensor]
Risks = tuple[float, ...]
CORNERS = {'augmented': (0.0, 0.0), 'refined': (1.0, 0.0), 'standard': (0.0, 1.0)}
LINES = (('augmented', 'refined'), ('augmented', 'standard'), ('refined', 'standard'))


def combine(states: Sequence[State], shares: Sequence[float]) -> State:
    """Weighted sum of state dicts, in float64; exactly one of them where its share alone is 1.

    Args:
        states: of one architecture.
        shares: one a state; they sum to one.

    Returns:
        Tensors of the first one's types; what is not floating (counters) is the first one's.
    """
    def mixed(name: str, first: torch.Tensor) -> torch.Tensor:
        if not first.is_floating_point():
            return first.clone()
        terms = [share * state[name].double()
                 for share, state in zip(shares, states, strict=True) if share]
        return torch.stack(terms).sum(0).to(first.dtype)

    return {name: mixed(name, first) for name, first in states[0].items()}


def distances(states: Sequence[State], names: Sequence[str]) -> dict[str, float]:
    """Of three solutions: L2 norms between them, and the angle at the first, in degrees.

    Args:
        states: augmented, refined and standard.
        names: of the tensors that are trained; running statistics are not.
    """
    a, r, s = (torch.cat([state[name].double().ravel() for name in names]) for state in states)
    u, v = r - a, s - a
    cosine = float(u @ v / (u.norm() * v.norm()).clamp(min=1e-300))
    return {'augmented to refined': float(u.norm()), 'augmented to standard': float(v.norm()),
            'refined to standard': float((s - r).norm()),
            'angle at augmented': math.degrees(math.acos(min(max(cosine, -1), 1)))}


def coordinates(steps: int, margin: float = 0.5) -> np.ndarray:
    """From -margin to 1 + margin, `steps` to a unit; 0 and 1 are among them exactly."""
    beyond = math.ceil(margin * steps)
    return np.arange(-beyond, steps + beyond + 1) / steps


def survey(states: Sequence[State], evaluate: Callable[[State], Risks], steps: int = 4,
           finer: int = 3, tell: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Risks on the plane and on the three lines, JSON-able.

    Args:
        states: augmented, refined and standard.
        evaluate: weights -> risks; not called twice for one point.
        steps: points of the plane to a unit, in both directions.
        finer: points of a line to a step.
        tell: called with (points done, points in all) after each.

    Returns:
        `x` and `y` (n,) coordinates; `plane`, a list a risk of rows (a y each) of values;
        `t` and `lines`, `A to B` -> a list a risk of values: t = 0 is A, t = 1 is B. None where
        a risk is not finite.
    """
    xs, ts = coordinates(steps), coordinates(steps * finer, 0.25)
    plane = [(float(x), float(y)) for y in xs for x in xs]
    lines = {f'{a} to {b}': [_between(CORNERS[a], CORNERS[b], float(t)) for t in ts]
             for a, b in LINES}
    wanted = list(dict.fromkeys([*plane, *(point for line in lines.values() for point in line)]))
    found: dict[tuple[float, float], Risks] = {}
    for x, y in wanted:
        found[x, y] = evaluate(combine(states, (1 - x - y, x, y)))
        if tell:
            tell(len(found), len(wanted))

    def values(points: list[tuple[float, float]]) -> list[list[float | None]]:
        return [[value if math.isfinite(value) else None for value in risk]
                for risk in zip(*(found[point] for point in points), strict=True)]

    rows = [values(plane[begin:begin + len(xs)]) for begin in range(0, len(plane), len(xs))]
    return dict(x=xs.tolist(), y=xs.tolist(),
                plane=[list(risk) for risk in zip(*rows, strict=True)], t=ts.tolist(),
                lines={name: values(points) for name, points in lines.items()})


def _between(a: tuple[float, float], b: tuple[float, float], t: float) -> tuple[float, float]:
    return a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])
