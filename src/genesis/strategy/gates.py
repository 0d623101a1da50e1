"""The gates of `fibonacci`: each marks the bars that it stops with its bit, `enter` walks through what is left.

A gate is one plain loop without early exits, so that the compiler can take several bars at once; thresholds are moved
to the scale of the log odds beforehand, so that no bar needs an exponential before it enters.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit, rule
from genesis.strategy.confidence import log_odds, probability
from genesis.strategy.fibonacci_parameters import INHERIT, P
from genesis.types import FloatArray, Int8Array, IntArray

Bits = NDArray[np.uint8]

GATES = (
    "missing_features",
    "entry_conf_overall",
    "side",
    "min_edge",
    "regime_proba",
    "htf_fib",
    "ltf_fib",
    "hysteresis",
    "cooldown",
    "risk_map",
)
LATER = 128  # what `enter` writes into `stop` for the gates after the marks: LATER + gate
MISSING, CONFIDENCE, SIDE, EDGE, REGIME, HTF, LTF, HYSTERESIS, COOLDOWN, SIZE = range(len(GATES))

ENTRY_CONF, MIN_EDGE = int(P.thresholds_entry_conf_overall), int(P.thresholds_min_edge)
REGIME_PROBA = int(P.thresholds_regime_proba_bull)  # bull, bear, ranging, balanced follow each other
ZONE = int(P.thresholds_signal_adaptation_zones_low_entry_conf_overall)  # one threshold, then four shares, per zone
ZONE_STRIDE = int(P.thresholds_signal_adaptation_zones_mid_entry_conf_overall) - ZONE
LOW_RANK = int(P.thresholds_signal_adaptation_low_percentile)
HIGH_RANK = int(P.thresholds_signal_adaptation_high_percentile)
TREND, RANGE = int(P.regime_trend_pct), int(P.regime_range_pct)
HTF_GATE, LTF_GATE = int(P.htf_fib_entry_enabled), int(P.ltf_fib_entry_enabled)
USE_HTF, OVERRIDE = int(P.multi_timeframe_use_htf_block), int(P.multi_timeframe_allow_ltf_override)
OVERRIDE_CONF = int(P.multi_timeframe_ltf_override_threshold)
ADAPTIVE = int(P.multi_timeframe_ltf_override_adaptive_enabled)  # enabled, window, percentile, min_history
STEPS, COOLDOWN_BARS = int(P.gates_hysteresis_steps), int(P.gates_cooldown_bars)
SIZE_REGIME, SIZE_HTF = int(P.risk_regime_size_multipliers_bull), int(P.risk_htf_regime_size_multipliers_bull)
SIZE_ZONE, MAX_SIZE = int(P.risk_volatility_size_multipliers_low), int(P.risk_max_size)
SIDE_PARAM = int(P.side)


@rule
def regime_of(gap: float, trend: float, span: float) -> int:
    """0 bull, 1 bear, 2 ranging, 3 balanced, from the close against its mean; unknown is balanced."""
    if gap > trend:
        return 0
    if gap < -trend:
        return 1
    return 2 if abs(gap) <= span else 3


@rule
def zone_of(rank: float, low: float, high: float) -> int:
    """0 low, 1 mid, 2 high volatility; unknown is mid."""
    if rank < low:
        return 0
    return 2 if rank > high else 1


@jit
def confidence_gate(p: FloatArray, direction: FloatArray, strength: FloatArray, rank: FloatArray, stop: Bits) -> None:
    """Missing features, and confidence below its volatility zone's threshold; sets `stop` anew."""
    least = np.empty(3)
    for zone in range(3):
        own = p[ZONE + ZONE_STRIDE * zone]
        least[zone] = log_odds(p[ENTRY_CONF] if own == INHERIT else own)
    low, mid, high = least[0], least[1], least[2]
    low_rank, high_rank = p[LOW_RANK], p[HIGH_RANK]
    for i in range(rank.shape[0]):
        odds = strength[i] + abs(direction[i])
        floor = low if rank[i] < low_rank else (high if rank[i] > high_rank else mid)
        unsure = np.uint8(1 << CONFIDENCE) if odds < floor else np.uint8(0)
        stop[i] = np.uint8(1 << MISSING) if odds != odds else unsure


