"""A tree-structured Parzen estimator whose cost per proposal does not grow with the number of trials.

After Bergstra et al. 2011 (the estimator), Falkner et al. 2018 (product kernels over all columns) and Watanabe 2023
(what each control does). The history is kept as columns; of it the model reads the best 25 trials (the good mixture)
and a bounded number of the last others (the bad mixture), so a proposal costs the same after 10,000 and 100,000 trials.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from genesis.errors import ConfigError
from genesis.search import tpe_kernels as kernels
from genesis.search import tpe_mixtures as mixtures
from genesis.search.cells import Cells, Group, SpaceLike
from genesis.search.proposals import Proposals, generation_seed, rank_classes
from genesis.search.quasi import quasi_points
from genesis.types import FloatArray, Int8Array, IntArray

MOST_GOOD = mixtures.MOST_GOOD
MOST_TABLED = 128
FEW_KERNELS, MANY_KERNELS = 256, 1_024
_WHOLE_GENERATIONS = 20
_FIRST_ROOM = 64
_DRIFT = 192  # slots by which the bad mixture's kernels can move on before they are moved back
_RULE_CANDIDATES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class TpeOptions:
    """Controls of the estimator.

    `n_startup_trials` told trials come from the quasi-random sequence first. `n_ei_candidates` are drawn per proposal.
    `multivariate=False` models each column alone; `constant_liar=False` leaves unfinished points out of the model.
    `prior_weight` is the weight of the uniform-like prior kernel, `consider_magic_clip` bounds bandwidths from below
    by the range over min(100, kernels + 1). A column of a candidate leaves the value of the good trial that it is drawn
    from with a probability that falls from 1 to `perturbation` (`TpeModel.perturbation`). The bad mixture has half as
    many kernels as trials, at least `FEW_KERNELS` and at most `bad_kernels`: `MANY_KERNELS` where points are asked for
    one at a time and a proposal takes little of a trial; after thousands of trials that finds more.
    """

    n_startup_trials: int = 25
    n_ei_candidates: int = 24
    multivariate: bool = True
    constant_liar: bool = True
    prior_weight: float = 1.0
    consider_magic_clip: bool = True
    perturbation: float = 0.3
    bad_kernels: int = FEW_KERNELS

    def __post_init__(self) -> None:
        for name, low in (("n_startup_trials", 0), ("n_ei_candidates", 1), ("bad_kernels", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ConfigError(f"sampler.{name}: {value!r} cannot be used; give a whole number of at least {low}")
        if not 0.0 <= self.prior_weight < float("inf"):
            raise ConfigError(f"sampler.prior_weight: {self.prior_weight!r} cannot be used; give a number from 0 up")
        if not 0.0 < self.perturbation <= 1.0:
            raise ConfigError(f"sampler.perturbation: {self.perturbation!r} cannot be used; give a number in (0, 1]")


class _Mixture:
    """The arrays of one side's mixtures, one per group."""

    def __init__(self, model: TpeModel, room: int) -> None:
        d, groups = model.cells.d, len(model.groups)
        self.table = np.zeros((len(model.prior), room), dtype=np.float32)
        self.lines = np.ones((5, d, room))
        self.base = np.zeros((groups, room))
        self.cumulative = np.zeros((groups, room))
        self.small = np.zeros((3, len(model.middles)))  # per cell: log mass and norm of the least bandwidth, and it
        self.n: IntArray = np.zeros(groups, dtype=np.int64)  # kernels, the prior and liars included
        self.at: IntArray = np.zeros(groups, dtype=np.int64)  # the first one's slot
        self.held: IntArray = np.zeros(groups, dtype=np.int64)  # observations
        self.ids: IntArray = np.zeros((groups, room), dtype=np.int64)
        self.order: IntArray = np.zeros((d, room), dtype=np.int64)
        self.room = room


