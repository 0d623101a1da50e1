"""Plateau or spike: a hill is one, a needle is the other, and cells pool what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis.report.plateau import cells, cut, distances, find_plateau
from genesis.report.tables import Axis, Ledger
from genesis.search.space import Space
from genesis.search.steps import StepGrid

Maker = Callable[..., Ledger]


def _one_axis(ledger: Ledger) -> Ledger:
    return replace(ledger, axes=ledger.axes[:1], vectors=ledger.vectors[:, :1])


def test_a_broad_hill_is_a_plateau(ledger_of: Maker) -> None:
    """Neighbours within a tenth of the range keep most of the best score."""
    found = find_plateau(_one_axis(ledger_of(500, noise=0.0)))
    assert found.kind == "plateau"
    assert found.kept > 0.8
    assert "plateau" in found.sentence()


def test_a_needle_is_a_spike(ledger_of: Maker) -> None:
    """One lucky trial among mediocre neighbours is a spike."""
    ledger = ledger_of(500)
    scores = np.full(500, 0.1) + 0.01 * np.random.default_rng(1).standard_normal(500)
    scores[123] = 3.0
    found = find_plateau(_one_axis(replace(ledger, scores=scores, violation=np.zeros(500))))
    assert found.kind == "spike"
    assert found.best == 3.0


@pytest.mark.parametrize("count", [0, 3, 15])
def test_few_trials_cannot_tell(ledger_of: Maker, count: int) -> None:
    """Below sixteen scored trials nothing is claimed."""
    assert find_plateau(ledger_of(count)).kind == "unknown"


def test_distance_counts_choices_and_inactive_as_far() -> None:
    """Another choice is a whole range away; both inactive is no distance."""
    axes = (Axis("x", "float", 0.0, 10.0), Axis("kind", "categorical", 0, 1, choices=("a", "b")))
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [np.nan, 0.0]])
    np.testing.assert_allclose(distances(axes, vectors, vectors[0]), [0.0, 0.1, 1.0, 1.0])
    np.testing.assert_allclose(distances(axes, vectors, vectors[3])[3], 0.0)


def test_neighbourhood_pools_trials() -> None:
    """The plateau view of a cell is the median of all trials in 3 x 3 cells, not a median of medians."""
    axis = Axis("n", "int", 0.0, 2.0)
    x, y = np.array([0.0, 1.0, 1.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0, 1.0, 2.0])
    single, wide, labels, _ = cells(axis, axis, x, y, np.array([10.0, 1.0, 2.0, 3.0, 20.0]))
    assert labels == ["0", "1", "2"]
    assert single[1, 1] == 2.0
    assert wide[1, 1] == 3.0
    assert np.isnan(single[0, 2])


def test_a_narrowed_search_is_measured_against_random_points(ledger_of: Maker) -> None:
    """Trials crowded on the hill by the sampler do not turn a plateau into a spike."""
    ledger = _one_axis(ledger_of(100, noise=0.0))
    crowd = np.random.default_rng(2).uniform(4.0, 6.0, 900)
    scores = np.concatenate([ledger.scores, np.exp(-((crowd - 5.0) ** 2) / 4.0)])
    narrowed = replace(
        ledger,
        numbers=np.arange(1_000),
        scores=scores,
        states=["complete"] * 1_000,
        violation=np.zeros(1_000),
        vectors=np.concatenate([ledger.vectors, crowd[:, None]]),
        hashes=[None] * 1_000,
        metrics={},
        origins=["startup"] * 100 + ["tpe"] * 900,
    )
    found = find_plateau(narrowed)
    assert found.kind == "plateau"
    assert found.overall == pytest.approx(np.median(ledger.scores))


def test_cells_of_a_short_grid_are_its_values() -> None:
    """Every grid value is a cell of its own, named as it is typed, tried or not."""
    tenths = Axis("x", "float", 0.25, 0.45, steps=StepGrid(0.25, 0.45, 0.01))
    found = cut(tenths, np.array([0.25, 0.35, 0.45, 0.35]))
    assert found.labels == [f"{0.25 + 0.01 * k:.2f}".rstrip("0") for k in range(21)]
    assert found.index.tolist() == [0, 10, 20, 10]
    assert found.middles.tolist() == [float(label) for label in found.labels]


def test_the_axis_of_a_study_knows_its_grid() -> None:
    """A step of the study file becomes cells that can be typed, also where six digits are not enough."""
    column = Space.from_spec({"x": {"type": "float", "low": 1.0, "high": 1.0000002, "step": 1e-7}}).columns[0]
    assert cut(Axis.of(column), np.array([1.0])).labels == ["1", "1.0000001", "1.0000002"]


def test_joined_cells_name_the_values_they_join() -> None:
    """Fifty-six whole numbers in twelve cells: the first and last of each, four or five in each, none missing."""
    found = cut(Axis("n", "int", 5.0, 60.0), np.arange(5.0, 61.0))
    ends = [tuple(map(int, label.split(" to "))) for label in found.labels]
    assert ends[0] == (5, 8)
    assert ends[-1][1] == 60
    assert [low for low, _ in ends[1:]] == [high + 1 for _, high in ends[:-1]]
    assert set(np.bincount(found.index).tolist()) == {4, 5}


@given(st.integers(1, 500), st.integers(25, 3_000), st.sampled_from([1.0, 0.25, 0.1, 7.0]), st.booleans(), st.data())
def test_every_grid_value_lies_in_the_cell_that_names_it(
    first: int, count: int, step: float, log: bool, data: st.DataObject
) -> None:
    """The cells part the grid: each value is between the ends of its own cell's name, and the ends are grid values."""
    steps = StepGrid(first * step, first * step + (count - 1) * step, step)
    axis = Axis("x", "float", steps.low, steps.high, log=log, steps=steps)
    positions = data.draw(st.lists(st.integers(0, steps.count - 1), min_size=13, max_size=40, unique=True))
    values = steps.values(np.array(positions))
    found = cut(axis, values)
    assert len(set(found.labels)) == len(found.labels) <= 12
    assert (np.diff(found.middles) > 0.0).all()
    for value, index in zip(values.tolist(), found.index.tolist(), strict=True):
        ends = [float(end) for end in found.labels[index].split(" to ")]
        assert ends[0] <= value <= ends[-1]
        assert all(steps.on(end) for end in ends)


def test_cells_of_a_continuous_range_say_what_they_cover() -> None:
    """Twelve equal parts named by their ends, with enough digits to differ."""
    found = cut(Axis("x", "float", 1_000.0, 1_000.012), np.linspace(1_000.0, 1_000.012, 50))
    assert found.labels[0] == "1000 to 1000.001"
    assert len(set(found.labels)) == 12
    assert found.index[[0, -1]].tolist() == [0, 11]
