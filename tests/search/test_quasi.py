"""The quasi-random sequence is the same wherever it is read from, and in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from genesis.search import quasi


@pytest.mark.parametrize("d", [1, 20])
def test_stretches_in_any_order_are_the_sequences_own(d: int) -> None:
    """Forwards, backwards, across blocks and again after everything kept was forgotten."""
    whole = qmc.Sobol(d, scramble=True, rng=np.random.default_rng(3)).random(2_048)
    for first, count in [(0, 1), (1_100, 9), (250, 12), (2_040, 8), (8, 8), (511, 1_000), (0, 2_048)]:
        quasi._BLOCKS.clear()
        assert np.array_equal(quasi.sobol(d, count, seed=3, first=first), whole[first : first + count])
    quasi._SEQUENCES.clear()
    assert np.array_equal(quasi.sobol(d, 5, seed=3, first=700), whole[700:705])


def test_little_is_kept_of_many_sequences() -> None:
    """A new scramble for every attempt does not fill the memory."""
    for seed in range(100):
        quasi.sobol(2, 4, seed=seed, first=0)
    assert len(quasi._BLOCKS) <= 64
    assert len(quasi._SEQUENCES) <= 8
