"""The gates of `fibonacci`: each marks the bars that it stops with its bit; `entries.py` walks through what is left.

A gate is one plain loop without early exits, so that the compiler can take several bars at once; thresholds are moved
to the scale of the log odds beforehand, so that no bar needs an exponential before it enters. The gates that are always
asked are the loops of one compiled function, `mark`: as functions of their own they would be compiled twice.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit, rule
from genesis.strategy.confidence import log_odds
from genesis.strategy.fibonacci_parameters import INHERIT, P
from genesis.types import FloatArray, Int8Array

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
SURE = 128  # while the gates mark: confidence overrules the higher ladder
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
SIDE_PARAM, EXIT_CONF = int(P.side), int(P.exit_exit_conf_threshold)


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
def mark(
    p: FloatArray,
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
    stop: Bits,
    leave: Int8Array,
) -> None:
    """Mark in `stop` what each gate stops, and in `leave` (unless its length is 0) the exit bits; both are set anew.

    The higher ladder's block stands in `stop` even where SURE does: `enter`, or `overrule_by_rank` before it, lifts it.
    """
    n = rank.shape[0]
    low_rank, high_rank = p[LOW_RANK], p[HIGH_RANK]
    limits = np.empty(15)  # per zone the least log odds, then the least |d| in each regime
    for zone in range(3):
        at = ZONE + ZONE_STRIDE * zone
        limits[5 * zone] = log_odds(p[ENTRY_CONF] if p[at] == INHERIT else p[at])
        for regime in range(4):
            own = p[at + 1 + regime]
            limits[5 * zone + 1 + regime] = 0.5 * log_odds(p[REGIME_PROBA + regime] if own == INHERIT else own)

    # missing features, and confidence below its volatility zone's threshold
    low, mid, high = limits[0], limits[5], limits[10]
    enough = log_odds(p[OVERRIDE_CONF])
    overrules = np.uint8(SURE) if p[OVERRIDE] != 0.0 else np.uint8(0)
    for i in range(n):
        odds = strength[i] + abs(direction[i])
        floor = low if rank[i] < low_rank else (high if rank[i] > high_rank else mid)
        unsure = np.uint8(1 << CONFIDENCE) if odds < floor else np.uint8(0)
        sure = overrules if odds >= enough else np.uint8(0)
        stop[i] = np.uint8(1 << MISSING) if odds != odds else unsure | sure

    # exits: 1 where the probability of a rise is below the threshold, 2 where that of a fall is; unknown: 0
    least = log_odds(p[EXIT_CONF])
    for i in range(leave.shape[0]):
        rise = np.uint8(1) if strength[i] + direction[i] < least else np.uint8(0)
        fall = np.uint8(2) if strength[i] - direction[i] < least else np.uint8(0)
        leave[i] = np.int8(rise | fall)

    # the side that is not allowed
    if p[SIDE_PARAM] != 0.0:
        barred = p[SIDE_PARAM] == 2.0  # what `direction > 0` is on the side that is not
        for i in range(n):
            stop[i] |= np.uint8(1 << SIDE) if (direction[i] > 0.0) == barred else np.uint8(0)

    # too small a lead, and too small a share for the regime (in its zone): the share of the two directions' odds is
    # logistic(2 |d|), so a least share or edge is a least |d|; a d of 0 points nowhere, whatever is asked
    edge = max(0.5 * log_odds(0.5 + 0.5 * p[MIN_EDGE]), 5e-324)
    trend, span = p[TREND], p[RANGE]
    low0, low1, low2, low3 = limits[1], limits[2], limits[3], limits[4]
    mid0, mid1, mid2, mid3 = limits[6], limits[7], limits[8], limits[9]
    high0, high1, high2, high3 = limits[11], limits[12], limits[13], limits[14]
    same = True
    for regime in range(1, 5):
        same &= limits[regime] == limits[5 + regime] and limits[10 + regime] == limits[5 + regime]
    if same:
        for i in range(n):
            lead = abs(direction[i])
            calm = mid2 if abs(gap[i]) <= span else mid3
            share = mid0 if gap[i] > trend else (mid1 if gap[i] < -trend else calm)
            weak = np.uint8(1 << EDGE) if lead < edge else np.uint8(0)
            stop[i] |= np.uint8(weak | np.uint8(1 << REGIME)) if lead < share else weak
    else:
        for i in range(n):
            lead = abs(direction[i])
            bull, bear, flat = gap[i] > trend, gap[i] < -trend, abs(gap[i]) <= span
            calm = low0 if bull else (low1 if bear else (low2 if flat else low3))
            usual = mid0 if bull else (mid1 if bear else (mid2 if flat else mid3))
            wild = high0 if bull else (high1 if bear else (high2 if flat else high3))
            share = calm if rank[i] < low_rank else (wild if rank[i] > high_rank else usual)
            weak = np.uint8(1 << EDGE) if lead < edge else np.uint8(0)
            stop[i] |= np.uint8(weak | np.uint8(1 << REGIME)) if lead < share else weak

    # a close outside the levels that its direction may enter at, with slack, or the missing policy without a ladder.
    # p[at:] is enabled, tolerance, long max and min, short min and max, missing policy; level L is the price
    # bottom + L * (top - bottom). Both ladders in one loop read direction, close and ATR once.
    at = HTF_GATE
    asked = p[at] != 0.0 and p[USE_HTF] != 0.0
    htf_mark = np.uint8(1 << HTF) if asked else np.uint8(0)
    htf_absent = htf_mark if p[at + 6] != 0.0 else np.uint8(0)
    htf_slack, htf_l1, htf_l0, htf_s0, htf_s1 = p[at + 1], p[at + 2], p[at + 3], p[at + 4], p[at + 5]
    at = LTF_GATE
    ltf_mark = np.uint8(1 << LTF) if p[at] != 0.0 else np.uint8(0)
    ltf_absent = ltf_mark if p[at + 6] != 0.0 else np.uint8(0)
    ltf_slack, ltf_l1, ltf_l0, ltf_s0, ltf_s1 = p[at + 1], p[at + 2], p[at + 3], p[at + 4], p[at + 5]
    for i in range(n):
        rising = direction[i] > 0.0
        width = htf_top[i] - htf_bottom[i]
        upper = htf_bottom[i] + (htf_l1 if rising else htf_s1) * width + htf_slack * atr[i]
        lower = htf_bottom[i] + (htf_l0 if rising else htf_s0) * width - htf_slack * atr[i]
        outside = htf_mark if (close[i] > upper) | (close[i] < lower) else np.uint8(0)
        higher = outside if width > 0.0 else htf_absent
        width = top[i] - bottom[i]
        upper = bottom[i] + (ltf_l1 if rising else ltf_s1) * width + ltf_slack * atr[i]
        lower = bottom[i] + (ltf_l0 if rising else ltf_s0) * width - ltf_slack * atr[i]
        outside = ltf_mark if (close[i] > upper) | (close[i] < lower) else np.uint8(0)
        stop[i] |= higher | (outside if width > 0.0 else ltf_absent)


@jit
def near_levels(
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
def overrule_by_rank(p: FloatArray, direction: FloatArray, strength: FloatArray, stop: Bits) -> None:
    """Lift the higher ladder's block where confidence ranks high in its window; bars stopped before it are left."""
    window, percentile, history = int(p[ADAPTIVE + 1]), p[ADAPTIVE + 2], p[ADAPTIVE + 3]
    block = 1 << HTF
    for i in range(strength.shape[0]):
        if stop[i] & (2 * block - 1) == block:
            odds = strength[i] + abs(direction[i])
            known = 0
            below = 0
            for j in range(max(0, i - window + 1), i + 1):
                value = strength[j] + abs(direction[j])
                known += value == value
                below += value <= odds
            if known >= history and below >= percentile * known:
                stop[i] &= np.uint8(255 - block)
