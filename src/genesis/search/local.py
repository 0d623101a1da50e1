"""Local search around the best points: small mutations, and differences of good points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genesis.engine.compile import jit
from genesis.search.cells import Cells
from genesis.types import FloatArray, IntArray


def neighbours(cells: Cells, good: FloatArray, centres: IntArray, rng: np.random.Generator) -> FloatArray:
    """One point near each of `good[centres]`, `good` [k, d] being the best points known (model coordinates).

    Half change one to three columns by a step drawn from a logarithmic scale, or a choice for another; half add the
    scaled difference of two good points (Storn and Price 1997) in about half of the columns.
    """
    n, d, k = len(centres), cells.d, len(good)
    differs = (rng.random(n) < 0.5) & (k >= 4)
    a = rng.integers(0, k, n)
    b = (a + rng.integers(1, max(k, 2), n)) % k
    taken, scale, order = np.split(rng.random(n * (2 * d + 1)), (n * d, n * d + n))  # one call for draws in a row
    changes = rng.integers(1, 4, n)
    length, side, other, fill = rng.random((4, n, d))
    unit, choice = _moved(
        cells.unit(good), good, centres, differs, a, b, taken.reshape(n, d), 0.3 + (0.9 - 0.3) * scale,
        order.reshape(n, d), changes, 10.0 ** (2.4 * length - 3.0), side, other, fill, cells.count, cells.categorical,
    )  # fmt: skip
    points = cells.from_unit(unit)
    return cells.close(np.where(np.isnan(choice), points, choice))


@jit
def _moved(
    unit: Any, good: Any, centres: Any, differs: Any, a: Any, b: Any, taken: Any, scale: Any,
    order: Any, changes: Any, step: Any, side: Any, other: Any, fill: Any, count: Any, categorical: Any,
) -> Any:  # fmt: skip
    """The new places in the unit cube, what lies outside reflected at the border, and the choices (NaN elsewhere).

    Columns that are not active at the centre are drawn anew (`fill`), choices among them by their place.
    """
    n, d = taken.shape
    places = np.empty((n, d))
    choices = np.full((n, d), np.nan)
    for i in range(n):
        centre, one, two = centres[i], a[i], b[i]
        for j in range(d):
            x = unit[centre, j]
            if categorical[j]:
                choices[i, j] = good[centre, j]
            if differs[i]:
                if taken[i, j] < 0.5 and categorical[j]:
                    if not math.isnan(good[one, j]):
                        choices[i, j] = good[one, j]
                elif taken[i, j] < 0.5:
                    shift = scale[i] * (unit[one, j] - unit[two, j])
                    if not math.isnan(shift):
                        x += shift
            elif not math.isnan(x) and count[j] != 1:
                smaller = 0
                for other_column in range(d):
                    active = not math.isnan(unit[centre, other_column]) and count[other_column] != 1
                    smaller += active and order[i, other_column] < order[i, j]
                if smaller < changes[i]:
                    m = count[j]
                    if categorical[j]:
                        choices[i, j] = (good[centre, j] + math.floor(other[i, j] * max(m - 1, 1)) + 1.0) % m
                    else:
                        far = max(step[i, j], 1.0 / m if m > 0 else 0.0)
                        x += far if side[i, j] < 0.5 else -far
            x = fill[i, j] if math.isnan(x) else abs(x)
            if x > 1.0:
                x = 2.0 - x
            places[i, j] = min(max(x, 0.0), 1.0)
    return places, choices
