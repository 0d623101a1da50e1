"""The logistic model of `fibonacci`: transparent features, weights that are parameters, one log odds per direction."""

from __future__ import annotations

import math

import numpy as np

from genesis.engine.compile import jit, rule
from genesis.strategy.fibonacci_parameters import P
from genesis.types import FloatArray

BIAS = int(P.model_bias)
RSI, DISTANCE, SLOPE, BOLLINGER, ADX, ATR_RATIO, NEARNESS = (
    int(getattr(P, f"model_weights_{name}"))
    for name in ("rsi", "ema_distance", "ema_slope", "bollinger", "adx", "atr_ratio", "fib_nearness")
)


@rule
def probability(log_odds: float) -> float:
    """The logistic function."""
    return 1.0 / (1.0 + math.exp(-log_odds))


@rule
def log_odds(probability: float) -> float:
    """Inverse of the logistic function; thresholds are compared on this scale, where no exponential is needed."""
    if probability <= 0.0:
        return -math.inf
    if probability >= 1.0:
        return math.inf
    return math.log(probability) - math.log1p(-probability)


@jit
def score(
    p: FloatArray,
    rsi: FloatArray,
    distance: FloatArray,
    rise: FloatArray,
    bollinger: FloatArray,
    adx: FloatArray,
    atr_ratio: FloatArray,
    nearness: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Direction d and strength s per bar: log odds of a rise s + d, of a fall s - d; NaN until every feature is known.

    Features that point somewhere (RSI, distance, slope, Bollinger) enter d, the others s. Nearness counts 0 while
    there is no ladder, so that the gates' missing policy decides about those bars.
    """
    n = rsi.shape[0]
    direction = np.empty(n)
    strength = np.empty(n)
    w_rsi = p[RSI] / 50.0
    w_adx = p[ADX] / 25.0
    shift = -p[RSI]
    base = p[BIAS] - p[ADX]
    w_distance, w_slope, w_bollinger = p[DISTANCE], p[SLOPE], p[BOLLINGER]
    w_ratio, w_near = p[ATR_RATIO], p[NEARNESS]
    for i in range(n):
        direction[i] = (
            shift + w_rsi * rsi[i] + w_distance * distance[i] + w_slope * rise[i] + w_bollinger * bollinger[i]
        )
    for i in range(n):
        near = nearness[i] if nearness[i] == nearness[i] else 0.0
        strength[i] = base + w_adx * adx[i] + w_ratio * atr_ratio[i] + w_near * near
    return direction, strength
