"""The gates of `fibonacci`, asked in order at every bar; each counts the bars that it was the first to stop."""

from __future__ import annotations

import math

import numpy as np

from genesis.engine.compile import jit, rule
from genesis.strategy.confidence import log_odds, probability
from genesis.strategy.fibonacci_parameters import INHERIT, P
from genesis.types import FloatArray, Int8Array, IntArray

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


@rule
def ladder_allows(
    p: FloatArray, at: int, side: int, price: float, top: float, bottom: float, atr: float, near: FloatArray
) -> bool:
    """Whether a ladder lets a direction in; `p[at:]` is enabled, tolerance, long max/min, short min/max, missing policy.

    Level L is the price bottom + L * (top - bottom): 0 is the swing low, 1 the swing high.
    """
    if p[at] == 0.0:
        return True
    span = top - bottom
    if not span > 0.0:
        return p[at + 6] == 0.0
    slack = p[at + 1] * atr
    upper = p[at + 2] if side > 0 else p[at + 5]
    lower = p[at + 3] if side > 0 else p[at + 4]
    if price > bottom + upper * span + slack or price < bottom + lower * span - slack:
        return False
    if near.shape[0] == 0:
        return True
    for k in range(near.shape[0]):
        if abs(price - (bottom + near[k] * span)) <= slack:
            return True
    return False


@rule
def ranks_high(p: FloatArray, direction: FloatArray, strength: FloatArray, i: int) -> bool:
    """Whether the candidate's log odds rank at or above the percentile among the known ones of the window up to i."""
    if p[ADAPTIVE] == 0.0:
        return False
    now = strength[i] + abs(direction[i])
    known = 0
    below = 0
    for j in range(max(0, i - int(p[ADAPTIVE + 1]) + 1), i + 1):
        value = strength[j] + abs(direction[j])
        known += value == value
        below += value <= now
    return known >= p[ADAPTIVE + 3] and below >= p[ADAPTIVE + 2] * known


@rule
def mapped_size(table: FloatArray, confidence: float) -> float:
    """Size of the last pair whose confidence is at or below the given one; 0 below the first."""
    size = 0.0
    for k in range(table.shape[0]):
        if confidence >= table[k, 0]:
            size = table[k, 1]
    return size


@jit
def decide(
    p: FloatArray,
    table: FloatArray,
    near_htf_long: FloatArray,
    near_htf_short: FloatArray,
    near_ltf_long: FloatArray,
    near_ltf_short: FloatArray,
    direction: FloatArray,
    strength: FloatArray,
    close: FloatArray,
    atr: FloatArray,
    rank: FloatArray,
    gap: FloatArray,
    top: FloatArray,
    bottom: FloatArray,
    htf_gap: FloatArray,
    htf_top: FloatArray,
    htf_bottom: FloatArray,
) -> tuple[Int8Array, FloatArray, IntArray]:
    """Entries, sizes (1 where there is none) and how many bars each gate stopped."""
    n = close.shape[0]
    entry = np.zeros(n, dtype=np.int8)
    size = np.ones(n)
    blocked = np.zeros(len(GATES), dtype=np.int64)
    least = np.empty(3)
    for zone in range(3):
        own = p[ZONE + ZONE_STRIDE * zone]
        least[zone] = log_odds(p[ENTRY_CONF] if own == INHERIT else own)
    lowest = min(least[0], min(least[1], least[2]))
    override = log_odds(p[OVERRIDE_CONF])
    steps = max(1, int(p[STEPS]))
    cooldown = int(p[COOLDOWN_BARS])
    run_side = 0
    run_last = -2
    run = 0
    resume = 0
    for i in range(n):
        odds = strength[i] + abs(direction[i])
        if not odds >= lowest:
            blocked[CONFIDENCE if odds == odds else MISSING] += 1
            continue
        zone = zone_of(rank[i], p[LOW_RANK], p[HIGH_RANK])
        if not odds >= least[zone]:
            blocked[CONFIDENCE] += 1
            continue
        side = 1 if direction[i] > 0.0 else -1
        if (p[SIDE_PARAM] == 1.0 and side < 0) or (p[SIDE_PARAM] == 2.0 and side > 0):
            blocked[SIDE] += 1
            continue
        chance = probability(odds)
        other = probability(strength[i] - abs(direction[i]))
        if chance - other < p[MIN_EDGE] or direction[i] == 0.0:
            blocked[EDGE] += 1
            continue
        regime = regime_of(gap[i], p[TREND], p[RANGE])
        share = p[ZONE + ZONE_STRIDE * zone + 1 + regime]
        if share == INHERIT:
            share = p[REGIME_PROBA + regime]
        if chance < share * (chance + other):
            blocked[REGIME] += 1
            continue
        if p[USE_HTF] != 0.0:
            near = near_htf_long if side > 0 else near_htf_short
            if not ladder_allows(p, HTF_GATE, side, close[i], htf_top[i], htf_bottom[i], atr[i], near) and not (
                p[OVERRIDE] != 0.0 and (odds >= override or ranks_high(p, direction, strength, i))
            ):
                blocked[HTF] += 1
                continue
        near = near_ltf_long if side > 0 else near_ltf_short
        if not ladder_allows(p, LTF_GATE, side, close[i], top[i], bottom[i], atr[i], near):
            blocked[LTF] += 1
            continue
        run = run + 1 if run_side == side and run_last == i - 1 else 1
        run_side = side
        run_last = i
        if run < steps:
            blocked[HYSTERESIS] += 1
            continue
        if i < resume:
            blocked[COOLDOWN] += 1
            continue
        amount = mapped_size(table, chance)
        amount *= p[SIZE_REGIME + regime] * p[SIZE_ZONE + zone]
        amount *= p[SIZE_HTF + regime_of(htf_gap[i], p[TREND], p[RANGE])]
        amount = min(amount, p[MAX_SIZE])
        if not amount > 0.0:
            blocked[SIZE] += 1
            continue
        entry[i] = side
        size[i] = amount
        resume = i + 1 + cooldown
    return entry, size, blocked


@jit
def distances(entry: Int8Array, atr: FloatArray, multiple: float) -> FloatArray:
    """`multiple` ATRs at the bars that enter, 0 (none) elsewhere."""
    out = np.zeros(entry.shape[0])
    for i in range(entry.shape[0]):
        if entry[i] != 0:
            out[i] = multiple * atr[i]
    return out


@jit
def profit_levels(entry: Int8Array, top: FloatArray, bottom: FloatArray, levels: FloatArray) -> FloatArray:
    """float64[n, k]: prices at which parts leave, at the bars that enter; NaN elsewhere and without a ladder.

    A long's level L is bottom + L * span, a short's its mirror top - L * span.
    """
    n = entry.shape[0]
    out = np.full((n, levels.shape[0]), math.nan)
    for i in range(n):
        span = top[i] - bottom[i]
        if entry[i] != 0 and span > 0.0:
            for k in range(levels.shape[0]):
                out[i, k] = bottom[i] + levels[k] * span if entry[i] > 0 else top[i] - levels[k] * span
    return out
