"""Points are snapped the same whether they are seen to be on their grids at once or moved column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.search.test_space import SPECS, space_of

from genesis.errors import SpaceError
from genesis.search.cells import Cells
from genesis.search.space import Space

CONDITIONAL = {
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    "x": {"type": "float", "low": -1.0, "high": 1.0, "step": 0.05, "when": {"kind": ["a", "b"]}},
    "n": {"type": "int", "low": 1, "high": 9, "when": {"x": [0.05, 0.1, -0.3]}},
    "y": {"type": "float", "low": 0.0, "high": 2.0, "when": {"kind": ["c"]}},
}


def slow(space: Space) -> Space:
    """The same space, which looks at every column by itself."""
    twin = Space(space.columns, space.fixed)
    twin._snapper._lines = None
    return twin


def outcome(space: Space, vectors: np.ndarray) -> bytes | str:
    """The bytes of what is snapped, or why nothing is: moving a parent may wake a column that has no value."""
    try:
        return space.snap(vectors).tobytes()
    except SpaceError as error:
        return error.message


@given(st.one_of(SPECS, st.just(CONDITIONAL)), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_the_quick_look_changes_no_bit(spec: Any, seed: int) -> None:
    """On the grid, a float beside it, beyond the ends, or a zero of either sign: the same answer in both ways."""
    space = space_of(spec)
    rng = np.random.default_rng(seed)
    twin = slow(space)
    vectors = twin.snap(rng.normal(0, 3, (12, len(space))))
    for raw in (
        vectors,
        np.nextafter(vectors, rng.choice([-np.inf, np.inf], vectors.shape)),
        np.where(rng.random(vectors.shape) < 0.1, -vectors, vectors),
        np.where(rng.random(vectors.shape) < 0.05, vectors * 1e30, vectors),
    ):
        assert outcome(space, raw) == outcome(twin, raw)


@given(SPECS, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_samplers_values_are_the_spaces_own(spec: Any, seed: int) -> None:
    """Whatever the columns, model coordinates become the very floats that the space snaps to."""
    space = space_of(spec)
    if not len(space):
        return
    cells = Cells(space.columns)
    values = cells.values(cells.close(cells.from_unit(np.random.default_rng(seed).random((9, len(space))))))
    assert values.tobytes() == slow(space).snap(values).tobytes()


@pytest.mark.parametrize(
    ("vector", "says"),
    [([0.0, 3.0, np.nan, np.nan], "x"), ([0.0, np.nan, np.nan, np.nan], "x"), ([np.nan, 3.0, 0.0, 1.0], "kind")],
)
def test_a_missing_value_is_refused_wherever_its_column_is_active(vector: list[float], says: str) -> None:
    """A NaN is a hole in an active column, though the vector is on its grid otherwise."""
    space = Space.from_spec(CONDITIONAL)
    good = space.encode({"kind": "a", "x": 0.1, "n": 3})
    raw = np.stack([good, np.array(vector)])
    with pytest.raises(SpaceError, match=f"^{says}: NaN is not a value"):
        space.snap(raw)
