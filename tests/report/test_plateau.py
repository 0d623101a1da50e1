"""Plateau or spike: a hill is one, a needle is the other, and cells pool what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from genesis.report.plateau import cells, distances, find_plateau
from genesis.report.tables import Axis, Ledger

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
