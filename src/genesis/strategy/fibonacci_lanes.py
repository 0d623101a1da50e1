"""The `fibonacci` strategy for many parameter sets at once, when only their metrics are wanted.

Sets with the same features and weights form a group. Over all bars the group asks the gates once, with the loosest
threshold that any of its sets has; each set then asks them for the bars that are left. What a gate says of a bar does
not depend on other bars, and a looser threshold never stops more, so each set enters where it would alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from genesis.engine.execution import exit_terms_of
from genesis.engine.lanes import Lane
from genesis.strategy import gates
from genesis.strategy.confidence import score
from genesis.strategy.features import Features
from genesis.strategy.fibonacci import GAPS as GAP_PLACES
from genesis.strategy.fibonacci import MODEL, NEAR, fetch, partials_of, periods_of, rules_of
from genesis.strategy.fibonacci_parameters import INHERIT, PARAMETERS, P
from genesis.strategy.lane_gates import COLUMNS, choose, gather, leave_below, narrow, value_entries
from genesis.strategy.parameters import Settings
from genesis.types import FloatArray, Params, Signals

Rows: TypeAlias = tuple[  # what `mark` reads: direction, strength, rank, gap, close, ATR and both ladders' ends
    FloatArray, FloatArray, FloatArray, FloatArray, FloatArray,
    FloatArray, FloatArray, FloatArray, FloatArray, FloatArray,
]  # fmt: skip
_SURELY = 1.0 - 1e-9  # a threshold that is so much smaller is smaller as log odds too, however they are rounded


def _places(*starts: str) -> list[int]:
    return [int(place) for name, place in vars(P).items() if name.startswith(starts)]


GAPS = np.array(GAP_PLACES)
_ZONES = [gates.ZONE + gates.ZONE_STRIDE * zone for zone in range(3)]
_LADDERS = (gates.HTF_GATE, gates.LTF_GATE)
_OWN = frozenset(  # parameters that the sets of a group need not share
    [gates.ENTRY_CONF, gates.MIN_EDGE, gates.OVERRIDE, gates.OVERRIDE_CONF, gates.USE_HTF]
    + [gates.REGIME_PROBA + regime for regime in range(4)]
    + [at + k for at in _ZONES for k in range(5)]
    + [at + k for at in _LADDERS for k in range(7)]
    + _places("gates_", "exit_", "risk_", "multi_timeframe_ltf_override_adaptive_")
)
_SHARED = np.array([int(place) for place in vars(P).values() if place not in _OWN])
_WORTH = np.array([*_places("risk_"), *GAPS, int(P.exit_partials_enabled)])  # with the tables below: sizes, prices
_TABLES = ("risk.risk_map", "exit.partials.levels", "exit.partials.fractions")
_RULES = np.array(  # as ExitTerms
    [
        int(place)
        for place in (
            P.exit_max_hold_bars,
            P.exit_stop_loss_pct,
            P.exit_take_profit_pct,
            P.exit_trailing_stop_pct,
            P.exit_break_even_pct,
            P.exit_cooldown_bars,
            P.exit_opposite,
        )
    ]
)
_NO_LEAVE = np.empty(0, dtype=np.int8)
_NONE: FloatArray = np.empty(0, dtype=np.float64)
_FEW = 16  # sets that narrow the bars of their group once more; with fewer, narrowing costs more than it saves


def lanes(strategy: Any, params: Sequence[Params], features: Features) -> Iterator[tuple[int, Lane | Signals]]:
    """The lane of each set with its place among them, in no certain order; each is good until the next is asked for."""
    read = [PARAMETERS.read(one) for one in params]
    groups: dict[Any, list[_Set]] = {}
    for place, settings in enumerate(read):
        p, other = settings.p, settings.other
        if p[gates.OVERRIDE] and p[gates.ADAPTIVE]:  # ranks confidence among all bars, not only those that are left
            yield place, strategy.signals(params[place], features)
        else:
            worth = (p[_WORTH].tobytes(), *(other[name].tobytes() for name in _TABLES))
            group = groups.setdefault((p[_SHARED].tobytes(), other["htf"]), [])
            group.append(_Set(worth, float(p[gates.ENTRY_CONF]), place, settings))
    room = _Room(features.n)
    for group in groups.values():
        yield from _Group(group, features, room).lanes()


class _Set(NamedTuple):
    """One set: what its sizes and prices hang on, how selective it is, its place among all."""

    worth: tuple[bytes, ...]
    confidence: float
    place: int
    settings: Settings


class _Near:
    """The bars at which some sets may enter, and their features lying together."""

    def __init__(self, n: int) -> None:
        self.bars = np.empty(n + 1, dtype=np.int32)
        self.columns = np.empty((COLUMNS, n))
        self.marks = np.empty(n, dtype=np.uint8)
        self.count = 0
        self.stop = self.marks
        self.rows: Rows

    def hold(self, count: int, writeable: bool) -> None:
        """Take the first `count`; read-only where the features are, since `mark` is compiled for that."""
        self.count, self.stop = count, self.marks[:count]
        rows = [self.columns[k, :count] for k in range(10)]
        for k, row in enumerate(rows):
            row.setflags(write=k < 2 or (k == 4 and writeable))
        self.rows = cast("Rows", tuple(rows))


class _Room:
    """The arrays that every set is written into."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.stop = np.empty(n, dtype=np.uint8)
        self.wide, self.narrow = _Near(n), _Near(n)
        self.worth = np.empty(n, dtype=np.uint8)
        self.chosen = np.empty(n + 1, dtype=np.int32)
        self.entry = np.zeros(n, dtype=np.int8)
        self.leave = np.empty(n, dtype=np.int8)
        self.size = np.empty(n)
        self.gaps = np.empty((len(GAPS), n))
        self._prices: dict[int, FloatArray] = {}

    def prices(self, levels: int) -> FloatArray:
        """Room for so many levels a bar."""
        if levels not in self._prices:
            self._prices[levels] = np.empty((self.n, levels))
        return self._prices[levels]


