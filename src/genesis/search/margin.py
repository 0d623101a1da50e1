"""Asking and telling the `cmaes` library's strategy with margin for a whole population at once, to the same bits.

The library draws, looks at and encodes one point at a time, and takes the normal and chi-squared distributions from
`scipy.stats`, which looks at every argument: half of a population's time. The evolution strategy itself stays the
library's (`cmaes.CMA`); of the margin (Hamano et al. 2022) the arithmetic is here, in the order of the library's.

Coordinates are those of a `CmaRun`: a column in steps has `steps[j]` = 1 / m, its m values being 0, 1 / m … 1 - 1 / m;
a continuous one has 0 and lies in [0, 1].
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from genesis.engine.compile import jit, rule
from genesis.types import FloatArray

TRIES = 10  # draws until a point outside the box is moved onto its border
_EPS = 1e-10


def ask(strategy: Any, size: int, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`size` points as the strategy takes them back [size, d], and as they are shown, steps on their values."""
    inner = strategy._cma
    axes, lengths = inner._eigen_decomposition()
    shape = axes.dot(np.diag(lengths))
    smooth = steps <= 0.0
    raw = np.empty((size, len(steps)))
    done = tries = 0
    while done < size:
        directions = np.array([shape.dot(z) for z in inner._rng.randn(size - done, len(steps))])
        points = inner._mean + inner._sigma * directions
        inside = ((points >= 0.0) & (points <= 1.0) | ~smooth).all(axis=1)
        for point, fits in zip(points, inside.tolist(), strict=True):
            if not fits and tries < TRIES:
                tries += 1
                continue
            raw[done] = point if fits else np.where(smooth, np.minimum(np.maximum(point, 0.0), 1.0), point)
            done += 1
            tries = 0
    shown = raw.copy()
    if not smooth.all():
        _show(raw, inner._mean, strategy._A, steps, shown)
    return raw, shown


@jit
def _show(raw: Any, mean: Any, scale: Any, steps: Any, shown: Any) -> None:
    """Columns in steps on the value whose part of the line, widened by `scale` around the mean, holds the point."""
    for i in range(raw.shape[0]):
        for j in range(raw.shape[1]):
            if steps[j] > 0.0:
                shown[i, j] = nearest((raw[i, j] - mean[j]) * scale[j] + mean[j], steps[j]) * steps[j]


@rule
def nearest(value: float, step: float) -> float:
    """The number of the nearest of the values 0, step, 2 step … 1 - step; the lower one in the middle of two."""
    most = np.rint(1.0 / step) - 1.0
    place = np.minimum(np.maximum(np.floor(value / step + 0.5), 0.0), most)
    if place > 0.0 and value <= border(np.maximum(place - 1.0, 0.0), step):
        place -= 1.0
    if place < most and value > border(np.minimum(place, most - 1.0), step):
        place += 1.0
    return float(place)


@rule
def border(place: float, step: float) -> float:
    """Where a value ends and the next one begins."""
    return (place * step + (place + 1.0) * step) / 2


def tell(strategy: Any, points: FloatArray, losses: FloatArray, steps: FloatArray) -> None:
    """Take in a population's points [size, d] and losses, then keep every step within the margin's reach."""
    strategy._cma.tell(list(zip(points, losses.tolist(), strict=True)))
    stepped = np.flatnonzero(steps > 0.0)
    if len(stepped):
        _correct(strategy, stepped, steps[stepped])


