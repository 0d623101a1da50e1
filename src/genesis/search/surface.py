"""A quadratic surface through the best points, and points at its lowest place: response surfaces (Box and Wilson 1951).

Where the best points lie in a smooth bowl, one fit finds its bottom; where they do not, the portfolio soon stops
asking. Pairs of columns are crossed while that takes at most 105 coefficients (thirteen columns) and there are points
enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from genesis.search.cells import Cells
from genesis.search.cma import free_columns
from genesis.types import FloatArray, IntArray

_MOST_COEFFICIENTS = 105
_ENOUGH = 1.5  # points for each coefficient
_RIDGE = 1e-9
_REACH = 2.0  # spreads of the fitted points
_NOISE = 0.2  # spreads
_FLIP = 0.5


def wanted_points(d: int) -> int:
    """How many points a fit over `d` columns uses at most."""
    return 2 * _coefficients(d)


def _coefficients(d: int) -> int:
    full = (d + 1) * (d + 2) // 2
    return full if full <= _MOST_COEFFICIENTS else 2 * d + 1


def lowest(points: FloatArray, losses: FloatArray, spread: FloatArray) -> FloatArray | None:
    """The surface's lowest place near the best point; None when there are too few points or they do not differ.

    `points` [k, d] are in the unit cube, best first, `spread` [d] are their standard deviations, `losses` finite. The
    step from the best point is at most two spreads long, and leads downhill where the surface bends down.
    """
    moving = np.flatnonzero(spread > 1e-12)
    k, m = len(points), len(moving)
    size = _coefficients(m)
    if k < _ENOUGH * size:
        size = 2 * m + 1
    if not m or k < _ENOUGH * size:
        return None
    height = losses / 2 - losses[0] / 2  # halved: the difference of two finite numbers may not be finite
    if not 0.0 < height[-1] < np.inf:
        return None
    z = (points[:, moving] - points[0, moving]) / spread[moving]
    crossed = size != 2 * m + 1
    a, b = _pairs(m, crossed=crossed)
    features = np.concatenate([np.ones((k, 1)), z, z[:, a] * z[:, b]], axis=1)
    weight = _weights(k)
    matrix = features.T @ (features * weight[:, None])
    matrix.flat[:: size + 1] += _RIDGE * np.trace(matrix) / size
    found = np.linalg.solve(matrix, features.T @ (height / height[-1] * weight))
    slope, rest = found[1 : m + 1], found[m + 1 :]
    step = _descent(slope, rest, a, b) if crossed else -slope / _bends(2.0 * rest)
    length = np.sqrt(np.mean(step**2))
    place: FloatArray = points[0].copy()
    place[moving] += step * spread[moving] * min(1.0, _REACH / max(length, 1e-12))
    return np.minimum(np.maximum(place, 0.0), 1.0)


@lru_cache(maxsize=256)
def _pairs(m: int, *, crossed: bool) -> tuple[IntArray, IntArray]:
    """Which of m columns are multiplied: each with itself, and when `crossed` with every other."""
    return np.triu_indices(m) if crossed else (np.arange(m), np.arange(m))


@lru_cache(maxsize=256)
def _weights(k: int) -> FloatArray:
    """What the best to the worst of k points count for in the fit."""
    return np.linspace(1.0, 0.1, k)


def _descent(slope: FloatArray, rest: FloatArray, a: IntArray, b: IntArray) -> FloatArray:
    """Newton's step along the axes of the surface whose coefficients of columns a times b are `rest`."""
    bend = np.zeros((len(slope), len(slope)))
    bend[a, b] += rest
    bend[b, a] += rest
    values, vectors = np.linalg.eigh(bend)
    return np.asarray(-vectors @ (vectors.T @ slope / _bends(values)))


def _bends(values: FloatArray) -> FloatArray:
    """Second derivatives along the axes, positive: where the surface bends down the step leads downhill as well."""
    sizes = np.abs(values)
    return np.asarray(np.maximum(sizes, 1e-3 * sizes.max() + 1e-12))


@dataclass(frozen=True, slots=True)
class Bottom:
    """The lowest place of a surface: the best point's `row` with its `free` columns moved to `place`."""

    cells: Cells
    row: FloatArray
    free: IntArray
    place: FloatArray
    spread: FloatArray

    def points(self, count: int, rng: np.random.Generator, *, exact: bool) -> FloatArray:
        """Points in model coordinates: with `exact` the bottom first, then around it, or there with another choice."""
        noise = _NOISE * self.spread * rng.standard_normal((count, len(self.free)))
        flipped = rng.random(count) < _FLIP
        loose = np.flatnonzero(self.cells.loose & ~np.isnan(self.row))  # the choices that may be others
        if len(loose):
            noise[flipped] = 0.0
        if exact:
            noise[0], flipped[0] = 0.0, False
        whole = np.full((count, self.cells.d), 0.5)
        whole[:, self.free] = np.minimum(np.maximum(self.place + noise, 0.0), 1.0)
        points = self.row[None, :].repeat(count, axis=0)
        points[:, self.free] = self.cells.from_unit(whole)[:, self.free]
        for i in np.flatnonzero(flipped) if len(loose) else ():
            j = loose[rng.integers(len(loose))]
            points[i, j] = (points[i, j] + rng.integers(1, self.cells.count[j])) % self.cells.count[j]
        return points


def bottom(cells: Cells, rows: FloatArray, losses: FloatArray, *, near: bool) -> Bottom | None:
    """The bottom that the best points (model coordinates, best first) say there is, if they say anything.

    It goes by the best of them, or with `near` by those nearest to the first, in spreads of all: along a curved valley
    the best are far apart, and only those at hand lie in one bowl.
    """
    if not len(rows):
        return None
    free = free_columns(cells, rows[0])
    most = wanted_points(len(free))
    unit = cells.unit(rows)[:, free]
    there = np.flatnonzero(~np.isnan(unit).any(axis=1))
    if near and len(there) > most:
        away = unit[there] - unit[0]
        away /= np.maximum(away.std(axis=0), 1e-12)
        there = there[np.sort(np.argsort((away * away).sum(axis=1), kind="stable")[:most])]
    there = there[:most]
    points = unit[there]
    spread = points.std(axis=0)
    place = lowest(points, losses[there], spread)
    return None if place is None else Bottom(cells, rows[0], free, place, spread)
