"""Exhaustive search: every point of a finite space once, in grid order or in a seeded shuffle of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genesis.errors import ConfigError
from genesis.search.cells import SpaceLike
from genesis.search.proposals import Proposals
from genesis.types import FloatArray

MOST_POINTS = 2_000_000


class GridSampler:
    """`grid` walks the space in its own order, `brute` in an order shuffled by the seed; both stop when it is used up.

    Where the walk stands is told by the history: points that were told, or asked and not yet told, are not asked again.
    """

    def __init__(self, space: Any, *, seed: int, shuffle: bool) -> None:
        self.name = "brute" if shuffle else "grid"
        if space.size is None or space.size > MOST_POINTS:
            size = "endless" if space.size is None else f"{space.size:,} points"
            raise ConfigError(
                f"sampler {self.name}: the space is {size}, at most {MOST_POINTS:,} are walked; "
                "give every float a step, coarsen the steps, or use sampler: auto"
            )
        self.space: SpaceLike = space
        self.points = grid_vectors(space)
        order = np.random.default_rng(seed).permutation(len(self.points)) if shuffle else np.arange(len(self.points))
        self.points = self.points[order]
        self._index = {point.tobytes(): i for i, point in enumerate(self.points)}
        self._done = np.zeros(len(self.points), dtype=np.bool_)
        self._next = 0

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """The next points not yet visited; fewer than `count` at the end of the grid."""
        del generation, attempt
        taken: list[int] = []
        while len(taken) < count and self._next < len(self.points):
            if not self._done[self._next]:
                self._done[self._next] = True
                taken.append(self._next)
            self._next += 1
        return Proposals(self.points[taken], [self.name] * len(taken))

    def tell(self, vectors: FloatArray, scores: Any, violations: Any, states: Any, origins: Sequence[str]) -> None:
        """Mark points as visited."""
        del scores, violations, states, origins
        for vector in np.asarray(vectors, dtype=np.float64).reshape(-1, self.points.shape[1]):
            at = self._index.get(vector.tobytes())
            if at is not None:
                self._done[at] = True


def grid_vectors(space: Any) -> FloatArray:
    """Every point of a finite space, float64[n, d] in grid order, inactive columns NaN."""
    points = list(space.grid(MOST_POINTS))
    d = len(space.columns)
    return np.ascontiguousarray(points).reshape(len(points), d) if points else np.empty((0, d))