def _correct(strategy: Any, stepped: Any, step: FloatArray) -> None:
    """Give each side of a mean's own value at least the margin's probability (Hamano et al. 2022, section 4)."""
    from scipy.special import gammaincinv, ndtr

    inner = strategy._cma
    mean, least, n = inner._mean, strategy.margin, len(stepped)
    variance = inner._C.diagonal()[stepped]
    low, high, beyond, chance = np.empty(n), np.empty(n), np.empty((2, n)), np.empty((2, n))
    _borders(mean, strategy._A, inner._sigma, variance, stepped, step, low, high, beyond)
    strategy.m_z_lim_low, strategy.m_z_lim_up = low, high
    at_end = np.empty(n, dtype=np.bool_)
    _chances(
        mean, strategy._A, inner._sigma, variance, stepped, high, ndtr(beyond), least, _farthest(least), at_end, chance
    )  # fmt: skip
    _widen(mean, strategy._A, inner._sigma, variance, stepped, low, high, 2 * gammaincinv(0.5, chance), at_end)


@jit
def _borders(
    mean: Any, scale: Any, sigma: float, variance: Any, stepped: Any, step: Any, low: Any, high: Any, beyond: Any
) -> None:
    """Where the mean's own value ends on both sides, and how far that is `beyond` the mean, in deviations."""
    for i, j in enumerate(stepped):
        most = np.rint(1.0 / step[i]) - 2.0
        place = nearest(mean[j], step[i])
        low[i] = border(np.minimum(np.maximum(place - 1.0, 0.0), most), step[i])
        high[i] = border(np.minimum(np.maximum(place, 0.0), most), step[i])
        width = sigma * scale[j] * math.sqrt(variance[i])
        beyond[0, i] = (low[i] - mean[j]) / width
        beyond[1, i] = (high[i] - mean[j]) / width


@jit
def _chances(
    mean: Any, scale: Any, sigma: float, variance: Any, stepped: Any, high: Any, under: Any, least: float,
    farthest: float, at_end: Any, chance: Any,
) -> None:  # fmt: skip
    """The chance within each border that leaves both sides theirs; a mean `at_end` is moved to where it has one."""
    some_at_end = False
    for i in range(stepped.shape[0]):
        at_end[i] = np.maximum(under[0, i], 1.0 - under[1, i]) > 0.5  # the mean is beyond the outermost border
        some_at_end = some_at_end or at_end[i]
    for i, j in enumerate(stepped):
        below, above = under[0, i], 1.0 - under[1, i]
        between = 1.0 - (below + above)
        if some_at_end:
            far = sigma * scale[j] * math.sqrt(farthest * variance[i])
            lost = 1.0 if at_end[i] and np.minimum(below, above) < least else 0.0
            mean[j] += lost * (high[i] + np.sign(mean[j] - high[i]) * far - mean[j])
        below, above = np.maximum(below, least / 2.0), np.maximum(above, least / 2.0)
        excess, room = 1.0 - below - above - between, below + between + above - 3.0 * least / 2
        below += excess * (below - least / 2) / room
        above += excess * (above - least / 2) / room
        chance[0, i] = 1.0 - 2 * np.minimum(np.maximum(below, _EPS), 0.5 - _EPS)
        chance[1, i] = 1.0 - 2 * np.minimum(np.maximum(above, _EPS), 0.5 - _EPS)


@jit
def _widen(
    mean: Any, scale: Any, sigma: float, variance: Any, stepped: Any, low: Any, high: Any, squares: Any, at_end: Any
) -> None:
    """Put the borders at the roots of `squares` in deviations: the scale and the mean that do so."""
    for i, j in enumerate(stepped):
        within = 0.0 if at_end[i] else 1.0
        to_low, to_high = math.sqrt(squares[0, i]), math.sqrt(squares[1, i])
        both = to_low + to_high
        scale[j] += within * ((high[i] - low[i]) / (both * sigma * math.sqrt(variance[i])) - scale[j])
        mean[j] += within * ((low[i] * to_high + high[i] * to_low) / both - mean[j])


@lru_cache(maxsize=64)
def _farthest(least: float) -> float:
    """The quantile of chi-squared with one degree of freedom beyond which lies twice the margin's probability."""
    from scipy.special import gammaincinv

    return float(2 * gammaincinv(0.5, 1.0 - 2.0 * least))
