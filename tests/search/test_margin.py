"""A population asked and told at once is what the library gives and takes point by point, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cmaes import CMAwM

from genesis.search import margin


def strategy(values: np.ndarray, size: int, mean: np.ndarray, spread: np.ndarray) -> tuple[Any, np.ndarray]:
    """A strategy over columns of so many values each (0: continuous), begun as a `CmaRun` begins one."""
    steps = np.where(values > 0, 1.0 / np.maximum(values, 1), 0.0)
    bounds = np.stack([np.zeros(len(steps)), 1.0 - steps], axis=1)
    made = CMAwM(
        mean=np.clip(mean - steps / 2, bounds[:, 0], bounds[:, 1]), sigma=0.3, bounds=bounds, steps=steps,
        cov=np.diag(spread), population_size=size, seed=0, n_max_resampling=margin.TRIES,
    )  # fmt: skip
    return made, steps


def state(one: Any) -> list[bytes]:
    """All that the next population depends on."""
    inner = one._cma
    arrays = [inner._mean, inner._C, inner._pc, inner._p_sigma, np.array(inner._sigma)]
    return [array.tobytes() for array in [*arrays, *([one._A] if hasattr(one, "_A") else [])]]


@pytest.mark.parametrize("seed", range(12))
def test_a_population_at_once_is_the_librarys(seed: int) -> None:
    """Points, what is shown of them and the strategy after each of 25 populations, with optima outside the box too."""
    rng = np.random.default_rng(seed)
    d, size = int(rng.integers(1, 20)), int(rng.integers(5, 18))
    values = rng.integers(2, 65, d) * (rng.random(d) < rng.choice([0.0, 0.5, 0.8, 1.0]))
    mean, spread, optimum = rng.random(d), rng.uniform(0.1, 10.0, d), rng.uniform(-0.2, 1.2, d)
    theirs, steps = strategy(values, size, mean, spread)
    ours, _ = strategy(values, size, mean, spread)
    for population in range(25):
        theirs.reseed_rng(population)
        ours.reseed_rng(population)
        asked = [theirs.ask() for _ in range(size)]
        raw, shown = margin.ask(ours, size, steps)
        assert np.array([one for _, one in asked]).tobytes() == raw.tobytes()
        assert np.array_equal(np.array([one for one, _ in asked]), shown)
        losses = ((shown - optimum) ** 2).sum(axis=1)
        theirs.tell([(raw[i], float(losses[i])) for i in range(size)])
        margin.tell(ours, raw, losses, steps)
        assert state(ours) == state(theirs)


@pytest.mark.parametrize("count", range(2, 65))
def test_values_and_their_middles_are_shown_as_the_library_shows_them(count: int) -> None:
    """At, between and beside the values of a column in steps, whatever their number."""
    made, steps = strategy(np.array([count]), 6, np.array([0.5]), np.ones(1))
    places = np.arange(2 * count + 1) / (2 * count) - 0.25 / count
    places = np.concatenate([places, np.arange(2 * count + 1) / (2 * count), np.arange(count) * steps, [-3.0, 7.0]])
    for place in np.concatenate([places, np.nextafter(places, 9.0), np.nextafter(places, -9.0)]):
        theirs = made._encode_discrete_params(np.array([place]))
        moved = (np.array([place]) - made._cma._mean) * made._A + made._cma._mean
        assert theirs[0] == margin.nearest(moved[0], steps[0]) * steps[0]
