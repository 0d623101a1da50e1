"""`auto`: several searches on one shared history, each given the share of trials that its finds have earned.

Members: the Parzen estimator, CMA-ES with margin, local search around the best, the bottom of a quadratic through the
best points, and a trickle of quasi-random points.
A member earns by points that enter the best 25 known, more by a new best; earnings fade, so the shares follow the
phase of the search. All members see all results, whoever asked for them: the estimator learns from the strategy's
points, the strategy takes in the estimator's best.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from genesis.search import portfolio_state
from genesis.search.cells import Cells, SpaceLike
from genesis.search.cma import WORST, CmaRun, Rank, free_columns
from genesis.search.local import neighbours
from genesis.search.one_thread import one_blas_thread
from genesis.search.proposals import Proposals, rank_classes
from genesis.search.quasi import quasi_points, to_space
from genesis.search.surface import Bottom, bottom, wanted_points
from genesis.search.tpe import TpeOptions, TpeSampler
from genesis.types import FloatArray, Int8Array

ARMS = ("tpe", "cma", "local", "random", "surface")
_CMA, _LOCAL, _RANDOM, _SURFACE = 1, 2, 3, 4
_ARM_OF = {name: arm for arm, name in enumerate(ARMS)} | {"niche": _LOCAL}
_FLOOR = (0.10, 0.10, 0.04, 0.01, 0.04)
_FIRST = (0.20, 0.40, 0.08, 0.0, 0.20)  # earned before anything was found
_FADE = 0.93
_NEW_BEST = 1.0
_ENTERS = 0.2
_EARLY_SHARE = 0.8  # of the strategy before there is a model, and in its first and its wide runs
_FIRST_SHARE = 0.7
_WIDE_SHARE = 0.4
_MANY_COLUMNS = 8
_POOL = 3  # times as many points as a surface uses: those nearest to the best are picked of them
_STUCK = 60  # trials, and ten more per column
_NEGLIGIBLE = 1e-5  # of the distance between the middle of the first points and the best
_NOTICEABLE = 1e-3  # of the same distance


def _sum(numbers: Sequence[float]) -> float:
    """From left to right, rounded after each: since Python 3.12 `sum` keeps what rounding loses."""
    whole = 0.0
    for one in numbers:
        whole += one
    return whole


_ABOVE_FLOORS = 1.0 - _sum(_FLOOR)


class PortfolioSampler:
    """The batch face of the portfolio. What was told, generation by generation, is its whole state."""

    name = "auto"

    def __init__(self, space: SpaceLike, *, seed: int, options: TpeOptions, concurrency: int = 1) -> None:
        self.space = space
        self.seed = seed
        self.concurrency = concurrency
        self.options = options
        self.cells = Cells(space.columns)
        self.tpe = TpeSampler(space, seed=seed, options=options, concurrency=concurrency)
        self.model = self.tpe.model
        self._startup = -(-options.n_startup_trials // 2)  # the strategy's points tell the model something too
        self._numeric = 1.0
        self._owed = 0.0
        self.earned = list(_FIRST)
        self._shares: tuple[tuple[Any, ...], list[float]] | None = None  # and what they were made of
        self.run: CmaRun | None = None
        self.runs = 0
        self._known: dict[bytes, Rank] = {}
        self._slots: dict[bytes, list[int]] = {}
        self._outside: tuple[Rank, FloatArray] | None = None
        self._early: list[float] = []
        self._middle = 0.0
        self._own: list[tuple[Rank, bytes]] = []
        self._mark: Rank = WORST
        self._since = 0
        self._top_losses = np.zeros(0)
        self._top_rows = np.zeros((0, self.cells.d))
        self._bottoms: dict[bool, Bottom | None] = {}  # of them: by the best, by the near
        with one_blas_thread():
            self._start()

    # -- asking ---------------------------------------------------------------------------------------------------

    def expect(self, vectors: FloatArray) -> None:
        """Say which points (n, d) are running now: these, in this order, and no others."""
        self.tpe.expect(vectors)

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """Divide the generation among the members by their earnings."""
        if self.cells.d == 0:
            return self.tpe.ask(count, generation, attempt)
        early = self.tpe.starting(self._startup)
        shares = self._early_shares() if early else self.shares()
        points = self._from_cma(count) if self._strategys_turn(count, shares[_CMA]) else []
        origins = ["cma"] * len(points)
        if len(points) < count:
            rng = np.random.default_rng([self.seed & 0xFFFFFFFFFFFFFFFF, generation, attempt, 7])
            shares[_CMA] = 0.0
            arms = self._divide(count - len(points), rng, shares)
            if wanted := arms.count(_LOCAL):
                niche = wanted // 2 + int(wanted % 2 and rng.random() < 0.5) if self._own else 0
                points += list(self._from_local(wanted - niche, rng, None))
                points += list(self._from_local(niche, rng, self._own))
                origins += ["local"] * (wanted - niche) + ["niche"] * niche
            if wanted := arms.count(_SURFACE):
                made = self._from_surface(wanted, rng, near=generation % 2 == 1)
                points += made
                origins += ["surface"] * len(made)
            if wanted := arms.count(_RANDOM):
                first = generation * max(count, self.concurrency)
                points += self._quasi_random(wanted, first, attempt)
                origins += ["startup" if early else "random"] * wanted
        for vector in points:
            self.tpe.open(vector)
        if rest := count - len(points):
            drawn = self.cells.values(self.tpe.propose(rest, generation, attempt))
            for vector in drawn:
                self.tpe.open(vector)
            points += list(drawn)
            origins += ["tpe"] * rest
        return Proposals(np.array(points).reshape(count, self.cells.d), origins)

    def _quasi_random(self, count: int, first: int, attempt: int) -> list[FloatArray]:
        return list(quasi_points(self.space, self.cells, count, seed=self.seed, first=first, attempt=attempt))

    def _strategys_turn(self, count: int, share: float) -> bool:
        """Whether the strategy has had less than its share by half a generation, those running counted.

        Whole generations for whole populations: a population that waits for its last point learns nothing.
        """
        open_points = self.tpe.open_count
        mine = sum(map(self.tpe.is_open, self._slots))
        return self._owed + share * (open_points + count) - mine >= count / 2

    def _early_shares(self) -> list[float]:
        """Before there is a model: whole populations of the strategy, and quasi-random points."""
        share = _EARLY_SHARE * self._numeric
        return [0.0, share, 0.0, 1.0 - share, 0.0]

    def shares(self) -> list[float]:
        """Each member's share of the next generation, in the order of `ARMS`."""
        made_of = (*self.earned, self._narrow, self.runs, self._numeric)
        if self._shares is None or self._shares[0] != made_of:
            weight = [max(earned, 1e-3) * max(earned, 1e-3) for earned in self.earned]
            weight[_RANDOM] = 0.0
            whole = _sum(weight)
            share = [floor + _ABOVE_FLOORS * one / whole for floor, one in zip(_FLOOR, weight, strict=True)]
            least = _WIDE_SHARE if not self._narrow else _FIRST_SHARE * self._numeric if self.runs == 1 else 0.0
            if share[_CMA] < least:
                rest = (1.0 - least) / (1.0 - share[_CMA])
                share = [one * rest for one in share]
                share[_CMA] = least
            self._shares = (made_of, share)
        return list(self._shares[1])

    def _divide(self, count: int, rng: np.random.Generator, shares: list[float]) -> list[int]:
        """Systematic sampling: every member gets its share of `count`, rounded up or down by one draw."""
        start, whole = rng.random(), _sum(shares)
        ends = list(accumulate(one / whole for one in shares))
        return [min(bisect_right(ends, (start + i) / count), len(ARMS) - 1) for i in range(count)]

    def _from_cma(self, count: int) -> list[FloatArray]:
        """Points of the population that are neither told nor running; fewer than `count` when it is nearly through."""
        out: list[FloatArray] = []
        for key, slots in self._slots.items():
            if len(out) == count:
                break
            if not self.tpe.is_open(key) and self.run is not None and not self.run.done[slots[0]]:
                out.append(np.frombuffer(key, dtype=np.float64))
        return out

    def _from_local(self, count: int, rng: np.random.Generator, own: list[tuple[Rank, bytes]] | None) -> FloatArray:
        """Points around the best known, or around a wide run's own best."""
        anywhere = rng.random((count, self.cells.d))
        rows = self.cells.model(np.array([np.frombuffer(key) for _, key in own])) if own else self._good_rows()
        if not count or not len(rows):
            return to_space(self.cells, anywhere)
        out, left = np.empty_like(anywhere), list(range(count))
        for _ in range(16):
            centres = np.minimum(rng.exponential(1.0, len(left)).astype(np.int64), len(rows) - 1)
            out[left] = drawn = self.cells.values(neighbours(self.cells, rows, centres, rng))
            allowed = self.space.allowed(drawn).tolist() if len(self.space.rules) else [True] * len(left)
            fresh = [fits and row.tobytes() not in self._known for row, fits in zip(drawn, allowed, strict=True)]
            left = [i for i, new in zip(left, fresh, strict=True) if not new]
            if not left:
                break
        return out

    def _from_surface(self, count: int, rng: np.random.Generator, *, near: bool) -> list[FloatArray]:
        """The bottom of a quadratic through good points and points around it, those that are new and allowed."""
        if near not in self._bottoms:
            most = len(self._top_losses) if near else _most_points(self.cells.d)
            with one_blas_thread():
                self._bottoms[near] = bottom(self.cells, self._top_rows[:most], self._top_losses[:most], near=near)
        found = self._bottoms[near]
        out: dict[bytes, FloatArray] = {}
        for attempt in range(4 if found is not None else 0):
            assert found is not None
            vectors = self.cells.values(found.points(count, rng, exact=attempt == 0))
            for vector in vectors[self.space.allowed(vectors)]:
                key = vector.tobytes()
                if len(out) < count and key not in self._known and not self.tpe.is_open(key):
                    out[key] = vector
            if len(out) == count:
                break
        return list(out.values())

    def _good_rows(self) -> FloatArray:
        """The best 25 points, best first, in model coordinates."""
        return self.model.rows[[number for _, _, number in self.model.best]]

    # -- telling --------------------------------------------------------------------------------------------------

    @one_blas_thread()
    def tell(
        self,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Take in a generation's finished trials in trial order."""
        vectors = np.asarray(vectors, dtype=np.float64).reshape(len(states), self.cells.d)
        classes, losses = rank_classes(scores, violations, states)
        share = (self._early_shares() if self.model.n < self._startup else self.shares())[_CMA]
        most = 2.0 * self.concurrency
        self._owed = min(max(self._owed + share * len(states) - list(origins).count("cma"), -most), most)
        top: list[Rank] = [(kind, loss) for kind, loss, _ in self.model.best]
        scale, complete = self._scale(), False
        for vector, kind, loss, origin in zip(vectors, classes.tolist(), losses.tolist(), origins, strict=True):
            rank = (kind, loss)
            key = vector.tobytes()
            self._known.setdefault(key, rank)
            if kind == 0 and len(self._early) < 50:
                self._early.append(loss)
                self._middle = float(np.median(self._early))
                scale = self._scale()
            enters = kind <= 2 and (len(top) < 25 or rank < top[-1])
            if (arm := _ARM_OF.get(origin)) is not None:
                gain = self._gain(rank, top, scale) if enters else 0.0
                self.earned[arm] = _FADE * self.earned[arm] + (1.0 - _FADE) * gain
            if enters:
                insort(top, rank)
                del top[25:]
            mine = key in self._slots or origin == "niche"
            if mine and not self._narrow:
                self._own = sorted([*self._own, (rank, key)])[:8]
            if key in self._slots:
                complete = self._give(key, rank) or complete
            elif (mine or self._narrow) and (self._outside is None or rank < self._outside[0]):
                self._outside = (rank, self.cells.model(vector)[0])
            self._watch(rank, scale)
        self.tpe.take(vectors, classes, losses)
        usable = (classes == 0) & np.isfinite(losses)
        self._keep_top(self.model.rows[self.model.n - len(usable) :][usable], losses[usable])
        self._advance(complete)

    def _keep_top(self, rows: FloatArray, losses: FloatArray) -> None:
        """Keep the best feasible points for the surface, best first, the earlier of equals first."""
        most = _POOL * _most_points(self.cells.d)
        if len(self._top_losses) == most:
            better = losses < self._top_losses[-1]
            rows, losses = rows[better], losses[better]
        if not len(losses):
            return
        losses = np.concatenate([self._top_losses, losses])
        order = np.argsort(losses, kind="stable")[:most]
        self._top_losses, self._top_rows = losses[order], np.concatenate([self._top_rows, rows])[order]
        self._bottoms.clear()

    def _watch(self, rank: Rank, scale: float) -> None:
        """Count the trials since the best last moved noticeably."""
        (kind, loss), (old, before) = rank, self._mark
        if kind < old or (kind == old and before - loss > (_NOTICEABLE * scale if kind == 0 else 0.0)):
            self._mark, self._since = rank, 0
        else:
            self._since += 1

    def _gain(self, rank: Rank, top: list[Rank], scale: float) -> float:
        """What a result earns that enters the best known: nothing where all of them are as good as the same."""
        new_best = not top or rank < top[0]
        if top and top[0][0] == rank[0] == top[-1][0] == 0:
            step = top[0][1] - rank[1] if new_best else top[-1][1] - top[0][1]
            if step <= _NEGLIGIBLE * scale:
                return 0.0
        return _NEW_BEST if new_best else _ENTERS

    # -- the strategy ---------------------------------------------------------------------------------------------

    def _give(self, key: bytes, rank: Rank) -> bool:
        """Give a result to every slot of the population at that point."""
        assert self.run is not None
        complete = False
        for slot in self._slots[key]:
            if not self.run.done[slot]:
                complete = self.run.result(slot, rank, self._outside) or complete
        return complete

    def _advance(self, complete: bool) -> None:
        """Draw populations until one has a point that must be tried, starting a new run where one has ended."""
        if self._narrow and self._since > _STUCK + 10 * self.cells.d:  # stuck: look elsewhere
            self._since = 0
            if self.runs % 2 == 0:
                self.runs += 1
            self.run = None
        for _ in range(50):
            if self.run is None:
                self._start()
            elif complete:
                self._outside = None
                if len(self.model.best):
                    self.run.rebase(self.model.rows[self.model.best[0][2]])
                if self.run.finished(self._scale()):
                    self._start()
                else:
                    self.run.go_on()
                    self._index()
            else:
                return
            complete = self._settle_known()
        self.run, self._slots = None, {}  # everything it would try is known: it begins anew after the next results

    def _scale(self) -> float:
        """How far the best is below the middle of the first fifty feasible points."""
        best = self.model.best
        return self._middle - best[0][1] if self._early and best and best[0][0] == 0 else 0.0

    def _index(self) -> None:
        assert self.run is not None
        self._slots = {}
        for slot, vector in enumerate(self.cells.values(self.run.points)):
            self._slots.setdefault(vector.tobytes(), []).append(slot)

    def _settle_known(self) -> bool:
        """Give the population what is known already, or not allowed: no trial is spent on it."""
        if self.run is None:
            return False
        complete = False
        for key in self._slots:
            rank = self._known.get(key)
            if rank is None and len(self.space.rules):
                vector = np.frombuffer(key, dtype=np.float64)
                rank = None if self.space.allowed(vector[None, :])[0] else WORST
            if rank is not None:
                complete = self._give(key, rank) or complete
        return complete

    def _start(self) -> None:
        """Begin a run: the first from the middle of the space, then in turn around the good points and wide."""
        self.run, self._slots = None, {}
        self._narrow = self.runs % 2 == 0  # wide runs look for themselves
        self._own = []
        self._outside = None
        rng = np.random.default_rng([self.seed & 0xFFFFFFFFFFFFFFFF, self.runs, 11])
        if self.cells.d == 0:
            return
        good = self._good_rows()
        rows = good if len(good) else self.cells.close(self.cells.from_unit(rng.random((1, self.cells.d))))
        free = free_columns(self.cells, rows[0])
        if not len(free):
            return
        if self.runs == 0:
            self._numeric = self._how_numeric(rows[0], len(free))
        size = self._size(4 + int(3 * np.log(len(free))))
        if self.runs == 0:
            mean, spread = np.full(len(free), 0.5), np.full(len(free), 1.0 / 6.0)
        elif self.runs % 2 == 0 and len(good):
            unit = self.cells.unit(rows)[:, free]
            unit = unit[~np.isnan(unit).any(axis=1)]
            mean, spread = unit.mean(axis=0), np.maximum(unit.std(axis=0), 0.01)
        else:
            size *= 2 ** min(self.runs // 2, 3)
            mean, spread = rng.uniform(0.2, 0.8, len(free)), np.full(len(free), 0.25)
        self.runs += 1
        self.run = CmaRun(self.cells, rows[0], mean, spread, seed=self.seed, number=self.runs, size=size)
        self._index()

    def _how_numeric(self, row: FloatArray, free: int) -> float:
        """How much of the space the strategy moves, in [0, 1]; it also pays less where there are few columns."""
        active = np.count_nonzero(~np.isnan(row) & (self.cells.count != 1))
        branched = any(group.parent >= 0 for group in self.cells.groups)
        return min(1.0, free / _MANY_COLUMNS) * free / active * (0.5 if branched else 1.0)

    def _size(self, usual: int) -> int:
        """The size of a population nearest to the `usual` that whole generations fill."""
        q = min(self.concurrency, 64)
        return q * max(1, int(np.ceil(usual / q - 0.5)))

    def snapshot(self) -> bytes:
        """What telling the whole history at once does not bring back."""
        return portfolio_state.snapshot(self)

    def restore(
        self,
        data: bytes,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Go to where a snapshot was taken, after those results; `ValueError` for one of another version."""
        portfolio_state.restore(self, data, vectors, scores, violations, states, origins)


@cache
def _most_points(d: int) -> int:
    """How many points any surface over some of `d` columns uses."""
    return max((wanted_points(columns + 1) for columns in range(d)), default=1)


def describe(sampler: PortfolioSampler) -> dict[str, Any]:
    """What the portfolio is doing, for reports: shares by member and the strategy's runs so far."""
    return {"shares": dict(zip(ARMS, sampler.shares(), strict=True)), "cma_runs": sampler.runs}
