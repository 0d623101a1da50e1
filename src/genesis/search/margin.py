"""Asking and telling the `cmaes` library's strategy with margin for a whole population at once, to the same bits.

The library draws, looks at and encodes one point at a time, and takes the normal and chi-squared distributions from
`scipy.stats`, which looks at every argument: half of a population's time. The evolution strategy itself stays the
library's (`cmaes.CMA`); of the margin (Hamano et al. 2022) the arithmetic is here, in the order of the library's.

Coordinates are those of a `CmaRun`: a column in steps has `steps[j]` = 1 / m, its m values being 0, 1 / m … 1 - 1 / m;
a continuous one has 0 and lies in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
    stepped = np.flatnonzero(~smooth)
    if len(stepped):
        mean = inner._mean[stepped]
        moved = (raw[:, stepped] - mean) * strategy._A[stepped] + mean
        shown[:, stepped] = _nearest(moved, steps[stepped]) * steps[stepped]
    return raw, shown


def _nearest(values: FloatArray, step: FloatArray) -> FloatArray:
    """The number of the nearest of the values 0, step, 2 step … 1 - step; the lower one in the middle of two."""
    most = np.rint(1.0 / step) - 1.0
    place = np.minimum(np.maximum(np.floor(values / step + 0.5), 0.0), most)
    place -= (place > 0.0) & (values <= _border(np.maximum(place - 1.0, 0.0), step))
    place += (place < most) & (values > _border(np.minimum(place, most - 1.0), step))
    return place


def _border(place: FloatArray, step: FloatArray) -> FloatArray:
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
    from scipy.special import ndtr

    inner = strategy._cma
    mean, least = inner._mean, strategy.margin
    middle, scale = mean[stepped], strategy._A[stepped]
    variance = np.diag(inner._C)[stepped]
    deviation = np.sqrt(variance)
    most = np.rint(1.0 / step) - 2.0
    place = _nearest(middle, step)
    low = _border(np.minimum(np.maximum(place - 1.0, 0.0), most), step)
    high = _border(np.minimum(np.maximum(place, 0.0), most), step)
    strategy.m_z_lim_low, strategy.m_z_lim_up = low, high
    width = inner._sigma * scale * deviation
    below = ndtr((low - middle) / width)
    above = 1.0 - ndtr((high - middle) / width)
    between = 1.0 - (below + above)
    at_end = np.maximum(below, above) > 0.5  # the mean is beyond the outermost border
    if at_end.any():
        far = inner._sigma * scale * np.sqrt(_chi_squared(1.0 - 2.0 * least) * variance)
        lost = np.minimum(below, above) < least
        mean[stepped] = middle + lost * at_end * (high + np.sign(middle - high) * far - middle)
    below, above = np.maximum(below, least / 2.0), np.maximum(above, least / 2.0)
    excess, room = 1.0 - below - above - between, below + between + above - 3.0 * least / 2
    below, above = (
        np.minimum(np.maximum(one + excess * (one - least / 2) / room, _EPS), 0.5 - _EPS) for one in (below, above)
    )
    to_low, to_high = np.sqrt(_chi_squared(1.0 - 2 * np.array([below, above])))
    within, current = ~at_end, mean[stepped]
    both = to_low + to_high
    strategy._A[stepped] = scale + within * ((high - low) / (both * inner._sigma * deviation) - scale)
    mean[stepped] = current + within * ((low * to_high + high * to_low) / both - current)


def _chi_squared(chance: Any) -> Any:
    """The quantile of chi-squared with one degree of freedom."""
    from scipy.special import gammaincinv

    return 2 * gammaincinv(0.5, chance)
