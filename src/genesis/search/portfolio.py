"""`auto`: several searches on one shared history, each given the share of trials that its finds have earned.

Members: the Parzen estimator, CMA-ES with margin, local search around the best, and a trickle of quasi-random points.
A member earns by points that enter the best 25 known, more by a new best; earnings fade, so the shares follow the
phase of the search. All members see all results, whoever asked for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from genesis.errors import CorruptStoreError
from genesis.search.cells import Cells, SpaceLike
from genesis.search.cma import CmaRun, free_columns
from genesis.search.local import neighbours
from genesis.search.proposals import Proposals, rank_classes
from genesis.search.quasi import quasi_points
from genesis.search.tpe import TpeOptions, TpeSampler
from genesis.types import FloatArray, Int8Array

ARMS = ("tpe", "cma", "local", "random")
_FLOOR = (0.10, 0.10, 0.05, 0.01)
_FADE = 0.97
_NEW_BEST = 1.0
_ENTERS = 0.15
_PRIOR = (0.30, 0.30, 0.10, 0.0)


class PortfolioSampler:
    """The batch face of the portfolio; `snapshot` carries the evolution strategy and the earnings."""

    name = "auto"

    def __init__(
        self, space: SpaceLike, *, seed: int, options: TpeOptions, concurrency: int = 1, budget: int = 1000
    ) -> None:
        self.space = space
        self.seed = seed
        self.concurrency = concurrency
        self.budget = budget
        self.options = options
        self.cells = Cells(space.columns)
        self.tpe = TpeSampler(space, seed=seed, options=options, concurrency=concurrency)
        self.model = self.tpe.model
        self.earned = np.array(_PRIOR)
        self.run: CmaRun | None = None
        self.runs = 0
        self._open: dict[bytes, list[int]] = {}
        self._known: dict[bytes, tuple[int, float]] = {}
        self._log: list[tuple[FloatArray, Int8Array, FloatArray, list[str]]] = []

    # -- asking ---------------------------------------------------------------------------------------------------

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """Divide the generation among the members by their earnings."""
        if self.model.n < self.options.n_startup_trials or self.cells.d == 0:
            return self.tpe.ask(count, generation, attempt)
        rng = np.random.default_rng([self.seed & 0xFFFFFFFFFFFFFFFF, generation, attempt, 7])
        arms = self._divide(count, rng)
        points = self._from_cma(int((arms == 1).sum()))
        origins = ["cma"] * len(points)
        wanted_local = int((arms == 2).sum())
        if wanted_local:
            points += list(self._from_local(wanted_local, rng))
            origins += ["local"] * wanted_local
        wanted_random = int((arms == 3).sum())
        if wanted_random:
            first = 1_000_003 + generation * max(count, self.concurrency)
            points += list(
                quasi_points(self.space, self.cells, wanted_random, seed=self.seed, first=first, attempt=attempt)
            )
            origins += ["random"] * wanted_random
        for vector in points:
            self.tpe.open(vector)
        rest = count - len(points)
        if rest:
            drawn = self.space.snap(self.cells.values(self.tpe.propose(rest, generation, attempt)))
            for vector in drawn:
                self.tpe.open(vector)
            points += list(drawn)
            origins += ["tpe"] * rest
        return Proposals(np.array(points).reshape(count, self.cells.d), origins)

    def shares(self) -> FloatArray:
        """Each member's share of the next generation, in the order of `ARMS`."""
        weight = np.maximum(self.earned, 1e-3) ** 1.5
        weight[3] = 0.0
        free = 1.0 - sum(_FLOOR)
        return np.array(_FLOOR) + free * weight / weight.sum()

    def _divide(self, count: int, rng: np.random.Generator) -> Any:
        """Systematic sampling: every member gets its share of `count`, rounded up or down by one draw."""
        edges = np.cumsum(self.shares())
        places = (rng.random() + np.arange(count)) / count
        return np.minimum(np.searchsorted(edges, places, side="right"), len(ARMS) - 1)

    def _from_cma(self, count: int) -> list[FloatArray]:
        out: list[FloatArray] = []
        tries = 0
        while len(out) < count and tries < 4:
            tries += 1
            if self.run is None or self.run.finished:
                self.run = self._start()
                self._open.clear()
                if self.run is None:
                    return out
            run = self.run
            population = run.population
            for slot in run.waiting():
                if len(out) == count:
                    return out
                vector = np.asarray(self.space.snap(self.cells.values(run.points[slot : slot + 1])))[0]
                key = vector.tobytes()
                if key in self._known:  # its result is known: no trial is spent on it
                    run.result(int(slot), *self._known[key])
                elif len(self.space.rules) and not self.space.allowed(vector[None, :])[0]:
                    run.result(int(slot), 5, 0.0)
                else:
                    run.asked(int(slot))
                    self._open.setdefault(key, []).append(int(slot))
                    out.append(vector)
                if run.population != population:
                    break
            if run.population == population:
                return out
        return out

    def _start(self) -> CmaRun | None:
        """A run from the good points; every second restart is wide, with a larger population."""
        order = self._good_order()
        if not len(order):
            return None
        rows = self.model.rows[order]
        base = rows[0]
        free = free_columns(self.cells, base)
        if not len(free):
            return None
        unit = self.cells.unit(rows)[:, free]
        whole = ~np.isnan(unit).any(axis=1)
        unit = unit[whole]
        size = max(4 + int(3 * np.log(len(free))), min(self.concurrency, 64))
        wide = self.runs % 2 == 1
        if wide:
            size *= 2 ** min(1 + self.runs // 2, 3)
            rng = np.random.default_rng([self.seed & 0xFFFFFFFFFFFFFFFF, self.runs, 11])
            mean, spread = rng.uniform(0.2, 0.8, len(free)), np.full(len(free), 0.25)
        else:
            mean = unit.mean(axis=0)
            spread = np.maximum(unit.std(axis=0), 0.02)
        self.runs += 1
        return CmaRun(self.cells, base, mean, spread, seed=self.seed, number=self.runs, size=size)

    def _good_order(self) -> Any:
        return np.array([number for _, _, number in self.model.best], dtype=np.int64)

    def _from_local(self, count: int, rng: np.random.Generator) -> FloatArray:
        rows = self.model.rows[self._good_order()]
        out = np.empty((count, self.cells.d))
        if not len(rows):
            return np.asarray(self.space.snap(self.cells.values(self.cells.from_unit(rng.random(out.shape)))))
        for i in range(count):
            for _ in range(16):
                centre = rows[min(int(rng.exponential(1.0)), len(rows) - 1)]
                drawn = neighbours(self.cells, rows, centre, 1, rng)
                vector = np.asarray(self.space.snap(self.cells.values(drawn)))
                if vector[0].tobytes() in self._known:
                    continue
                if not len(self.space.rules) or self.space.allowed(vector)[0]:
                    break
            out[i] = vector[0]
        return out

    # -- telling --------------------------------------------------------------------------------------------------

    def tell(
        self,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Take in finished trials in trial order."""
        vectors = np.asarray(vectors, dtype=np.float64).reshape(-1, self.cells.d)
        classes, losses = rank_classes(scores, violations, states)
        self._learn(vectors, classes, losses, list(origins))
        self.tpe.tell(vectors, scores, violations, states, origins)
        self._log.append((vectors, classes, losses, list(origins)))
        if len(self._log) > 64:
            del self._log[0]

    def _learn(self, vectors: FloatArray, classes: Int8Array, losses: FloatArray, origins: list[str]) -> None:
        top = list(self.model.best)
        for vector, kind, loss, origin in zip(vectors, classes.tolist(), losses.tolist(), origins, strict=True):
            key = vector.tobytes()
            self._known.setdefault(key, (kind, loss))
            slots = self._open.get(key)
            if slots and self.run is not None:
                slot = slots.pop(0)
                if not slots:
                    del self._open[key]
                self.run.result(slot, kind, loss)
            if origin in ARMS:
                arm = ARMS.index(origin)
                gain = 0.0
                if kind <= 2 and (len(top) < 25 or (kind, loss) < top[-1][:2]):
                    gain = _NEW_BEST if not top or (kind, loss) < top[0][:2] else _ENTERS
                self.earned[arm] = _FADE * self.earned[arm] + (1.0 - _FADE) * gain
            if kind <= 2:
                top = sorted([*top, (kind, loss, 1 << 60)])[:25]

    # -- resuming -------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes | None:
        """The strategy's arrays, the earnings and how much had been told, as JSON and raw numbers (no code)."""
        state = {} if self.run is None else self.run.state()
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        head = {
            "told": self.model.n,
            "earned": self.earned.tolist(),
            "runs": self.runs,
            "open": [[key.hex(), slots] for key, slots in self._open.items()],
            "plain": {name: value for name, value in state.items() if name not in arrays},
            "arrays": [[name, value.dtype.str, list(value.shape)] for name, value in arrays.items()],
        }
        text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
        parts = [np.ascontiguousarray(value).tobytes() for value in arrays.values()]
        return b"".join([len(text).to_bytes(8, "little"), text, *parts])

    def restore(self, data: bytes) -> None:
        """Take back a snapshot after all of the history was told; results told since it was taken are applied to it."""
        try:
            size = int.from_bytes(data[:8], "little")
            head = orjson.loads(data[8 : 8 + size])
            state: dict[str, Any] = dict(head["plain"])
            at = 8 + size
            for name, kind, shape in head["arrays"]:
                dtype = np.dtype(kind)
                length = int(np.prod(shape)) * dtype.itemsize
                state[name] = np.frombuffer(data[at : at + length], dtype).reshape(shape).copy()
                at += length
            told = int(head["told"])
        except (ValueError, KeyError, TypeError) as exc:
            raise CorruptStoreError(f"sampler snapshot: cannot be read ({exc}); resume without it is refused") from exc
        self.earned = np.array(head["earned"], dtype=np.float64)
        self.runs = int(head["runs"])
        self.run = CmaRun.load(self.cells, self.seed, state) if state else None
        self._open = {bytes.fromhex(key): list(slots) for key, slots in head["open"]}
        self._replay(told)
        if self.run is not None:
            self.run.reopen()
        self._open.clear()

    def _replay(self, told: int) -> None:
        """Apply the results told after the snapshot to the strategy and the earnings."""
        at = self.model.n
        missed: list[tuple[FloatArray, Int8Array, FloatArray, list[str]]] = []
        for entry in reversed(self._log):
            size = len(entry[1])
            skip = max(0, told - (at - size))
            if skip < size:
                missed.insert(0, (entry[0][skip:], entry[1][skip:], entry[2][skip:], entry[3][skip:]))
            at -= size
            if at <= told:
                break
        for vectors, classes, losses, origins in missed:
            self._learn(vectors, classes, losses, origins)
