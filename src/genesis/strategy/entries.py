"""Where `fibonacci` enters: what the gates have left goes through hysteresis, cooldown and the risk map, bar by bar."""

from __future__ import annotations

import numpy as np

from genesis.engine.compile import jit
from genesis.strategy.confidence import probability
from genesis.strategy.fibonacci_parameters import P
from genesis.strategy.gates import (
    COOLDOWN,
    HIGH_RANK,
    HTF,
    HYSTERESIS,
    LATER,
    LOW_RANK,
    RANGE,
    SIZE,
    SURE,
    TREND,
    Bits,
    regime_of,
    zone_of,
)
from genesis.types import FloatArray, Int8Array, IntArray

STEPS, COOLDOWN_BARS = int(P.gates_hysteresis_steps), int(P.gates_cooldown_bars)
SIZE_REGIME, SIZE_HTF = int(P.risk_regime_size_multipliers_bull), int(P.risk_htf_regime_size_multipliers_bull)
SIZE_ZONE, MAX_SIZE = int(P.risk_volatility_size_multipliers_low), int(P.risk_max_size)
_ONES = np.uint64(0x0101010101010101)  # eight bars' marks lie in one word: 1 in each
_TOPS = np.uint64(0x8080808080808080)
_FULL = np.uint64(0x7F7F7F7F7F7F7F7F)
_PAIRS = np.uint64(0x00FF00FF00FF00FF)


@jit
def enter(
    p: FloatArray,
    sizes: FloatArray,
    levels: FloatArray,
    direction: FloatArray,
    strength: FloatArray,
    rank: FloatArray,
    gap: FloatArray,
    htf_gap: FloatArray,
    atr: FloatArray,
    top: FloatArray,
    bottom: FloatArray,
    stop: Bits,
    blocked: IntArray,
    entry: Int8Array,
    size: FloatArray,
    multiples: FloatArray,
    gaps: FloatArray,
    prices: FloatArray,
) -> None:
    """Fill the columns of the signals from the marks, and `blocked` (given as 0) with the first gate of every bar.

    `stop` is marked for whole words of eight bars: those past the last bar as MISSING by the caller, who takes them
    off the count. Where SURE is set it takes the higher ladder's block away, and goes. A bar without a mark goes on to
    hysteresis, cooldown and the risk map, which write themselves into `stop`. Given are `entry` 0, `size` 1, `gaps`
    0 (a row of n bars for each of the `multiples` of the ATR) and `prices` NaN (n rows of the levels, flat).
    """
    # Each step is a loop of this function, not a rule: a rule is compiled on its own besides.
    for i in range(stop.shape[0]):
        stop[i] &= np.uint8(255 - SURE - (1 << HTF)) if stop[i] >= SURE else np.uint8(255 - SURE)

    # count every bar for the first gate that marked it: keep the lowest mark of each byte and count the bytes of a word
    # side by side, no more than 255 times before they are added up
    words = stop.view(np.uint64)
    for gate in range(7):
        place = np.uint64(gate)
        for start in range(0, words.shape[0], 240):
            part = words[start : min(words.shape[0], start + 240)]  # indices from 0 on: only then is it vectorised
            met = np.uint64(0)
            for k in range(part.shape[0]):
                met += ((part[k] & (_TOPS - part[k])) >> place) & _ONES
            pairs = (met & _PAIRS) + ((met >> np.uint64(8)) & _PAIRS)
            blocked[gate] += np.int64((pairs * np.uint64(0x0001000100010001)) >> np.uint64(48))

    # the bars without a mark, without a branch on any one of them
    bars = np.empty(stop.shape[0], dtype=np.int32)
    count = 0
    for word in range(words.shape[0]):
        if (~(words[word] + _FULL) & _TOPS) != np.uint64(0):  # not all eight are marked
            for i in range(8 * word, 8 * word + 8):
                bars[count] = i
                count += stop[i] == 0

    # hysteresis, cooldown and the risk map, in the order of the bars
    steps, cooldown = int(p[STEPS]), int(p[COOLDOWN_BARS])
    last_side = np.int8(0)
    last = -2
    run = 0
    resume = 0
    entered = 0
    for k in range(count):
        i = bars[k]
        side = np.int8(1) if direction[i] > 0.0 else np.int8(-1)
        run = run + 1 if last_side == side and last == i - 1 else 1
        last_side = side
        last = i
        if run < steps:
            blocked[HYSTERESIS] += 1
            stop[i] = LATER + HYSTERESIS
        elif i < resume:
            blocked[COOLDOWN] += 1
            stop[i] = LATER + COOLDOWN
        else:
            chance = probability(strength[i] + abs(direction[i]))
            amount = 0.0
            for row in range(sizes.shape[0]):
                amount = sizes[row, 1] if chance >= sizes[row, 0] else amount
            amount *= p[SIZE_REGIME + regime_of(gap[i], p[TREND], p[RANGE])]
            amount *= p[SIZE_HTF + regime_of(htf_gap[i], p[TREND], p[RANGE])]
            amount *= p[SIZE_ZONE + zone_of(rank[i], p[LOW_RANK], p[HIGH_RANK])]
            amount = min(amount, p[MAX_SIZE])
            if amount > 0.0:
                entry[i] = side
                size[i] = amount
                resume = i + 1 + cooldown
                bars[entered] = i  # entered <= k: what is still to be read is not overwritten
                entered += 1
            else:
                blocked[SIZE] += 1
                stop[i] = LATER + SIZE

    # distances at the bars that enter, and the prices at which parts leave: a long's level L is bottom + L * span, a
    # short's its mirror top - L * span; without a ladder there is none
    for row in range(gaps.shape[0]):
        for k in range(entered):
            gaps[row, bars[k]] = multiples[row] * atr[bars[k]]
    width = levels.shape[0]
    if width > 0:
        for k in range(entered):
            i = bars[k]
            span = top[i] - bottom[i]
            if span > 0.0:
                for j in range(width):
                    prices[i * width + j] = bottom[i] + levels[j] * span if entry[i] > 0 else top[i] - levels[j] * span
