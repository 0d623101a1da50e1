"""Entries of many `fibonacci` sets over the same features: compiled loops over the bars at which any of them may enter.

The gates themselves are `gates.mark`, asked once with the loosest thresholds of all sets over every bar, and then set
by set over the few bars that are left, whose features lie together.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit
from genesis.engine.quiet import at
from genesis.strategy.confidence import log_odds, probability
from genesis.strategy.entries import COOLDOWN_BARS, MAX_SIZE, SIZE_HTF, SIZE_REGIME, SIZE_ZONE, STEPS
from genesis.strategy.gates import EXIT_CONF, HIGH_RANK, HTF, LOW_RANK, RANGE, SURE, TREND, Bits, regime_of, zone_of
from genesis.types import FloatArray, Int8Array

COLUMNS = 12  # rows of what `gather` fills: nine features of `mark`, direction and strength, and the confidence
_KEPT = np.uint8(255 - SURE - (1 << HTF))


@jit
def gather(
    direction: FloatArray,
    strength: FloatArray,
    rank: FloatArray,
    gap: FloatArray,
    close: FloatArray,
    atr: FloatArray,
    top: FloatArray,
    bottom: FloatArray,
    htf_top: FloatArray,
    htf_bottom: FloatArray,
    htf_gap: FloatArray,
    stop: Bits,
    bars: NDArray[np.int32],
    columns: FloatArray,
) -> int:
    """Put the bars that no mark stops into `bars` and their features into the rows of `columns`; their number."""
    count = 0
    for i in range(stop.shape[0]):
        bars[count] = i
        mark = stop[i] & _KEPT if stop[i] >= SURE else stop[i]
        count += mark == 0
    for k in range(count):
        i = bars[k]
        columns[0, k] = direction[i]
        columns[1, k] = strength[i]
        columns[2, k] = rank[i]
        columns[3, k] = gap[i]
        columns[4, k] = close[i]
        columns[5, k] = atr[i]
        columns[6, k] = top[i]
        columns[7, k] = bottom[i]
        columns[8, k] = htf_top[i]
        columns[9, k] = htf_bottom[i]
        columns[10, k] = htf_gap[i]
    for k in range(count):
        columns[11, k] = probability(columns[1, k] + abs(columns[0, k]))
    return count


@jit
def narrow(stop: Bits, bars: NDArray[np.int32], columns: FloatArray, fewer: NDArray[np.int32], rows: FloatArray) -> int:
    """Put those of the gathered bars that no mark stops into `fewer` and `rows`; their number."""
    kept = np.empty(stop.shape[0] + 1, dtype=np.int32)
    count = at(0)
    for k in range(stop.shape[0]):
        kept[count] = k
        mark = stop[at(k)]
        count += at((mark & _KEPT if mark >= SURE else mark) == 0)
    for q in range(count):
        fewer[at(q)] = bars[at(kept[at(q)])]
    for row in range(columns.shape[0]):
        for q in range(count):
            rows[row, at(q)] = columns[row, at(kept[at(q)])]
    return int(np.int64(count))


@jit
def value_entries(
    p: FloatArray,
    sizes: FloatArray,
    levels: FloatArray,
    multiples: FloatArray,
    bars: NDArray[np.int32],
    count: int,
    columns: FloatArray,
    worth: NDArray[np.uint8],
    entry: Int8Array,
    size: FloatArray,
    gaps: FloatArray,
    prices: FloatArray,
) -> None:
    """Fill the columns of the signals at the gathered bars as `enter` would where it entered; `worth` is 1 where the
    size is above zero."""
    trend, span, low, high = p[TREND], p[RANGE], p[LOW_RANK], p[HIGH_RANK]
    for k in range(count):
        chance = columns[11, k]
        amount = 0.0
        for row in range(sizes.shape[0]):
            amount = sizes[row, 1] if chance >= sizes[row, 0] else amount
        amount *= p[SIZE_REGIME + regime_of(columns[3, k], trend, span)]
        amount *= p[SIZE_HTF + regime_of(columns[10, k], trend, span)]
        amount *= p[SIZE_ZONE + zone_of(columns[2, k], low, high)]
        amount = min(amount, p[MAX_SIZE])
        worth[bars[k]] = amount > 0.0
        size[bars[k]] = amount
        entry[bars[k]] = np.int8(1) if columns[0, k] > 0.0 else np.int8(-1)
    for row in range(multiples.shape[0]):
        for k in range(count):
            gaps[row, bars[k]] = multiples[row] * columns[5, k]
    for k in range(count):
        bottom = columns[7, k]
        top = columns[6, k]
        width = top - bottom
        for j in range(levels.shape[0]):
            price = bottom + levels[j] * width if columns[0, k] > 0.0 else top - levels[j] * width
            prices[bars[k], j] = price if width > 0.0 else math.nan


@jit
def choose(
    p: FloatArray,
    bars: NDArray[np.int32],
    count: int,
    stop: Bits,
    worth: NDArray[np.uint8],
    entry: Int8Array,
    chosen: NDArray[np.int32],
) -> int:
    """Put the bars that enter into `chosen`: those without a mark that pass hysteresis, cooldown and the risk map.

    Without a branch on any one of them. Returns their number.
    """
    passing = np.empty(count + 1, dtype=np.int32)
    left = at(0)
    for k in range(count):
        passing[left] = k
        mark = stop[at(k)]
        left += at((mark & _KEPT if mark >= SURE else mark) == 0)
    steps, cooldown = int(p[STEPS]), int(p[COOLDOWN_BARS])
    entered = at(0)
    resume = 0
    if steps <= 1:
        for q in range(left):
            k = passing[at(q)]
            i = bars[at(k)]
            enters = (i >= resume) & (worth[at(i)] != 0)
            chosen[entered] = i
            entered += at(enters)
            resume = i + 1 + cooldown if enters else resume
        return int(np.int64(entered))
    last_side = np.int8(0)
    last = -2
    run = 0
    for q in range(left):
        k = passing[at(q)]
        i = bars[at(k)]
        side = entry[at(i)]
        run = run + 1 if (side == last_side) & (last == i - 1) else 1
        last_side = side
        last = i
        enters = (run >= steps) & (i >= resume) & (worth[at(i)] != 0)
        chosen[entered] = i
        entered += at(enters)
        resume = i + 1 + cooldown if enters else resume
    return int(np.int64(entered))


@jit
def leave_below(p: FloatArray, direction: FloatArray, strength: FloatArray, leave: Int8Array) -> None:
    """The exit bits of `mark` at every bar: 1 where a rise is too unlikely, 2 where a fall is."""
    least = log_odds(p[EXIT_CONF])
    for i in range(leave.shape[0]):
        rise = np.uint8(1) if strength[i] + direction[i] < least else np.uint8(0)
        fall = np.uint8(2) if strength[i] - direction[i] < least else np.uint8(0)
        leave[i] = np.int8(rise | fall)
