"""The duplicate warning: when it speaks, what it names, what it advises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.diagnose.duplicates import diagnose_duplicates, expected_duplicates, spreads
from genesis.search.space import Space

SMALL = Space.from_spec(
    {"fast": {"type": "int", "low": 1, "high": 10}, "stop": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}}
)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(0, 400))
def test_expected_duplicates_is_what_draws_give(size: int, budget: int) -> None:
    """The formula agrees with random draws within their spread."""
    generator = np.random.default_rng(size * 1_000 + budget)
    drawn = [budget - len(np.unique(generator.integers(0, size, budget))) for _ in range(200)]
    assert abs(expected_duplicates(size, budget) - np.mean(drawn)) < 1.0 + 0.5 * np.std(drawn)


def test_unbounded_spaces_expect_none() -> None:
    """A continuous parameter never repeats by chance."""
    assert expected_duplicates(None, 10_000) == 0.0


def _vectors(count: int) -> np.ndarray:
    return SMALL.snap(np.column_stack([np.full(count, 3.0), np.linspace(0.0, 1.0, count)]))


@pytest.mark.parametrize("repeats", [0, 30, 100])
def test_half_is_not_yet_a_warning(repeats: int) -> None:
    """At or below half of all proposals nothing is said."""
    found = diagnose_duplicates(
        SMALL, _vectors(100), trials=100, duplicates={"stored": repeats}, concurrency=2, budget=100
    )
    assert found is None


def test_names_the_collapsed_parameter_and_mends_it() -> None:
    """Above half: how many, by cause, which parameter takes few values, what to change in this study."""
    found = diagnose_duplicates(
        SMALL, _vectors(100), trials=100, duplicates={"stored": 90, "claimed": 15}, concurrency=32, budget=500
    )
    assert found is not None
    assert found.what.startswith("105 of 205 proposals (51%)")
    assert "stored: 90" in found.what
    assert "fast takes about 1.0 values of 10" in found.why
    assert "max_trials to at most 110" in found.edit
    assert "stop (step 0.1 -> 0.05)" in found.edit
    assert "max_concurrent from 32 to 2" in found.edit


def test_spread_counts_effective_values() -> None:
    """A parameter that takes two values equally often uses two; the most collapsed comes first."""
    values = np.column_stack([np.tile([1.0, 2.0], 50), np.tile(np.arange(10) / 10, 10)])
    found = spreads(SMALL, values)
    assert [spread.path for spread in found] == ["fast", "stop"]
    assert found[0].used == pytest.approx(2.0)
    assert found[0].distinct == 2
