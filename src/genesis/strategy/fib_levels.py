"""Swings and the Fibonacci ladder between them: pivots count only once later bars have confirmed them."""

from __future__ import annotations

import numpy as np

from genesis.engine.compile import jit
from genesis.types import FloatArray


@jit
def swing_high(high: FloatArray, left: int, right: int) -> FloatArray:
    """Price of the last confirmed pivot high as known at each bar; NaN before the first.

    Bar p is a pivot when its high is above the `left` highs before it and not below the `right` highs after it; that
    is known at bar p + right, and there it appears. Of equal highs the first is the pivot. Pivot lows are the same
    on the negated lows, negated.
    """
    n = high.shape[0]
    out = np.empty(n)
    last = np.nan
    for i in range(n):
        p = i - right
        if p >= left:
            top = high[p]
            pivot = True
            for j in range(p + 1, i + 1):
                if high[j] > top:
                    pivot = False
                    break
            if pivot:
                for j in range(p - left, p):
                    if high[j] >= top:
                        pivot = False
                        break
            if pivot:
                last = top
        out[i] = last
    return out


@jit
def nearness(close: FloatArray, top: FloatArray, bottom: FloatArray, atr: FloatArray) -> FloatArray:
    """1 when the close is on a level of the ladder, falling to 0 at one ATR from the nearest; NaN without a ladder.

    The ladder's levels are fractions of the range from the swing low up: 0.236, 0.382, 0.5, 0.618, 0.786.
    """
    n = close.shape[0]
    out = np.empty(n)
    for i in range(n):
        low = bottom[i]
        span = top[i] - low
        price = close[i]
        best = abs(price - (low + 0.236 * span))
        best = min(best, abs(price - (low + 0.382 * span)))
        best = min(best, abs(price - (low + 0.5 * span)))
        best = min(best, abs(price - (low + 0.618 * span)))
        best = min(best, abs(price - (low + 0.786 * span)))
        unit = atr[i]
        if not span > 0.0:
            out[i] = np.nan
        elif unit > 0.0:
            out[i] = max(0.0, 1.0 - best / unit)
        elif unit == 0.0:
            out[i] = 1.0 if best == 0.0 else 0.0
        else:
            out[i] = np.nan
    return out