class _Group:
    """Sets with the same features and weights."""

    def __init__(self, sets: list[_Set], features: Features, room: _Room) -> None:
        self.sets = sorted(sets, key=itemgetter(0, 1))  # alike in sizes and prices, and in how selective they are
        self.features = features
        self.room = room
        first = sets[0].settings
        periods = periods_of(first.p.tolist()), first.other["htf"]
        known = features.last("fibonacci features", periods, lambda: fetch(features, *periods))
        weights = first.p[MODEL].tobytes()
        direction, strength = features.last("fibonacci score", (periods, weights), lambda: score(first.p, *known[:7]))
        self._writeable = features.bars.close.flags.writeable
        ladders = (known.top, known.bottom, known.htf_top, known.htf_bottom)
        self._all: Rows = (direction, strength, known.rank, known.gap, features.bars.close, known.atr, *ladders)
        self._htf_gap = known.htf_gap
        self._worth: tuple[bytes, ...] | None = None  # what the bars are priced for; None once other bars are left
        self._left: float | None = None
        self._priced: tuple[Any, ...] = ()

    def lanes(self) -> Iterator[tuple[int, Lane]]:
        """Each set's lane."""
        wide = self._gathered()
        uniform = self.sets[0].worth == self.sets[-1].worth
        for start in range(0, len(self.sets), _FEW):
            some = self.sets[start : start + _FEW]
            near = wide if len(self.sets) <= _FEW else self._narrowed(wide, some)
            if start and not uniform:
                self._worth = None
            for one in some:
                if one.worth != self._worth:
                    self._price(one, wide if uniform else near)
                yield one.place, self._lane(one, near)

    def _gathered(self) -> _Near:
        """The bars that the loosest thresholds of the group leave."""
        room, near = self.room, self.room.wide
        gates.mark(_loosest(self.sets), *self._all, room.stop, _NO_LEAVE)
        columns, bars = near.columns, near.bars
        near.hold(gather(*self._all, self._htf_gap, room.stop, bars, columns), False)
        near.hold(near.count, self._writeable)
        return near

    def _narrowed(self, wide: _Near, sets: Sequence[_Set]) -> _Near:
        """Those of them that the loosest thresholds of some sets leave."""
        near = self.room.narrow
        gates.mark(_loosest(sets), *wide.rows, wide.stop, _NO_LEAVE)
        near.hold(narrow(wide.stop, wide.bars, wide.columns, near.bars, near.columns), self._writeable)
        return near

    def _price(self, one: _Set, near: _Near) -> None:
        """Sizes, distances and partial prices at the bars."""
        self._worth = one.worth
        room, settings = self.room, one.settings
        levels, fractions = partials_of(settings)
        levels = levels if fractions else _NONE
        prices = room.prices(len(levels))
        multiples = settings.p[GAPS]
        used = multiples > 0.0
        value_entries(
            settings.p,
            settings.other["risk.risk_map"],
            levels,
            multiples[used],
            near.bars,
            near.count,
            near.columns,
            room.worth,
            room.entry,
            room.size,
            room.gaps,
            prices,
        )
        rows = iter(room.gaps)
        distances = [next(rows) if there else _NONE for there in used.tolist()]
        self._priced = (room.size, *distances, prices, np.array(fractions, dtype=np.float64))

    def _lane(self, one: _Set, near: _Near) -> Lane:
        room, settings = self.room, one.settings
        p = settings.p
        near.marks.fill(0)
        if len(self.sets) > 1 or any(len(settings.other[levels]) for _, levels, _, _ in NEAR):
            gates.mark(p, *near.rows, near.stop, _NO_LEAVE)
            _mark_targets(settings, near.rows, near.stop)
        entered = choose(p, near.bars, near.count, near.stop, room.worth, room.entry, room.chosen)
        least = p[gates.EXIT_CONF]
        if least > 0.0 and least != self._left:
            self._left = least
            leave_below(p, *self._all[:2], room.leave)
        columns = (room.entry, room.leave if least > 0.0 else _NO_LEAVE, *self._priced)
        terms = p[_RULES].tolist()
        if not terms[1] < 1.0 or not terms[3] < 1.0:
            exit_terms_of(rules_of(p.tolist(), ()))  # refuses them
        return Lane(room.chosen, entered, columns, terms)


