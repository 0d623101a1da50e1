"""Local search around the best points: small mutations, and differences of good points."""

from __future__ import annotations

import numpy as np

from genesis.search.cells import Cells
from genesis.types import FloatArray, IntArray


def neighbours(cells: Cells, good: FloatArray, centres: IntArray, rng: np.random.Generator) -> FloatArray:
    """One point near each of `good[centres]`, `good` [k, d] being the best points known (model coordinates).

    Half change one to three columns by a step drawn from a logarithmic scale, or a choice for another; half add the
    scaled difference of two good points (Storn and Price 1997) in about half of the columns.
    """
    n, d = len(centres), cells.d
    unit = cells.unit(good)
    row, choice = unit[centres], good[centres].copy()
    move = (rng.random(n) < 0.5) & (len(good) >= 4)
    a = rng.integers(0, len(good), n)
    b = (a + rng.integers(1, max(len(good), 2), n)) % len(good)
    taken = rng.random((n, d)) < 0.5
    shift = rng.uniform(0.3, 0.9, (n, 1)) * (unit[a] - unit[b])
    moved = move[:, None] & taken
    row = np.where(moved & ~np.isnan(shift) & ~cells.categorical, row + shift, row)
    choice = np.where(moved & cells.categorical & ~np.isnan(good[a]), good[a], choice)
    _mutate(cells, row, choice, ~move, rng)
    filled = np.where(np.isnan(row), rng.random((n, d)), np.abs(row))
    filled = np.where(filled > 1.0, 2.0 - filled, filled)
    points = cells.from_unit(np.minimum(np.maximum(filled, 0.0), 1.0))
    return cells.close(np.where(~np.isnan(choice) & cells.categorical, choice, points))


def _mutate(cells: Cells, row: FloatArray, choice: FloatArray, which: np.ndarray, rng: np.random.Generator) -> None:
    """Change one to three active columns of the rows that `which` marks, in place."""
    n, d = row.shape
    active = ~np.isnan(row) & (cells.count != 1)
    order = np.argsort(np.where(active, rng.random((n, d)), 2.0), axis=1)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(d)[None, :], axis=1)
    chosen = which[:, None] & active & (place < rng.integers(1, 4, (n, 1)))
    m = cells.count
    step = np.maximum(10.0 ** rng.uniform(-3.0, -0.6, (n, d)), np.where(m > 0, 1.0 / np.maximum(m, 1), 0.0))
    sign = np.where(rng.random((n, d)) < 0.5, 1.0, -1.0)
    row += np.where(chosen & ~cells.categorical, sign * step, 0.0)
    other = np.floor(rng.random((n, d)) * np.maximum(m - 1, 1)) + 1.0
    flip = chosen & cells.categorical
    choice[flip] = ((choice + other) % np.maximum(m, 1))[flip]
