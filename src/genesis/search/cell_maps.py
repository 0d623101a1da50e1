"""The compiled maps of `Cells`, element by element: the bits of the formulas written over whole arrays, without them.

A generation has eight points, and NumPy takes longer to begin eight operations than to work on them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genesis.engine.compile import jit, rule


@jit
def to_model(given: Any, base: Any, unit: Any, rounded: Any, most: Any, out: Any) -> None:
    """(value - base) / unit, whole where `rounded`, from 0 to `most`; NaN stays NaN."""
    for i in range(given.shape[0]):
        for j in range(given.shape[1]):
            x = (given[i, j] - base[j]) / unit[j]
            if rounded[j]:
                x = np.rint(x)
            x = 0.0 if x <= 0.0 else x
            out[i, j] = most[j] if x > most[j] else x


@jit
def to_values(given: Any, a: Any, b: Any, c: Any, least: Any, largest: Any, out: Any) -> None:
    """(a + model * b) / c, from `least` to `largest`, without a negative zero; NaN stays NaN."""
    for i in range(given.shape[0]):
        for j in range(given.shape[1]):
            x = (given[i, j] * b[j] + a[j]) / c[j]
            x = least[j] if x < least[j] else x
            out[i, j] = (largest[j] if x > largest[j] else x) + 0.0


@rule
def unit_of(x: float, m: int, uneven: bool, middles: Any) -> float:
    """The middle of cell x of m in [0, 1]; x itself where m is 0 or x is NaN."""
    if m == 0 or math.isnan(x):
        return x
    return float(middles[int(x)]) if uneven else (x + 0.5) / m


@rule
def cell_of(u: float, m: int, uneven: bool, edges: Any) -> float:
    """The cell of m that holds u; u itself where m is 0 or u is NaN."""
    if m == 0 or math.isnan(u):
        return u
    if not uneven:
        return min(math.floor(u * m), m - 1.0)
    low, high = 1, m  # the first of the inner borders that is beyond u
    while low < high:
        middle = (low + high) // 2
        if edges[middle] > u:
            high = middle
        else:
            low = middle + 1
    return float(low - 1)


@jit
def to_unit(given: Any, count: Any, uneven: Any, start: Any, middles: Any, out: Any) -> None:
    """Model coordinates to the unit cube; `start` is where a column's middles begin."""
    for i in range(given.shape[0]):
        for j in range(given.shape[1]):
            out[i, j] = unit_of(given[i, j], count[j], uneven[j], middles[start[j] :])


@jit
def from_unit(given: Any, count: Any, uneven: Any, start: Any, edges: Any, out: Any) -> None:
    """Points of the unit cube to model coordinates; `start` is where a column's edges begin."""
    for i in range(given.shape[0]):
        for j in range(given.shape[1]):
            out[i, j] = cell_of(given[i, j], count[j], uneven[j], edges[start[j] :])
