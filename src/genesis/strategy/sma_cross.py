"""Two moving averages: long when the fast one crosses above the slow one, short when it crosses below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit, rule
from genesis.engine.quiet import find_coded
from genesis.strategy.features import Features
from genesis.strategy.needs import Need
from genesis.strategy.parameters import ParameterTable, choice, whole
from genesis.types import FloatArray, Int8Array, Params, Rules, Signals

if TYPE_CHECKING:
    from genesis.engine.lanes import Lane

PARAMETERS = ParameterTable(
    "sma_cross",
    [
        ("fast", 10, whole(1, 100_000), "bars of the fast mean"),
        ("slow", 30, whole(1, 100_000), "bars of the slow mean"),
        (
            "side",
            "both",
            choice("both", "long", "short"),
            "which positions may be opened; a cross against one closes it",
        ),
    ],
)


_at = np.uint64  # never counted from the end: the compiler can take several bars at once


@rule
def cross_at(fast: FloatArray, slow: FloatArray, i: int) -> Any:
    """+1 where fast was below slow a bar before i and is above now, -1 the other way; touching is no cross."""
    before = fast[_at(i - 1)] - slow[_at(i - 1)]
    now = fast[_at(i)] - slow[_at(i)]
    return np.int8((before < 0.0) & (now > 0.0)) - np.int8((before > 0.0) & (now < 0.0))


@jit
def crosses(fast: FloatArray, slow: FloatArray) -> Int8Array:
    """`cross_at` every bar; 0 at the first."""
    out = np.zeros(fast.shape[0], dtype=np.int8)
    for i in range(1, fast.shape[0]):
        out[_at(i)] = cross_at(fast, slow, i)
    return out


@jit
def list_crosses(fast: FloatArray, slow: FloatArray, cross: Int8Array, bars: NDArray[np.int32]) -> int:
    """The same into `cross`, its bars in order into `bars`, which has room for one more; their number."""
    cross[0] = 0
    for i in range(1, fast.shape[0]):
        cross[_at(i)] = cross_at(fast, slow, i)
    return int(np.int64(find_coded(cross, bars)))


@rule
def _sums(x: FloatArray, period: int, end: int, out: FloatArray) -> float:
    """Put the sums of the last `period` values into `out` up to bar `end`; returns the last one."""
    total = 0.0
    for i in range(min(period, x.shape[0])):
        total += x[_at(i)]
        out[_at(i)] = total if i == period - 1 else np.nan
    for i in range(period, end):
        total += x[_at(i)] - x[_at(i - period)]
        out[_at(i)] = total
    return total


@jit
def means_and_crosses(x: FloatArray, fast: int, slow: int, a: FloatArray, b: FloatArray, cross: Int8Array) -> None:
    """Put the means, to the bits of `indicators.sma`, into `a` and `b`, and their crosses into `cross`, given as 0.

    An addition waits for the one before it, so two running sums take no longer than one; the divisions of a finished
    row are taken several at once.
    """
    n = x.shape[0]
    known = min(max(fast, slow), n)
    sum_a, sum_b = _sums(x, fast, known, a), _sums(x, slow, known, b)
    for i in range(known, n):
        now = x[_at(i)]
        sum_a += now - x[_at(i - fast)]
        sum_b += now - x[_at(i - slow)]
        a[_at(i)] = sum_a
        b[_at(i)] = sum_b
    for i in range(n):
        a[_at(i)] = a[_at(i)] / fast
    for i in range(n):
        b[_at(i)] = b[_at(i)] / slow
    for i in range(1, n):
        cross[_at(i)] = cross_at(a, b, i)


class SmaCross:
    """The classic crossover, on closes; always in the market after the first cross unless `side` says otherwise."""

    id: ClassVar[str] = "sma_cross"
    version: ClassVar[str] = "1"
    higher: ClassVar[str | None] = None
    defaults: ClassVar[dict[str, Any]] = PARAMETERS.defaults
    needs: ClassVar[tuple[Need, ...]] = (Need("sma", {"period": "fast"}), Need("sma", {"period": "slow"}))
    space: ClassVar[dict[str, Any]] = {
        "fast": {"type": "int", "low": 5, "high": 50},
        "slow": {"type": "int", "low": 20, "high": 200},
    }

    def signals(self, params: Params, features: Features) -> Signals:
        """Entries at the bar of the cross; with one side, the opposite cross leaves the position."""
        fast, slow, side = PARAMETERS.read(params).p
        faster, slower, cross = _means(features, int(fast), int(slow))
        if cross is None:
            cross = crosses(faster, slower)
        if side == 0.0:
            return Signals(entry=cross)
        keep = 1 if side == 1.0 else -1
        entry = np.where(cross == keep, cross, 0).astype(np.int8)
        leave = np.where(cross == -keep, 1 if keep == 1 else 2, 0).astype(np.int8)
        blocked = {"side": int(np.count_nonzero(cross == -keep))}
        return Signals(entry=entry, exit=leave, rules=Rules(opposite="exit"), blocked=blocked)

    def lanes(self, params: Sequence[Params], features: Features) -> Iterator[tuple[int, Lane | Signals]]:
        """The same for many sets at once: entries and their bars in one pass, into arrays that each set writes anew."""
        from genesis.engine.lanes import Lane, plain_columns  # compiled for batches alone

        entry, bars = np.empty(features.n, dtype=np.int8), np.empty(features.n + 1, dtype=np.int32)
        columns, terms = plain_columns(entry)
        for place, one in enumerate(params):
            fast, slow, side = PARAMETERS.read(one).p
            if side == 0.0:
                faster, slower, _ = _means(features, int(fast), int(slow))
                yield place, Lane(bars, list_crosses(faster, slower, entry, bars), columns, terms)
            else:
                yield place, self.signals(one, features)


def _means(features: Features, fast: int, slow: int) -> tuple[FloatArray, FloatArray, Int8Array | None]:
    """The fast and the slow mean; if the fast one is not in the cache yet, both are made in one pass, with crosses."""
    made: list[Any] = []

    def first() -> FloatArray:
        made.extend((np.empty(features.n), np.empty(features.n), np.zeros(features.n, dtype=np.int8)))
        means_and_crosses(features.bars.close, fast, slow, *made)
        mean: FloatArray = made[0]
        return mean

    a = features.fetch_made("sma", (fast,), first)
    b = features.fetch_made("sma", (slow,), lambda: made[1]) if made else features.fetch("sma", slow)
    return a, b, made[2] if made and b is made[1] else None
