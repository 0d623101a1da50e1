"""CMA-ES with margin as a member of the portfolio, through the `cmaes` library.

The evolution strategy (Hansen 2016, "The CMA evolution strategy: a tutorial") searches the numeric columns in the unit
cube; the margin (Hamano et al. 2022) keeps steps and ints from freezing. Categoricals, and what decides whether other
columns exist, are held at the values of the best point known when a population begins. A better point found by another
member takes the place of the worst of a population (Hansen 2011, "Injecting external solutions into CMA-ES"). Results
reach it as ranks, so failed and infeasible points need no invented scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genesis.search import margin
from genesis.search.cells import Cells
from genesis.types import FloatArray, IntArray

_MARGIN_CELLS = 64
_LOOK_BACK = 10  # populations
_NEGLIGIBLE = 1e-5
Rank = tuple[int, float]
WORST: Rank = (9, 0.0)


def free_columns(cells: Cells, row: FloatArray) -> IntArray:
    """The columns that a run from `row` moves: numeric, active, more than one value, deciding no other column."""
    return np.flatnonzero(cells.movable & ~np.isnan(row))


class CmaRun:
    """One run in whole populations, `points` [size, d] in model coordinates.

    A run is a function of how it began and of the results it is given: every population reseeds the library's generator
    from (seed, run, population), and nothing depends on when its points are asked for.
    """

    def __init__(
        self, cells: Cells, base: FloatArray, mean: FloatArray, spread: FloatArray, *, seed: int, number: int, size: int
    ) -> None:
        from cmaes import CMAwM

        self.cells = cells
        self.base = np.array(base, dtype=np.float64)
        self.seed = seed
        self.number = number
        self.size = size
        self.free = free_columns(cells, base)
        self.population = 0
        self.best: Rank = WORST
        self.stale = 0
        self._trace: list[Rank] = []
        count = cells.count[self.free]
        grid = (count > 0) & (count <= _MARGIN_CELLS) & ~cells.log[self.free]
        self.steps = np.where(grid, 1.0 / np.maximum(count, 1), 0.0)  # a grid column's coordinate is cell / m
        bounds = np.stack([np.zeros(len(self.free)), 1.0 - self.steps], axis=1)
        sigma = float(np.clip(np.sqrt(np.mean(spread**2)), 0.01, 0.35))
        self.cma: Any = CMAwM(
            mean=np.clip(mean - self.steps / 2, bounds[:, 0], bounds[:, 1]),
            sigma=sigma,
            bounds=bounds,
            steps=self.steps,
            cov=np.diag(np.clip((spread / sigma) ** 2, 0.1, 10.0)),
            population_size=size,
            seed=0,
            n_max_resampling=margin.TRIES,
        )
        self._fill()

    def _fill(self) -> None:
        words = np.random.SeedSequence([self.seed & 0xFFFFFFFFFFFFFFFF, self.number, self.population, 5])
        self.cma.reseed_rng(int(words.generate_state(1)[0]))
        self.raw, shown = margin.ask(self.cma, self.size, self.steps)
        whole = np.full((self.size, self.cells.d), 0.5)
        whole[:, self.free] = np.minimum(np.maximum(shown + self.steps / 2, 0.0), 1.0)
        self.points = np.tile(self.base, (self.size, 1))
        self.points[:, self.free] = self.cells.from_unit(whole)[:, self.free]
        self.done = np.zeros(self.size, dtype=np.bool_)
        self.ranks: list[Rank] = [WORST] * self.size

    def rebase(self, row: FloatArray) -> None:
        """Hold the other columns at those of `row` from the next population on, if the same columns stay free."""
        if np.array_equal(free_columns(self.cells, row), self.free):
            self.base = np.array(row, dtype=np.float64)

    def result(self, slot: int, rank: Rank, outside: tuple[Rank, FloatArray] | None) -> bool:
        """Take a slot's result; True when it completed the population, which then moves on.

        `outside` is the best point (rank, model coordinates) that others found while the population ran.
        """
        self.done[slot] = True
        self.ranks[slot] = rank
        if not self.done.all():
            return False
        raw, ranks = self.raw.copy(), list(self.ranks)
        order = sorted(range(self.size), key=lambda i: ranks[i])
        if outside is not None and outside[0] < ranks[order[self.size // 4]]:
            raw[order[-1]] = self._inject(outside[1])
            ranks[order[-1]] = outside[0]
            order = sorted(range(self.size), key=lambda i: ranks[i])
        place = np.empty(self.size)
        place[order] = np.arange(self.size)
        margin.tell(self.cma, raw, place, self.steps)
        self.stale = 0 if ranks[order[0]] < self.best else self.stale + 1
        self.best = min(self.best, ranks[order[0]])
        self._trace = [*self._trace[-_LOOK_BACK:], self.best]
        self.population += 1
        return True

    def go_on(self) -> None:
        """Draw the next population."""
        self._fill()

    def _inject(self, row: FloatArray) -> FloatArray:
        """A foreign point, pulled towards the mean to a length that a sample of the distribution could have."""
        target = self.cells.unit(row[None, :])[0, self.free] - self.steps / 2
        inner = self.cma._cma
        mean = np.asarray(inner._mean)
        shift = (np.where(np.isnan(target), mean, target) - mean) / inner._sigma
        length = float(np.sqrt(max(shift @ np.linalg.solve(inner._C, shift), 0.0)))
        d = len(self.free)
        longest = np.sqrt(d) + 2.0 * d / (d + 2.0)
        return np.asarray(mean + inner._sigma * shift * min(1.0, longest / max(length, 1e-300)))

    def finished(self, scale: float) -> bool:
        """Nothing better for a while, next to nothing on the `scale` of the losses, or too narrow to find anything."""
        if self.stale > 10 + 10.0 * len(self.free) / self.size:
            return True
        if len(self._trace) > _LOOK_BACK:
            (old, before), (new, now) = self._trace[0], self._trace[-1]
            if old == new and before - now <= _NEGLIGIBLE * scale:
                return True
        inner = self.cma._cma
        width = inner._sigma * np.sqrt(np.max(np.diag(inner._C)))
        return bool(width < 1e-7 or not np.isfinite(width))
