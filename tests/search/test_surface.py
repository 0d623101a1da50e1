"""A quadratic surface finds the bottom of a bowl, and says nothing where there is none to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genesis.search.cells import Cells
from genesis.search.space import Space
from genesis.search.surface import bottom, lowest, wanted_points


def _bowl(points: np.ndarray, centre: np.ndarray, bend: np.ndarray) -> np.ndarray:
    gap = points - centre
    value: np.ndarray = np.einsum("ij,jk,ik->i", gap, bend, gap)
    return value


def _sorted(points: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(losses, kind="stable")
    return points[order], losses[order]


@settings(max_examples=40, deadline=None)
@given(d=st.integers(1, 13), seed=st.integers(0, 10_000))
def test_a_turned_bowls_bottom_is_found(d: int, seed: int) -> None:
    """Of any convex quadratic whose bottom is within reach, the bottom; twice as many points as coefficients."""
    rng = np.random.default_rng(seed)
    turn = rng.standard_normal((d, d))
    bend = turn @ turn.T + np.eye(d)
    centre = rng.uniform(0.4, 0.6, d)
    points = np.clip(centre + rng.uniform(-0.2, 0.2, (wanted_points(d), d)), 0.0, 1.0)
    points, losses = _sorted(points, _bowl(points, centre, bend))
    assume(np.sqrt(np.mean(((centre - points[0]) / points.std(axis=0)) ** 2)) < 2.0)
    found = lowest(points, losses, points.std(axis=0))
    assert found == pytest.approx(centre, abs=1e-3)


def test_many_columns_are_not_crossed() -> None:
    """With twenty columns a plain bowl is found from 82 points."""
    rng = np.random.default_rng(1)
    centre = rng.uniform(0.4, 0.6, 20)
    points = np.clip(centre + rng.uniform(-0.2, 0.2, (82, 20)), 0.0, 1.0)
    assert wanted_points(20) == 82
    points, losses = _sorted(points, _bowl(points, centre, np.eye(20)))
    assert lowest(points, losses, points.std(axis=0)) == pytest.approx(centre, abs=1e-3)


def test_the_step_is_bounded_and_downhill() -> None:
    """On a slope, and on a hilltop, it goes down and stays in the cube, at most two spreads from the best point."""
    points = np.random.default_rng(2).uniform(0.3, 0.5, (60, 3))
    slope = points.sum(axis=1)
    for losses in (slope, -((points - 0.4) ** 2).sum(axis=1)):
        rows, values = _sorted(points, losses)
        found = lowest(rows, values, rows.std(axis=0))
        assert found is not None
        assert ((found >= 0.0) & (found <= 1.0)).all()
        step = (found - rows[0]) / points.std(axis=0)
        assert np.sqrt((step**2).mean()) <= 2.0 + 1e-9
    rows, values = _sorted(points, slope)
    found = lowest(rows, values, rows.std(axis=0))
    assert found is not None
    assert found.sum() < rows[0].sum()


@pytest.mark.parametrize(
    ("n", "losses"),
    [(3, np.arange(3.0)), (40, np.zeros(40)), (40, 1.7e308 * np.linspace(-1.0, 1.0, 40))],
    ids=["too few", "flat", "huge"],
)
def test_without_a_surface_there_is_no_bottom(n: int, losses: np.ndarray) -> None:
    """Too few points or equal losses give none; losses at the end of the range give a place or none, no warning."""
    points = np.random.default_rng(3).random((n, 2))
    found = lowest(points, losses, points.std(axis=0))
    assert found is None if n == 3 or not losses.any() else found is None or np.isfinite(found).all()


def test_the_near_points_lie_in_one_bowl() -> None:
    """Of two bowls those points say where the bottom is that are nearest to the best; the best of both mislead."""
    cells = Cells(Space.from_spec({k: {"type": "float", "low": 0.0, "high": 1.0} for k in "xy"}).columns)
    here, there = np.array([0.3, 0.35]), np.array([0.8, 0.7])
    points = np.concatenate([c + np.random.default_rng(7).uniform(-0.1, 0.1, (18, 2)) for c in (here, there)])
    losses = np.minimum(((points - here) ** 2).sum(axis=1), ((points - there) ** 2).sum(axis=1) + 1e-3)
    points, losses = _sorted(points, losses)
    near, best = bottom(cells, points, losses, near=True), bottom(cells, points, losses, near=False)
    assert near is not None
    assert best is not None
    assert near.place == pytest.approx(here, abs=1e-3)
    assert np.abs(best.place - here).max() > 0.01


def test_points_around_a_bottom() -> None:
    """The first is the bottom itself; the others are in the space, and some have another choice, never of a parent."""
    space = Space.from_spec(
        {
            "a": {"type": "float", "low": 0.0, "high": 1.0},
            "b": {"type": "int", "low": 0, "high": 20},
            "kind": {"type": "categorical", "choices": ["p", "q", "r"]},
            "parent": {"type": "categorical", "choices": [0, 1]},
            "x": {"type": "float", "low": 0.0, "high": 1.0, "when": {"parent": 1}},
        }
    )
    cells = Cells(space.columns)
    rows = cells.close(cells.from_unit(np.random.default_rng(4).random((80, 5))))
    rows[:, 3] = 1
    rows[:, 4] = np.random.default_rng(5).random(80)
    losses = (rows[:, 0] - 0.3) ** 2 + ((rows[:, 1] - 12) / 20) ** 2 + (rows[:, 4] - 0.7) ** 2
    order = np.argsort(losses)
    found = bottom(cells, rows[order], losses[order], near=False)
    assert found is not None
    values = cells.values(found.points(30, np.random.default_rng(6), exact=True))
    assert values[0, 0] == pytest.approx(0.3, abs=0.02)
    assert values[0, 1] == 12
    assert values[0, 4] == pytest.approx(0.7, abs=0.02)
    assert np.array_equal(values, space.snap(values))
    assert len(set(values[:, 2])) == 3
    assert set(values[:, 3]) == {1.0}


def test_no_points_no_bottom() -> None:
    """Before anything feasible is known there is nothing to fit."""
    cells = Cells(Space.from_spec({"a": {"type": "float", "low": 0.0, "high": 1.0}}).columns)
    assert bottom(cells, np.zeros((0, 1)), np.zeros(0), near=False) is None
