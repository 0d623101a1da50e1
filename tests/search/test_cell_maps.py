"""The compiled maps of `Cells` give the bits of the array formulas they replace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.search.cells import Cells
from genesis.search.space import Space

SPACE = Space.from_spec(
    {
        "a": {"type": "float", "low": -5.0, "high": 5.0},
        "b": {"type": "float", "low": 0.1, "high": 0.7, "step": 0.05},
        "c": {"type": "int", "low": -3, "high": 40},
        "d": {"type": "categorical", "choices": ["p", "q", "r"]},
        "e": {"type": "int", "low": 1, "high": 1024, "log": True},
        "f": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
        "g": {"type": "categorical", "choices": ["only"]},
        "h": {"type": "float", "low": 1.0, "high": 2.0, "step": 0.25, "when": {"d": "p"}},
    }
)
CELLS = Cells(SPACE.columns)
D = len(SPACE.paths)


def model_of(vectors):
    """Values to model coordinates, column by column."""
    out = np.empty_like(vectors)
    for j, column in enumerate(SPACE.columns):
        x, m = vectors[:, j], CELLS.count[j]
        if column.kind == "categorical":
            out[:, j] = np.minimum(np.maximum(x, 0.0), np.inf)
        elif m > 0:
            out[:, j] = np.minimum(np.maximum(np.rint((x - CELLS.low[j]) / CELLS.step[j]), 0.0), m - 1.0)
        elif column.log:
            place = np.log(x / CELLS.low[j]) / np.log(CELLS.high[j] / CELLS.low[j])
            out[:, j] = np.minimum(np.maximum(place, 0.0), 1.0)
        else:
            out[:, j] = np.minimum(np.maximum((x - CELLS.low[j]) / (CELLS.high[j] - CELLS.low[j]), 0.0), 1.0)
    return out


def unit_of(model):
    """Model coordinates to the unit cube, column by column."""
    out = model.copy()
    for j, m in enumerate(CELLS.count.tolist()):
        known = ~np.isnan(model[:, j])
        if m > 0:
            out[known, j] = CELLS.middles[j][model[known, j].astype(np.int64)]
    return out


def cells_of(unit):
    """The cells that hold points of the unit cube, column by column."""
    out = unit.copy()
    for j, m in enumerate(CELLS.count.tolist()):
        x = unit[:, j]
        if m == 0:
            continue
        if CELLS.log[j] and m > 1:
            cell = np.searchsorted(CELLS.edges[j][1:-1], x, side="right").astype(float)
        else:
            cell = np.minimum(np.floor(x * m), m - 1)
        out[:, j] = np.where(np.isnan(x), np.nan, cell)
    return out


def points(seed, n):
    """Points of the space, and some beside its grid and outside its range."""
    rng = np.random.default_rng(seed)
    made = SPACE.snap(rng.uniform(-2.0, 60.0, (n, D)))
    made[: n // 2] += rng.normal(0.0, 0.3, (n // 2, D))
    made[:, 3] = np.rint(np.clip(made[:, 3], 0, 2))
    made[:, 6] = 0.0
    made[:, 5] = np.abs(made[:, 5]) + 1e-9
    return made


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 9))
def test_every_map_has_the_bits_of_its_formula(seed, n):
    """On the grid, beside it, outside the range, at NaN, and on the very borders of cells."""
    vectors = points(seed, n)
    model = CELLS.model(vectors)
    assert model.tobytes() == model_of(vectors).tobytes()
    np.testing.assert_allclose(CELLS.unit(model), unit_of(model), rtol=1e-15)
    unit = np.random.default_rng(seed).random((n, D))
    unit[n // 2 :] = CELLS.unit(model)[n // 2 :]
    for j in np.flatnonzero(CELLS.count):
        unit[: n // 3, j] = CELLS.edges[j][seed % len(CELLS.edges[j])]
    assert CELLS.from_unit(unit).tobytes() == cells_of(unit).tobytes()
    values = CELLS.values(model)
    snapped = SPACE.snap(values)
    known = ~np.isnan(snapped)  # the snap shuts what the maps take column by column
    assert values[known].tobytes() == snapped[known].tobytes()
    assert not np.signbit(values[known & (values == 0.0)]).any()


@pytest.mark.parametrize(
    "given", [[[1.0] * D], np.ones(D), np.asfortranarray(np.ones((3, D))), np.ones((3, 2 * D))[:, ::2]]
)
def test_lists_rows_and_arrays_of_any_layout_are_taken(given):
    """What comes is left as it was, and one row is one point."""
    before = np.array(given, copy=True)
    made = CELLS.model(given)
    assert made.shape == (before.reshape(-1, D).shape[0], D)
    assert made.tobytes() == model_of(np.array(before.reshape(-1, D))).tobytes()
    assert np.array_equal(before, given)
