"""CMA-ES with margin as a member of the portfolio, through the `cmaes` library.

The evolution strategy (Hansen 2016, "The CMA evolution strategy: a tutorial") searches the numeric columns in the unit
cube; the margin (Hamano et al. 2022) keeps steps and ints from freezing. Categoricals, and what decides whether other
columns exist, are held at the values of the point the run starts from; when a better point with other values turns
up, the next run starts there. Results reach it as ranks, so failed and infeasible points need no invented scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genesis.search.cells import Cells
from genesis.types import FloatArray, IntArray

_MARGIN_CELLS = 64
_UNASKED, _ASKED, _DONE = 0, 1, 2


def free_columns(cells: Cells, row: FloatArray) -> IntArray:
    """The columns that a run from `row` moves: numeric, active, more than one value, deciding no other column."""
    parents = {group.parent for group in cells.groups}
    return np.array(
        [
            j
            for j in range(cells.d)
            if not cells.categorical[j] and not np.isnan(row[j]) and cells.count[j] != 1 and j not in parents
        ],
        dtype=np.int64,
    )


class CmaRun:
    """One run, asked in whole populations that are handed out point by point.

    Every population reseeds the library's generator from (seed, run, population), so a run is the same whether it
    went on or was restored between two populations or within one.
    """

    def __init__(
        self,
        cells: Cells,
        base: FloatArray,
        mean: FloatArray,
        spread: FloatArray,
        *,
        seed: int,
        number: int,
        size: int,
    ) -> None:
        self.cells = cells
        self.base = np.array(base, dtype=np.float64)
        self.seed = seed
        self.number = number
        self.size = size
        self.free = free_columns(cells, base)
        self.start = (np.array(mean), np.array(spread))
        self.population = 0
        self.best: tuple[int, float] = (9, 0.0)
        self.stale = 0
        self.cma = self._make()
        self._fill()

    def _scale(self) -> tuple[FloatArray, FloatArray]:
        """Bounds and steps in the run's coordinate: a grid column's cell / m, others their unit place."""
        count = self.cells.count[self.free]
        grid = (count > 0) & (count <= _MARGIN_CELLS) & ~self.cells.log[self.free]
        steps = np.where(grid, 1.0 / np.maximum(count, 1), 0.0)
        high = np.where(grid, 1.0 - steps, 1.0)
        return np.stack([np.zeros(len(self.free)), high], axis=1), steps

    def _make(self) -> Any:
        from cmaes import CMAwM

        bounds, steps = self._scale()
        mean, spread = self.start
        sigma = float(np.clip(np.sqrt(np.mean(spread**2)), 0.02, 0.3))
        ratio = np.clip((spread / sigma) ** 2, 0.1, 10.0)
        return CMAwM(
            mean=np.clip(mean - steps / 2, bounds[:, 0], bounds[:, 1]),
            sigma=sigma,
            bounds=bounds,
            steps=steps,
            cov=np.diag(ratio),
            population_size=self.size,
            seed=0,
            n_max_resampling=10,
        )

    def _fill(self) -> None:
        words = np.random.SeedSequence([self.seed & 0xFFFFFFFFFFFFFFFF, self.number, self.population, 5])
        self.cma.reseed_rng(int(words.generate_state(1)[0]))
        _, steps = self._scale()
        self.raw = np.empty((self.size, len(self.free)))
        self.points = np.tile(self.base, (self.size, 1))
        for i in range(self.size):
            shown, self.raw[i] = self.cma.ask()
            unit = np.clip(shown + steps / 2, 0.0, 1.0)
            whole = np.full((1, self.cells.d), np.nan)
            whole[0, self.free] = unit
            self.points[i, self.free] = self.cells.from_unit(whole)[0, self.free]
        self.status = np.zeros(self.size, dtype=np.int64)
        self.classes = np.zeros(self.size)
        self.losses = np.zeros(self.size)

    def waiting(self) -> IntArray:
        """Slots of the population not yet handed out."""
        return np.flatnonzero(self.status == _UNASKED)

    def asked(self, slot: int) -> None:
        """Note that a slot was handed out."""
        self.status[slot] = _ASKED

    def result(self, slot: int, kind: int, loss: float) -> None:
        """Take a slot's result; the last of a population updates the distribution."""
        self.status[slot] = _DONE
        self.classes[slot], self.losses[slot] = kind, loss
        if (self.status == _DONE).all():
            order = np.lexsort((self.losses, self.classes))
            rank = np.empty(self.size)
            rank[order] = np.arange(self.size)
            self.cma.tell([(self.raw[i], float(rank[i])) for i in range(self.size)])
            top = (int(self.classes[order[0]]), float(self.losses[order[0]]))
            self.stale = 0 if top < self.best else self.stale + 1
            self.best = min(self.best, top)
            self.population += 1
            self._fill()

    def reopen(self) -> None:
        """Forget that slots were handed out: their results were lost with the process that asked."""
        self.status[self.status == _ASKED] = _UNASKED

    @property
    def finished(self) -> bool:
        """No better point for a while, or a distribution too narrow to find one."""
        d = len(self.free)
        if self.stale > 10 + 30.0 * d / self.size:
            return True
        inner = self.cma._cma
        width = inner._sigma * np.sqrt(np.max(np.diag(inner._C)))
        return bool(width < 1e-7 or not np.isfinite(width))

    def state(self) -> dict[str, Any]:
        """Everything needed by `CmaRun.load`, as arrays and plain numbers."""
        out: dict[str, Any] = {
            "base": self.base, "mean": self.start[0], "spread": self.start[1], "number": self.number,
            "size": self.size, "population": self.population, "best": list(self.best), "stale": self.stale,
            "status": self.status, "classes": self.classes, "losses": self.losses, "raw": self.raw, "points": self.points,
        }  # fmt: skip
        for prefix, owner in (("o", self.cma), ("i", self.cma._cma)):
            for name, value in vars(owner).items():
                if isinstance(value, np.ndarray | float | int | np.floating | np.integer):
                    out[f"{prefix}:{name}"] = value
        return out

    @classmethod
    def load(cls, cells: Cells, seed: int, state: dict[str, Any]) -> CmaRun:
        """Rebuild a run from `state`."""
        run = cls(
            cells, state["base"], state["mean"], state["spread"], seed=seed, number=int(state["number"]),
            size=int(state["size"]),
        )  # fmt: skip
        for prefix, owner in (("o", run.cma), ("i", run.cma._cma)):
            for name, old in list(vars(owner).items()):
                if f"{prefix}:{name}" in state:
                    value = state[f"{prefix}:{name}"]
                    setattr(owner, name, np.array(value) if isinstance(old, np.ndarray) else value)
            if prefix == "i":
                owner._B = owner._D = None
                for name in ("_B", "_D"):
                    if f"i:{name}" in state:
                        setattr(owner, name, np.array(state[f"i:{name}"]))
        run.population, run.stale = int(state["population"]), int(state["stale"])
        run.best = (int(state["best"][0]), float(state["best"][1]))
        for name in ("status", "classes", "losses", "raw", "points"):
            setattr(run, name, np.array(state[name]))
        return run
