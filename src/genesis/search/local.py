"""Local search around the best points: small mutations, and differences of good points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genesis.engine.compile import jit
from genesis.search.cell_maps import cell_of, unit_of
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
    drawn = rng.random(n * (2 * d + 1))
    changes = rng.integers(1, 4, n)
    more = rng.random((4, n, d))
    scale = 0.3 + (0.9 - 0.3) * drawn[n * d : n * d + n]
    points = np.empty((n, d))
    _move(
        np.array(good, dtype=np.float64, order="C"), centres, differs, a, b, drawn, scale, changes,
        10.0 ** (2.4 * more[0] - 3.0), more, cells.count, cells.categorical, cells.uneven, cells.middle_start,
        cells.all_middles, cells.edge_start, cells.all_edges, points,
    )  # fmt: skip
    return cells.close(points)


@jit
def _move(
    good: Any, centres: Any, differs: Any, a: Any, b: Any, drawn: Any, scale: Any, changes: Any, step: Any, more: Any,
    count: Any, categorical: Any, uneven: Any, middle_start: Any, middles: Any, edge_start: Any, edges: Any,
    points: Any,
) -> None:  # fmt: skip
    """Move each centre in the unit cube, what lies outside reflected at the border, and put its cells into `points`.

    `drawn` holds n·d numbers that choose the columns of a difference, n for `scale`, and n·d that order the columns
    of a mutation. Columns that are not active at the centre are drawn anew, choices among them by their place.
    """
    n, d = points.shape
    unit = np.empty(d)
    for i in range(n):
        centre, one, two = centres[i], a[i], b[i]
        for j in range(d):
            unit[j] = unit_of(good[centre, j], count[j], uneven[j], middles[middle_start[j] :])
        for j in range(d):
            x = unit[j]
            m = count[j]
            choice = good[centre, j] if categorical[j] else math.nan
            if differs[i]:
                taken = drawn[i * d + j] < 0.5
                if taken and categorical[j]:
                    if not math.isnan(good[one, j]):
                        choice = good[one, j]
                elif taken:
                    here = middles[middle_start[j] :]
                    shift = scale[i] * (
                        unit_of(good[one, j], m, uneven[j], here) - unit_of(good[two, j], m, uneven[j], here)
                    )
                    if not math.isnan(shift):
                        x += shift
            elif not math.isnan(x) and m != 1:
                mine = drawn[n * d + n + i * d + j]
                smaller = 0
                for other in range(d):
                    active = not math.isnan(unit[other]) and count[other] != 1
                    smaller += active and drawn[n * d + n + i * d + other] < mine
                if smaller < changes[i]:
                    if categorical[j]:
                        choice = (good[centre, j] + math.floor(more[2, i, j] * max(m - 1, 1)) + 1.0) % m
                    else:
                        far = max(step[i, j], 1.0 / m if m > 0 else 0.0)
                        x += far if more[1, i, j] < 0.5 else -far
            x = more[3, i, j] if math.isnan(x) else abs(x)
            if x > 1.0:
                x = 2.0 - x
            x = min(max(x, 0.0), 1.0)
            points[i, j] = cell_of(x, m, uneven[j], edges[edge_start[j] :]) if math.isnan(choice) else choice
