"""Neighbours of good points: the compiled moves are those of a plain twin, and stay in the space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from genesis.search.cells import Cells
from genesis.search.local import neighbours
from genesis.search.quasi import to_space
from genesis.search.space import Space

SPEC: dict[str, Any] = {f"f{i}": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.05} for i in range(3)}
SPEC |= {
    "c": {"type": "float", "low": -1.0, "high": 1.0},
    "l": {"type": "float", "low": 0.01, "high": 9.0, "log": True},
}
SPEC |= {"n": {"type": "int", "low": 1, "high": 40}, "o": {"type": "int", "low": 1, "high": 300, "log": True}}
SPEC |= {f"k{i}": {"type": "categorical", "choices": ["a", "b", "c"]} for i in range(3)}
BRANCHED = SPEC | {
    "x": {"type": "float", "low": 0.01, "high": 9.0, "log": True, "when": {"k0": ["a"]}},
    "y": {"type": "int", "low": 0, "high": 5, "when": {"k0": ["b", "c"]}},
    "z": {"type": "categorical", "choices": ["p", "q"], "when": {"k1": ["b"]}},
}


def plain(cells: Cells, good: np.ndarray, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What `neighbours` says, column by column."""
    n, d, k = len(centres), cells.d, len(good)
    differs = [rng.random() < 0.5 and k >= 4 for _ in range(n)]
    a = rng.integers(0, k, n)
    b = (a + rng.integers(1, max(k, 2), n)) % k
    taken = rng.random((n, d)) < 0.5
    scale = rng.uniform(0.3, 0.9, n)
    order = rng.random((n, d))
    changes = rng.integers(1, 4, n)
    length = 10.0 ** rng.uniform(-3.0, -0.6, (n, d))
    side, other, fill = rng.random((n, d)) < 0.5, rng.random((n, d)), rng.random((n, d))
    unit = cells.unit(good)
    out = np.empty((n, d))
    for i, centre in enumerate(centres):
        place, cell = unit[centre].copy(), good[centre].copy()
        able = [j for j in range(d) if not np.isnan(place[j]) and cells.count[j] != 1]
        chosen = sorted(able, key=lambda j: order[i, j])[: changes[i]]
        for j in range(d):
            m = int(cells.count[j])
            if differs[i] and taken[i, j] and cells.categorical[j]:
                cell[j] = cell[j] if np.isnan(good[a[i], j]) else good[a[i], j]
            elif differs[i] and taken[i, j]:
                shift = scale[i] * (unit[a[i], j] - unit[b[i], j])
                place[j] += 0.0 if np.isnan(shift) else shift
            elif not differs[i] and j in chosen and cells.categorical[j]:
                cell[j] = (cell[j] + 1 + int(other[i, j] * (m - 1))) % m
            elif not differs[i] and j in chosen:
                place[j] += (1 if side[i, j] else -1) * max(length[i, j], 1.0 / m if m else 0.0)
            place[j] = fill[i, j] if np.isnan(place[j]) else abs(place[j])
            place[j] = min(max(2.0 - place[j] if place[j] > 1.0 else place[j], 0.0), 1.0)
        row = cells.from_unit(place[None, :])[0]
        out[i] = np.where(cells.categorical & ~np.isnan(cell), cell, row)
    return cells.close(out)


@pytest.mark.parametrize("spec", [SPEC, BRANCHED], ids=["plain", "branched"])
@pytest.mark.parametrize("known", [1, 3, 4, 25])
def test_the_compiled_moves_are_the_plain_ones(spec: Any, known: int) -> None:
    """To the bit, from few good points and from many, and the generator stands where it stood afterwards."""
    space = Space.from_spec(spec)
    cells = Cells(space.columns)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        good = cells.model(to_space(cells, rng.random((known, cells.d))))
        centres = rng.integers(0, known, 1 + seed % 7)
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        found = neighbours(cells, good, centres, one)
        assert found.tobytes() == plain(cells, good, centres, other).tobytes()
        assert one.random() == other.random()
        vectors = cells.values(found)
        assert np.array_equal(space.snap(vectors), vectors, equal_nan=True)