def _loosest(sets: Sequence[_Set]) -> FloatArray:
    return sets[0].settings.p if len(sets) == 1 else loosest_of(np.array([one.settings.p for one in sets]))


def _mark_targets(settings: Settings, near: Rows, marks: gates.Bits) -> None:
    use = settings.p
    direction, close, atr = near[0], near[4], near[5]
    for side, levels_path, at, bit in NEAR:
        levels = settings.other[levels_path]
        if len(levels) and use[at] and (bit == gates.LTF or use[gates.USE_HTF]):
            top, bottom = near[6:8] if bit == gates.LTF else near[8:10]
            gates.near_levels(side, levels, float(use[at + 1]), bit, direction, close, atr, top, bottom, marks)


def loosest_of(sets: FloatArray) -> FloatArray:
    """Parameters whose gates stop no bar that those of every one of `sets` (a row each) would let pass."""
    p: FloatArray = sets[0].copy()
    least, most = sets.min(axis=0), sets.max(axis=0)

    def inherited(own: int, overall: int) -> float:
        return float(np.where(sets[:, own] == INHERIT, sets[:, overall], sets[:, own]).min())

    for at in _ZONES:
        p[at] = _SURELY * inherited(at, gates.ENTRY_CONF)
        for k in range(4):
            p[at + 1 + k] = _SURELY * inherited(at + 1 + k, gates.REGIME_PROBA + k)
    p[gates.MIN_EDGE] = _SURELY * least[gates.MIN_EDGE]
    p[gates.OVERRIDE] = most[gates.OVERRIDE]
    p[gates.OVERRIDE_CONF] = _SURELY * least[gates.OVERRIDE_CONF]
    p[gates.USE_HTF] = least[gates.USE_HTF]
    for at in _LADDERS:  # enabled, tolerance, long max and min, short min and max, missing policy
        p[at] = least[at]
        p[at + 1], p[at + 2], p[at + 5] = most[at + 1], most[at + 2], most[at + 5]
        p[at + 3], p[at + 4], p[at + 6] = least[at + 3], least[at + 4], least[at + 6]
    return p