@jit
def lead_limits(p: FloatArray, out: FloatArray) -> None:
    """The least |d| that each zone (in turn) asks for in each regime, 12 numbers, and the one of the edge.

    The candidate's share of the two directions' odds is logistic(2 |d|): a least share or edge is a least |d|.
    """
    for k in range(12):
        own = p[ZONE + ZONE_STRIDE * (k // 4) + 1 + k % 4]
        out[k] = 0.5 * log_odds(p[REGIME_PROBA + k % 4] if own == INHERIT else own)
    out[12] = 0.5 * log_odds(0.5 + 0.5 * p[MIN_EDGE])


@jit
def direction_gates(
    p: FloatArray, limits: FloatArray, direction: FloatArray, rank: FloatArray, gap: FloatArray, stop: Bits
) -> None:
    """The side that is not allowed, too small a lead, and too small a share for the regime (in its zone)."""
    no_long, no_short = p[SIDE_PARAM] == 2.0, p[SIDE_PARAM] == 1.0
    trend, span, low_rank, high_rank = p[TREND], p[RANGE], p[LOW_RANK], p[HIGH_RANK]
    low = (limits[0], limits[1], limits[2], limits[3])
    mid = (limits[4], limits[5], limits[6], limits[7])
    high = (limits[8], limits[9], limits[10], limits[11])
    edge = limits[12]
    for i in range(gap.shape[0]):
        lead = abs(direction[i])
        calm = _of_regime(low, gap[i], trend, span)
        usual = _of_regime(mid, gap[i], trend, span)
        wild = _of_regime(high, gap[i], trend, span)
        share = calm if rank[i] < low_rank else (wild if rank[i] > high_rank else usual)
        barred = np.uint8(1 << SIDE) if (no_long if direction[i] > 0.0 else no_short) else np.uint8(0)
        close = np.uint8(1 << EDGE) if (lead < edge) | (lead == 0.0) else np.uint8(0)
        torn = np.uint8(1 << REGIME) if lead < share else np.uint8(0)
        stop[i] |= barred | close | torn


@rule
def _of_regime(values: tuple[float, float, float, float], gap: float, trend: float, span: float) -> float:
    """The value of the regime, chosen without a branch."""
    calm = values[2] if abs(gap) <= span else values[3]
    return values[0] if gap > trend else (values[1] if gap < -trend else calm)


@jit
def ladder_gate(
    p: FloatArray,
    at: int,
    bit: int,
    direction: FloatArray,
    close: FloatArray,
    atr: FloatArray,
    top: FloatArray,
    bottom: FloatArray,
    stop: Bits,
) -> None:
    """A close outside the levels that its direction may enter at, with slack; the missing policy without a ladder.

    `p[at:]` is enabled, tolerance, long max and min, short min and max, missing policy. Level L is the price
    bottom + L * (top - bottom): 0 is the swing low, 1 the swing high.
    """
    tolerance, long_max, long_min, short_min, short_max = p[at + 1], p[at + 2], p[at + 3], p[at + 4], p[at + 5]
    mark = np.uint8(1 << bit)
    absent = mark if p[at + 6] != 0.0 else np.uint8(0)
    for i in range(close.shape[0]):
        span = top[i] - bottom[i]
        slack = tolerance * atr[i]
        upper = bottom[i] + (long_max if direction[i] > 0.0 else short_max) * span + slack
        lower = bottom[i] + (long_min if direction[i] > 0.0 else short_min) * span - slack
        outside = mark if (close[i] > upper) | (close[i] < lower) else np.uint8(0)
        stop[i] |= outside if span > 0.0 else absent


@jit
def near_gate(
    side: float,
    levels: FloatArray,
    tolerance: float,
    bit: int,
    direction: FloatArray,
    close: FloatArray,
    atr: FloatArray,
    top: FloatArray,
    bottom: FloatArray,
    stop: Bits,
) -> None:
    """A close near none of the levels asked for, on one side; without a ladder the missing policy has decided."""
    for i in range(close.shape[0]):
        span = top[i] - bottom[i]
        if direction[i] * side > 0.0 and span > 0.0:
            best = math.inf
            for k in range(levels.shape[0]):
                best = min(best, abs(close[i] - (bottom[i] + levels[k] * span)))
            if best > tolerance * atr[i]:
                stop[i] |= np.uint8(1 << bit)


@jit
def override(p: FloatArray, direction: FloatArray, strength: FloatArray, stop: Bits) -> None:
    """Lift the higher ladder's block where confidence reaches the threshold, or (adaptive) ranks high in its window."""
    enough = log_odds(p[OVERRIDE_CONF])
    adaptive = p[ADAPTIVE] != 0.0
    window, percentile, history = int(p[ADAPTIVE + 1]), p[ADAPTIVE + 2], p[ADAPTIVE + 3]
    mark = np.uint8(1 << HTF)
    for i in range(stop.shape[0]):
        if stop[i] & mark:
            odds = strength[i] + abs(direction[i])
            lift = odds >= enough
            if adaptive and not lift and stop[i] < 2 * mark:
                known = 0
                below = 0
                for j in range(max(0, i - window + 1), i + 1):
                    value = strength[j] + abs(direction[j])
                    known += value == value
                    below += value <= odds
                lift = known >= history and below >= percentile * known
            if lift:
                stop[i] &= ~mark


@jit
def enter(
    p: FloatArray,
    sizes: FloatArray,
    direction: FloatArray,
    strength: FloatArray,
    rank: FloatArray,
    gap: FloatArray,
    htf_gap: FloatArray,
    stop: Bits,
    entry: Int8Array,
    size: FloatArray,
    blocked: IntArray,
    waiting: IntArray,
) -> int:
    """Fill `entry` (given as 0), `size` (as 1) and `blocked` (as 0) from the marks; `waiting` is room for n bars.

    The bars that enter are left in `waiting`, as many as are returned.

    The first gate that marked a bar counts it; what no gate marked goes on to hysteresis, cooldown and the risk map,
    which write themselves into `stop`.
    """
    n = stop.shape[0]
    met = np.zeros(4 * 128, dtype=np.int64)  # four tables by turns: equal neighbours need not wait for each other
    count = 0
    for i in range(n):
        met[(i & 3) * 128 + stop[i]] += 1
        waiting[count] = i
        count += stop[i] == 0
    for marks in range(1, 128):
        gate = 0
        while not (marks >> gate) & 1:
            gate += 1
        blocked[gate] += met[marks] + met[128 + marks] + met[256 + marks] + met[384 + marks]
    steps, cooldown = int(p[STEPS]), int(p[COOLDOWN_BARS])
    last_side = np.int8(0)
    last = -2
    run = 0
    resume = 0
    entered = 0
    for k in range(count):
        i = waiting[k]
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
                waiting[entered] = i  # entered <= k: what is still to be read is not overwritten
                entered += 1
            else:
                blocked[SIZE] += 1
                stop[i] = LATER + SIZE
    return entered


@jit
def distances(bars: IntArray, atr: FloatArray, multiple: float, out: FloatArray) -> None:
    """Put `multiple` ATRs at these bars."""
    for k in range(bars.shape[0]):
        out[bars[k]] = multiple * atr[bars[k]]


@jit
def profit_levels(
    bars: IntArray, entry: Int8Array, top: FloatArray, bottom: FloatArray, levels: FloatArray, out: FloatArray
) -> None:
    """Put the prices at which parts leave at these bars; `out` holds n rows of k prices, flat, NaN so far.

    A long's level L is bottom + L * span, a short's its mirror top - L * span; without a ladder there is none.
    """
    width = levels.shape[0]
    for k in range(bars.shape[0]):
        i = bars[k]
        span = top[i] - bottom[i]
        if span > 0.0:
            for j in range(width):
                out[i * width + j] = bottom[i] + levels[j] * span if entry[i] > 0 else top[i] - levels[j] * span
