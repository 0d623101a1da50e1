"""A stepped range is exact: every answer is one of its decimal points, and the nearest."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genesis.search.steps import STEP_DECIMALS, StepGrid, dividing_step, step_decimals

STEPS = st.one_of(
    st.sampled_from([1e-05, 0.30000000000000004, 2.5e-3, 0.1, 0.01, 0.3, 1.0, 7.0, 1e-9, 1.1e-7, 250.0]),
    st.decimals(min_value="0.000001", max_value="100", places=6).map(float),
    st.floats(min_value=1e-6, max_value=1e3),
)
LOWS = st.one_of(
    st.sampled_from([0.0, -1.0, 0.1, 0.25, 1e-05, -0.30000000000000004, 1234.5]),
    st.decimals(min_value="-1000", max_value="1000", places=4).map(float),
    st.floats(min_value=-1e3, max_value=1e3),
)


def decimal_of(value: float) -> Fraction:
    return Fraction(Decimal(repr(value)))


@st.composite
def grids(draw: st.DrawFn) -> StepGrid:
    low, step, count = draw(LOWS), draw(STEPS), draw(st.integers(1, 3_000))
    rest = draw(st.sampled_from([0.0, 0.0, 0.4]))
    high = float(decimal_of(low) + (count - 1 + Fraction(rest)) * decimal_of(step))
    assume(low < high < 1e6)
    return StepGrid(low, high, step)


@given(grids(), st.data())
@settings(max_examples=150, deadline=None)
def test_the_nearest_point_is_nearest_in_exact_arithmetic(grid: StepGrid, data: st.DataObject) -> None:
    x = data.draw(
        st.one_of(
            st.floats(grid.low - 3 * grid.step, grid.high + 3 * grid.step),
            st.integers(0, grid.count - 1).map(lambda k: grid.low + k * grid.step),
            st.integers(0, grid.count - 1).map(lambda k: grid.low + (k + 0.5) * grid.step),
            st.floats(allow_nan=False, allow_infinity=False),
        )
    )
    k = grid.nearest(x)
    low, step, exact = decimal_of(grid.low), decimal_of(grid.step), Fraction(x)
    assert 0 <= k < grid.count
    distance = abs(low + k * step - exact)
    for other in (k - 1, k + 1):
        if 0 <= other < grid.count:
            gap = abs(low + other * step - exact)
            assert distance < gap or (distance == gap and k % 2 == 0)
    assert grid.value(k) == float(low + k * step)


@given(grids(), st.lists(st.floats(allow_nan=False), max_size=20), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_many_points_are_snapped_to_the_same_bits_as_one(grid: StepGrid, extra: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = rng.integers(0, grid.count, 20)
    ties = grid.low + (k + 0.5) * grid.step
    x = np.concatenate([rng.uniform(grid.low - grid.step, grid.high + grid.step, 20), ties, ties - 1e-12, extra])
    many = grid.nearest_many(x)
    assert many.tolist() == [grid.nearest(one) for one in x.tolist()]
    assert grid.values(many).tolist() == [grid.value(one) for one in many.tolist()]


@given(grids(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_point_is_on_its_grid_and_its_float_neighbours_are_not(grid: StepGrid, data: st.DataObject) -> None:
    assume(not grid.collapses)
    value = grid.value(data.draw(st.integers(0, grid.count - 1)))
    assert grid.on(value)
    assert grid.nearest(value) == grid.nearest_many(np.array([value]))[0]
    assert grid.value(grid.nearest(value)) == value
    beside = float(np.nextafter(value, np.inf))
    assert not grid.on(beside) or beside in [grid.value(k) for k in range(grid.count)]


@pytest.mark.parametrize(
    ("step", "places"),
    [(1e-05, 5), (0.30000000000000004, 17), (2.5e-3, 4), (0.001, 3), (0.5, 1), (1.0, 0), (100.0, 0), (1e22, 0), (3, 0)],
)
def test_decimals_are_those_of_the_shortest_writing(step: float, places: int) -> None:
    assert step_decimals(step) == places
    assert step_decimals(step) == places  # remembered, and the same


def test_the_decimals_known_beforehand_are_right() -> None:
    assert {0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 1e-05, 2.5e-3} <= set(STEP_DECIMALS)
    for step, places in STEP_DECIMALS.items():
        exponent = Decimal(repr(step)).normalize().as_tuple().exponent
        assert places == max(0, -exponent), step


@pytest.mark.parametrize(
    ("low", "high", "step", "whole", "better"),
    [
        (1.0, 2.0, 0.3, False, 0.25),
        (0.0, 1.0, 0.4, False, 0.5),
        (0.0, 7.0, 3.0, False, 3.5),
        (5, 60, 7, True, 5),
        (0.25, 0.44, 0.03, False, 0.038),
    ],
)
def test_the_offered_step_divides(low: float, high: float, step: float, whole: bool, better: float) -> None:
    assert dividing_step(low, high, step, whole=whole) == better
    assert StepGrid(low, high, better).divides


@pytest.mark.parametrize(
    ("low", "high", "step", "count", "last", "divides"),
    [
        (0.25, 0.45, 0.01, 21, 0.45, True),
        (0.0, 1.0, 0.3, 4, 0.9, False),
        (0.0, 0.9, 0.30000000000000004, 3, 0.6000000000000001, False),
        (-2.0, -1.4, 0.30000000000000004, 3, -1.4, True),
        (1e-05, 1e-03, 1e-05, 100, 0.001, True),
        (-0.3, 0.3, 0.1, 7, 0.3, True),
        (5, 60, 1, 56, 60, True),
    ],
)
def test_counts_and_ends_by_hand(low: float, high: float, step: float, count: int, last: float, divides: bool) -> None:
    grid = StepGrid(low, high, step)
    assert (grid.count, grid.high, grid.divides) == (count, last, divides)
    assert len({grid.value(k) for k in range(count)}) == count


def test_a_step_below_the_spacing_of_floats_collapses() -> None:
    assert StepGrid(1e9, 1e9 + 1, 1e-8).collapses
    assert not StepGrid(0.0, 1.0, 1e-8).collapses


def test_nan_has_no_nearest_point() -> None:
    with pytest.raises(ValueError, match="NaN"):
        StepGrid(0.0, 1.0, 0.1).nearest(float("nan"))