class TpeModel:
    """History as columns, an incremental best set, and proposals from one model; knows no space rules and no names.

    Points are in model coordinates (`Cells`). A told point has a class (0 feasible, 1 pruned, 2 infeasible,
    3 undefined, 4 failed; smaller is better) and a loss within it; ties go to the earlier. Classes 3 and 4 are never
    good, and always bad: a region that raises is a region to leave.
    """

    def __init__(self, cells: Cells, options: TpeOptions, *, concurrency: int = 1) -> None:
        self.cells = cells
        self.options = options
        self.concurrency = concurrency
        self.groups = cells.groups if options.multivariate else _single_groups(cells)
        self._geometry()
        self.n = 0
        self._rows = np.empty((256, cells.d))
        self.best: list[tuple[int, float, int]] = []
        self._active: list[_Growing] = [_Growing() for _ in self.groups]
        self._good = _Mixture(self, MOST_GOOD + 1)
        self._bad = _Mixture(self, 0)
        self._known: list[tuple[bytes, bool] | None] = [None] * len(self.groups)

    def _geometry(self) -> None:
        cells = self.cells
        d = cells.d
        self.kind: IntArray = np.zeros(d, dtype=np.int64)
        self.start: IntArray = np.zeros(d, dtype=np.int64)
        self.edge_start: IntArray = np.zeros(d, dtype=np.int64)
        self.distance_start: IntArray = np.zeros(d, dtype=np.int64)
        distances: dict[int, int] = {}
        blocks: list[FloatArray] = []
        edges: list[FloatArray] = []
        middles: list[FloatArray] = []
        rows = at = used = 0
        for j in range(d):
            m = int(cells.count[j])
            if m == 0:
                continue
            even = not cells.log[j] or m == 1
            if cells.categorical[j]:
                self.kind[j] = mixtures.CATEGORICAL
            elif m > MOST_TABLED:
                self.kind[j] = mixtures.FINE
            else:
                self.kind[j] = mixtures.TABLED if even else mixtures.LOG_TABLED
            self.edge_start[j] = at
            edges.append(cells.edges[j])
            middles.append(np.append(cells.middles[j], 0.0))
            at += m + 1
            if self.kind[j] != mixtures.FINE:
                self.start[j] = rows
                rows += m
            if self.kind[j] == mixtures.TABLED:
                if m not in distances:
                    distances[m] = used
                    blocks += [mixtures.distance_table(m).ravel(), mixtures.norm_table(m).ravel()]
                    used += 2 * (m + 1) * m
                self.distance_start[j] = distances[m]
        self.edges = np.concatenate(edges) if edges else np.zeros(1)
        self.middles = np.concatenate(middles) if middles else np.zeros(1)
        self.distance = np.concatenate(blocks) if blocks else np.zeros(1)
        self.prior = np.zeros((max(rows, 1), 1), dtype=np.float32)
        for j in range(d):
            mixtures.put_prior(j, self.kind, cells.count, self.start, self.edges, self.edge_start, self.prior)
        self.prior = self.prior[:, 0].copy()
        self.small_start = self.edge_start.copy()
        for group in self.groups:  # columns of one group and as many cells share what the least bandwidth gives
            same: dict[int, int] = {}
            for j in group.columns:
                if self.kind[j] == mixtures.TABLED:
                    self.small_start[j] = same.setdefault(int(cells.count[j]), int(self.edge_start[j]))
        self.group_columns = np.array([j for group in self.groups for j in group.columns], dtype=np.int64)
        self.group_start = np.cumsum([0] + [len(group.columns) for group in self.groups]).astype(np.int64)
        self.group_parent = np.array([group.parent for group in self.groups], dtype=np.int64)
        widest = max([1, *(int(cells.count[g.parent]) for g in self.groups if g.parent >= 0)])
        self.opens = np.zeros((len(self.groups), widest), dtype=np.bool_)
        for g, group in enumerate(self.groups):
            self.opens[g, list(group.opens)] = True

    @property
    def rows(self) -> FloatArray:
        """All told points, in model coordinates."""
        return self._rows[: self.n]

    def tell(self, rows: FloatArray, classes: Int8Array, losses: FloatArray) -> None:
        """Take in finished points; O(1) for one, vectorised for many."""
        m = len(rows)
        if self.n + m > len(self._rows):
            grown = np.empty((max(2 * len(self._rows), self.n + m), self.cells.d))
            grown[: self.n] = self._rows[: self.n]
            self._rows = grown
        self._rows[self.n : self.n + m] = rows
        if m > 4 * MOST_GOOD:
            order = np.lexsort((losses, classes))[:MOST_GOOD]
            news = [(int(classes[i]), float(losses[i]), self.n + int(i)) for i in order]
        else:
            news = [(int(classes[i]), float(losses[i]), self.n + i) for i in range(m)]
        self.best = sorted(self.best + [new for new in news if new[0] <= 2])[:MOST_GOOD]
        for group, active in zip(self.groups, self._active, strict=True):
            if group.parent < 0:
                continue
            active.extend(np.flatnonzero(~np.isnan(rows[:, group.columns[0]])) + self.n)
        self.n += m

    def good_index(self) -> IntArray:
        """Numbers of the good points, best first: the best ceil(n / 10), at most 25."""
        size = min(-(-self.n // 10), MOST_GOOD)
        return np.array([number for _, _, number in self.best[:size]], dtype=np.int64)

    @property
    def _most_bad(self) -> int:
        return min(self.options.bad_kernels, max(FEW_KERNELS, self.n // 2))

    def _bad_index(self, g: int, good: IntArray) -> tuple[IntArray, FloatArray]:
        """The last of group g's points that are not good, ascending, and their weights."""
        most = self._most_bad
        if self.groups[g].parent < 0:
            index, weights = mixtures.last_others(self.n, good, most)
            return index, weights
        total = self._active[g].n
        last = self._active[g].array[max(0, total - most - len(good)) : total]
        index = last[~np.isin(last, good, assume_unique=True)][-most:]
        return index, mixtures.ramp(total - len(good), len(index))

    def refresh(self, liars: int, *, good: IntArray | None = None) -> None:
        """Build both mixtures from the history, with room for `liars` more bad kernels.

        Good points weigh by rank; those given as `good` (a front, which has no order) weigh the same.
        """
        most, around = min(self._most_bad, self.n), 1 + liars + _DRIFT
        if self._bad.room < most + around:  # grown as it fills: what is not there need not pass through the cache
            self._bad = _Mixture(self, min(self.options.bad_kernels, 2 * max(most, _FIRST_ROOM)) + around)
        ranked = good is None
        good = self.good_index() if good is None else good
        if len(good) + 1 > self._good.room:
            self._good = _Mixture(self, len(good) + 1)
            self._known = [None] * len(self.groups)
        for g, group in enumerate(self.groups):
            mine = good
            if group.parent >= 0:
                mine = good[~np.isnan(self._rows[good, group.columns[0]])]
            known = (mine.tobytes(), ranked)
            if known != self._known[g]:
                self._known[g] = known
                self._build(g, self._good, mine, (rank_weights if ranked else np.ones)(len(mine)), 0)
            self._build(g, self._bad, *self._bad_index(g, good), liars)

    def _build(self, g: int, side: _Mixture, index: IntArray, weights: FloatArray, spare: int) -> None:
        columns = self.group_columns[self.group_start[g] : self.group_start[g + 1]]
        mixtures.update(
            self._rows, index, weights, g, columns, self.kind, self.cells.count, self.start, self.edges,
            self.edge_start, self.middles, self.small_start, self.distance, self.distance_start,
            self.options.prior_weight, self.options.consider_magic_clip, spare, self.prior,
            side.n, side.at, side.held, side.ids, side.order, side.table, side.lines, side.base, side.cumulative,
            side.small,
        )  # fmt: skip

    def lie(self, points: FloatArray) -> None:
        """Let unfinished points (model coordinates) enter the bad mixture, after `refresh`."""
        if not self.options.constant_liar:
            return
        bad = self._bad
        mixtures.add_liars(
            points, self.group_columns, self.group_start, self.kind, self.cells.count, self.start, self.edges,
            self.edge_start, self.middles, self.small_start, self.distance, self.distance_start,
            self.options.prior_weight, self.options.consider_magic_clip, bad.n, bad.at, bad.table, bad.lines,
            bad.base, bad.small,
        )  # fmt: skip

    @property
    def perturbation(self) -> float:
        """The probability with which a column leaves the good point: 1 for twenty generations, then 20 of their number.

        While there were few generations a step must be long: in generations of eight, sparse ones from the start found
        less than full ones after 100 and 300 trials. Later they find more.
        """
        generations = max(self.n, 1) / self.concurrency
        return max(self.options.perturbation, min(1.0, _WHOLE_GENERATIONS / generations))

    def draw(self, state: Any, count: int, *, keep: int = 1, liar: bool = True) -> FloatArray:
        """`[count, keep, d]` proposals, best candidate first; `state` is the generator's four words, advanced."""
        ranked = np.empty((count, keep, self.cells.d))
        good, bad = self._good, self._bad
        kernels.draw(
            state, ranked, count, keep, max(keep, self.options.n_ei_candidates),
            self.group_columns, self.group_start, self.group_parent, self.opens,
            self.kind, self.cells.count, self.start, self.edges, self.edge_start, self.middles,
            self.options.prior_weight, self.options.consider_magic_clip, self.perturbation,
            good.n, good.at, good.table, good.lines, good.base, good.cumulative,
            bad.n, bad.at, bad.table, bad.lines, bad.base, bad.small,
            self.small_start, self.distance, self.distance_start, liar and self.options.constant_liar,
        )  # fmt: skip
        return ranked


class _Growing:
    """An integer array that grows by doubling."""

    def __init__(self) -> None:
        self.array: IntArray = np.empty(64, dtype=np.int64)
        self.n = 0

    def extend(self, more: IntArray) -> None:
        if self.n + len(more) > len(self.array):
            grown = np.empty(max(2 * len(self.array), self.n + len(more)), dtype=np.int64)
            grown[: self.n] = self.array[: self.n]
            self.array = grown
        self.array[self.n : self.n + len(more)] = more
        self.n += len(more)


def _strides(cells: Cells) -> IntArray | None:
    """What each column's cell counts for in a point's number, an absent column being one more cell."""
    sizes = [int(m) + 1 for m in cells.count]
    if not cells.d or 1 in sizes or math.prod(sizes) >= 2**62:
        return None
    return np.array([math.prod(sizes[j + 1 :]) for j in range(cells.d)], dtype=np.int64)


def _single_groups(cells: Cells) -> tuple[Group, ...]:
    return tuple(Group((j,), group.parent, group.opens) for group in cells.groups for j in group.columns)


@lru_cache(maxsize=1_024)
def rank_weights(n: int) -> FloatArray:
    """Weights of n good points, best first: (1 - place / n)², one on average, so that the best are followed closely."""
    weights = (1.0 - np.arange(n) / max(n, 1)) ** 2
    return weights / weights.mean() if n else weights


class TpeSampler:
    """The batch face: whole generations from one model, each asked point a liar for the next.

    A function of (space, seed, generation, attempt) and of what was told, in order. Points asked and not yet told
    (an earlier attempt of the generation, a generation still running) stay in the bad mixture until they are.
    """

    name = "tpe"

    def __init__(self, space: SpaceLike, *, seed: int, options: TpeOptions, concurrency: int = 1) -> None:
        self.space = space
        self.seed = seed
        self.concurrency = concurrency
        self.options = options
        self.cells = Cells(space.columns)
        self.model = TpeModel(self.cells, options, concurrency=concurrency)
        self._pending: Counter[bytes] = Counter()
        self._strides = _strides(self.cells)
        self._seen: set[int] = set()

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """Propose `count` points; the first `n_startup_trials` of a study, told or running, are quasi-random."""
        if self.starting(self.options.n_startup_trials):
            first = generation * max(count, self.concurrency)
            vectors = quasi_points(self.space, self.cells, count, seed=self.seed, first=first, attempt=attempt)
            origins = ["startup"] * count
        else:
            vectors = self.cells.values(self.propose(count, generation, attempt))
            origins = ["tpe"] * count
        for vector in vectors:
            self.open(vector)
        return Proposals(vectors, origins)

    def open(self, vector: FloatArray) -> None:
        """Note a point as asked and not yet told."""
        self._pending[vector.tobytes()] += 1

    def is_open(self, key: bytes) -> bool:
        """Whether a point (its vector's bytes) is asked and not yet told."""
        return self._pending[key] > 0

    def starting(self, trials: int) -> bool:
        """Whether fewer than so many points were asked, or none was told."""
        return not self.model.n or self.model.n + self.open_count < trials

    @property
    def open_count(self) -> int:
        """How many points are asked and not yet told."""
        return self._pending.total()

    def expect(self, vectors: FloatArray) -> None:
        """Say which points (n, d) are running now: these, in this order, and no others."""
        self._pending = Counter(vector.tobytes() for vector in np.asarray(vectors, dtype=np.float64))

    def propose(self, count: int, generation: int, attempt: int) -> FloatArray:
        """`count` points in model coordinates from the current history and the open points."""
        waiting = np.array([np.frombuffer(key) for key, times in self._pending.items() for _ in range(times)])
        running = self.cells.model(waiting.reshape(len(waiting), self.cells.d))
        self.model.refresh(len(waiting) + 2 * count)
        self.model.lie(running)
        state = generation_seed(self.seed, generation, attempt, 1)
        taken = set(self._codes(running))
        if len(self.space.rules):
            points, todo = np.empty((count, self.cells.d)), list(range(count))
        else:
            points = self.model.draw(state, count)[:, 0]
            todo = self._repeats(points, taken)
        for i in todo:
            points[i] = self._draw_new(state, taken, self.model.n + i + 7919 * (generation + 1), attempt)
            self.model.lie(points[i : i + 1])
        return points

    def _draw_new(self, state: Any, taken: set[int], spare: int, attempt: int) -> FloatArray:
        """Of a point's ranked candidates the best that is allowed and new; quasi-random when eight draws give none."""
        for _ in range(8):
            ranked = self.model.draw(state, 1, keep=_RULE_CANDIDATES, liar=False)[0]
            codes = self._codes(ranked)
            for i in np.flatnonzero(self.space.allowed(self.cells.values(ranked))).tolist():
                if not codes or (codes[i] not in taken and codes[i] not in self._seen):
                    taken.update(codes[i : i + 1])
                    return np.array(ranked[i])
        vector = quasi_points(self.space, self.cells, 1, seed=self.seed, first=spare, attempt=attempt)
        return np.array(self.cells.model(vector)[0])

    def _repeats(self, points: FloatArray, taken: set[int]) -> list[int]:
        """Which of the points are known, running or drawn before; the others are added to `taken`."""
        out = []
        for i, code in enumerate(self._codes(points)):
            if code in taken or code in self._seen:
                out.append(i)
            taken.add(code)
        return out

    def _codes(self, points: FloatArray) -> list[int]:
        """A number for each point of a finite space, empty when the space is endless or past counting in 62 bits."""
        if self._strides is None:
            return []
        cells = np.where(np.isnan(points), self.cells.count, points).astype(np.int64)
        codes: list[int] = (cells @ self._strides).tolist()
        return codes

    def tell(
        self,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Take in finished trials in trial order; `scores` are larger-is-better, NaN undefined."""
        del origins
        vectors = np.asarray(vectors, dtype=np.float64).reshape(len(states), self.cells.d)
        self.take(vectors, *rank_classes(scores, violations, states))

    def take(self, vectors: FloatArray, classes: Int8Array, losses: FloatArray) -> None:
        """`tell` with results that are ranked already."""
        rows = self.cells.model(vectors)
        self.model.tell(rows, classes, losses)
        self._seen.update(self._codes(rows))
        if self._pending:
            self.settle(vectors)

    def settle(self, vectors: FloatArray) -> None:
        """Forget open points that have been told."""
        for vector in vectors:
            key = vector.tobytes()
            if self._pending[key] > 1:
                self._pending[key] -= 1
            else:
                del self._pending[key]
