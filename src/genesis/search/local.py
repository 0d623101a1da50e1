"""Local search around the best points: small mutations, and differences of good points."""

from __future__ import annotations

import numpy as np

from genesis.search.cells import Cells
from genesis.types import FloatArray


def neighbours(cells: Cells, good: FloatArray, best: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """`count` points near `best`, `good` [k, d] being the best points known (model coordinates, best first).

    Half change one to three columns of `best` by a step drawn from a logarithmic scale, or a choice for another; half
    add the scaled difference of two good points (Storn and Price 1997) in about half of the columns.
    """
    out = np.tile(best, (count, 1))
    unit = cells.unit(good)
    here = cells.unit(best[None, :])[0]
    for i in range(count):
        row = here.copy()
        choice = best.copy()
        if len(good) >= 4 and rng.random() < 0.5:
            a, b = rng.choice(len(good), 2, replace=False)
            moved = rng.random(cells.d) < 0.5
            shift = rng.uniform(0.3, 0.9) * (unit[a] - unit[b])
            row = np.where(moved & ~np.isnan(shift) & ~cells.categorical, row + shift, row)
            swap = moved & cells.categorical & ~np.isnan(good[a])
            choice = np.where(swap, good[a], choice)
        else:
            _mutate(cells, row, choice, rng)
        filled = np.where(np.isnan(row), rng.random(cells.d), np.abs(row))
        filled = np.where(filled > 1.0, 2.0 - filled, filled)
        point = cells.from_unit(np.clip(filled, 0.0, 1.0)[None, :])[0]
        known = ~np.isnan(choice) & cells.categorical
        out[i] = np.where(known, choice, point)
    return cells.close(out)


def _mutate(cells: Cells, row: FloatArray, choice: FloatArray, rng: np.random.Generator) -> None:
    active = np.flatnonzero(~np.isnan(row) & (cells.count != 1))
    if not len(active):
        return
    for j in rng.choice(active, min(len(active), int(rng.integers(1, 4))), replace=False):
        m = int(cells.count[j])
        if cells.categorical[j]:
            choice[j] = (choice[j] + rng.integers(1, m)) % m
            continue
        step = 10.0 ** rng.uniform(-3.0, -0.6)
        if m:
            step = max(step, 1.0 / m)
        row[j] += step * (1.0 if rng.random() < 0.5 else -1.0)
