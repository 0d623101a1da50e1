"""Swings and the Fibonacci ladder between them: pivots count only once later bars have confirmed them."""

from __future__ import annotations

import numpy as np

from genesis.engine.compile import jit
from genesis.types import FloatArray


@jit
def swing(price: FloatArray, left: int, right: int, sign: float) -> FloatArray:
    """Price of the last confirmed pivot high (`sign` 1) or pivot low (-1) as known at each bar; NaN before the first.

    Bar p is a pivot high when its price is above the `left` prices before it and not below the `right` ones after it;
    that is known at bar p + right, and there it appears. Of equal prices the first is the pivot. A pivot low is the
    same on the negated prices.

    Pivots cannot be foreseen, so each bar's neighbours are compared by their largest, without a branch.
    """
    n = price.shape[0]
    out = np.empty(n)
    for i in range(min(n, left + right)):
        out[i] = np.nan
    if n <= left + right:
        return out
    signed = np.empty(n)
    for i in range(n):
        signed[i] = sign * price[i]
    before = largest(signed, left)
    after = largest(signed, right)[left + 1 :]
    here, shown, to = signed[left:], price[left:], out[left + right :]
    pivots = np.empty(to.shape[0], dtype=np.int64)
    for i in range(pivots.shape[0]):
        pivots[i] = i if (here[i] > before[i]) & (here[i] >= after[i]) else -1
    last = -1
    for i in range(pivots.shape[0]):
        last = max(last, pivots[i])
        to[i] = shown[last] if last >= 0 else np.nan
    return out


@jit
def largest(x: FloatArray, width: int) -> FloatArray:
    """Largest of the `width` values from each index on, to the last that has so many; each step doubles the reach."""
    n = x.shape[0]
    most, spare = x.copy(), np.empty(n)
    done = 1
    while done < width:
        step = min(done, width - done)
        now, later = most, most[step:]
        for i in range(later.shape[0]):  # into another array: in place it would not be vectorised
            spare[i] = now[i] if now[i] > later[i] else later[i]
        most, spare = spare, now
        done += step
    return most


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
