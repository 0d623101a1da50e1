"""Causal indicators as compiled array loops: value i reads bars 0..i only, and is NaN until it has enough of them.

Definitions and seeds follow TA-Lib where it has the indicator (agreement to 1e-9 is tested), so a study can be
compared with other tools. All loops take float64[n], C-contiguous, finite; `period` is at least 1 (the doorway in
`features.py` checks). Wilder, New Concepts in Technical Trading Systems (1978), for RSI, ATR and ADX.
"""

from __future__ import annotations

import math

import numpy as np

from genesis.engine.compile import jit, rule
from genesis.types import FloatArray

at = np.uint64  # never counted from the end, which spares a comparison at every access


@jit
def sma(x: FloatArray, period: int) -> FloatArray:
    """Mean of the last `period` values; first at index period-1."""
    n = x.shape[0]
    out = np.empty(n)
    total = 0.0
    for i in range(min(period - 1, n)):
        total += x[i]
        out[i] = np.nan
    before = 0.0
    for i in range(period - 1, n):
        total += x[i] - before
        out[i] = total
        before = x[i - period + 1]
    for i in range(n):  # apart from the sum, whose order is fixed, divisions are made several at once
        out[i] = out[i] / period
    return out


@rule
def ema_until(x: FloatArray, period: int, start: int, end: int, out: FloatArray) -> float:
    """`ema` of the bars before `end`, into `out`; returns the last mean."""
    first = start + period - 1
    k = 2.0 / (period + 1.0)
    keep = 1.0 - k
    value = 0.0
    for i in range(min(first, end)):
        out[at(i)] = np.nan
    for i in range(start, min(first + 1, end)):
        value += x[at(i)]
    if first < end:
        value /= period
        out[at(first)] = value
    for i in range(first + 1, end):
        value = value * keep + x[at(i)] * k
        out[at(i)] = value
    return value


@jit
def ema(x: FloatArray, period: int, start: int = 0) -> FloatArray:
    """Exponential mean with weight 2/(period+1), seeded by the mean of `period` values from index `start`."""
    out = np.empty(x.shape[0])
    ema_until(x, period, start, x.shape[0], out)
    return out


@rule
def rsi_until(close: FloatArray, period: int, end: int, out: FloatArray) -> tuple[float, float]:
    """`rsi` of the bars before `end`, into `out`; returns the last mean gain and loss."""
    gain = 0.0
    loss = 0.0
    keep = (period - 1.0) / period
    weight = 1.0 / period
    for i in range(min(period, end)):
        out[at(i)] = np.nan
    for i in range(1, min(period + 1, end)):
        change = close[at(i)] - close[at(i - 1)]
        gain += max(change, 0.0)
        loss -= min(change, 0.0)
    if period < end:
        gain /= period
        loss /= period
        total = gain + loss
        out[at(period)] = 100.0 * gain / total if total > 1e-14 else 0.0
    for i in range(period + 1, end):
        change = close[at(i)] - close[at(i - 1)]
        gain = gain * keep + max(change, 0.0) * weight
        loss = loss * keep - min(change, 0.0) * weight
        total = gain + loss
        out[at(i)] = 100.0 * gain / total if total > 1e-14 else 0.0
    return gain, loss


@jit
def rsi(close: FloatArray, period: int) -> FloatArray:
    """Wilder's relative strength, 0..100; first at index period; 0 when no change was seen (as TA-Lib)."""
    out = np.empty(close.shape[0])
    rsi_until(close, period, close.shape[0], out)
    return out


@jit
def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Greatest of high-low and the distances of high and low from the previous close; first at index 1."""
    n = close.shape[0]
    out = np.empty(n)
    if n:
        out[0] = np.nan
    for i in range(1, n):
        before = close[i - 1]
        out[i] = max(high[i] - low[i], max(abs(high[i] - before), abs(low[i] - before)))
    return out


@rule
def atr_until(high: FloatArray, low: FloatArray, close: FloatArray, period: int, end: int, out: FloatArray) -> float:
    """`atr` of the bars before `end`, into `out`; returns the last one."""
    value = 0.0
    keep = (period - 1.0) / period
    weight = 1.0 / period
    for i in range(min(period, end)):
        out[at(i)] = np.nan
    for i in range(1, end):
        before = close[at(i - 1)]
        now = max(high[at(i)] - low[at(i)], max(abs(high[at(i)] - before), abs(low[at(i)] - before)))
        if i < period:
            value += now
        elif i == period:
            value = (value + now) / period
            out[at(i)] = value
        else:
            value = value * keep + now * weight
            out[at(i)] = value
    return value


@jit
def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Wilder's average true range, in price units; first at index `period`."""
    out = np.empty(close.shape[0])
    atr_until(high, low, close, period, close.shape[0], out)
    return out


@rule
def adx_until(
    high: FloatArray, low: FloatArray, close: FloatArray, period: int, end: int, out: FloatArray
) -> tuple[float, float, float, float]:
    """`adx` of the bars before `end`, into `out`; returns the sums of rises, falls and ranges, and the last index."""
    plus = 0.0
    minus = 0.0
    span = 0.0
    total = 0.0
    value = 0.0
    keep = (period - 1.0) / period
    weight = 1.0 / period
    for i in range(min(2 * period - 1, end)):
        out[at(i)] = np.nan
    for i in range(1, end):
        up = high[at(i)] - high[at(i - 1)]
        down = low[at(i - 1)] - low[at(i)]
        before = close[at(i - 1)]
        now = max(high[at(i)] - low[at(i)], max(abs(high[at(i)] - before), abs(low[at(i)] - before)))
        rose = up if (up > 0.0) & (up > down) else 0.0
        fell = down if (down > 0.0) & (down > up) else 0.0
        if i < period:
            plus += rose
            minus += fell
            span += now
            continue
        plus = plus * keep + rose
        minus = minus * keep + fell
        span = span * keep + now
        both = plus + minus
        moved = both > 1e-14 and span > 1e-14
        dx = 100.0 * abs(plus - minus) / both if moved else 0.0
        if i < 2 * period - 1:
            total += dx
        elif i == 2 * period - 1:
            value = (total + dx) / period
            out[at(i)] = value
        else:
            if moved:
                value = value * keep + dx * weight
            out[at(i)] = value
    return plus, minus, span, value


@jit
def adx(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Wilder's average directional index, 0..100; first at index 2*period-1."""
    out = np.empty(close.shape[0])
    adx_until(high, low, close, period, close.shape[0], out)
    return out


@jit
def stddev(x: FloatArray, period: int) -> FloatArray:
    """Population standard deviation of the last `period` values; exactly 0 where they are all equal.

    Welford's update for a sliding window, which carries a rounding error of the largest spread it has held; so the
    window is summed afresh where the spread has fallen far below that, and every 4,096 bars.
    """
    n = x.shape[0]
    out = np.full(n, np.nan)
    mean = 0.0
    spread = 0.0
    peak = -1.0
    fresh = 0
    same = 0
    weight = 1.0 / period
    for i in range(n):
        same = same + 1 if i and x[i] == x[i - 1] else 1
        if i < period - 1:
            continue
        if peak >= 0.0:
            old = x[i - period]
            before = mean
            mean += (x[i] - old) * weight
            spread += (x[i] - old) * (x[i] - mean + old - before)
            peak = max(peak, spread)
        if spread <= 1e-3 * peak or peak < 0.0 or i - fresh > 4096:
            mean = 0.0
            for j in range(period):
                mean += x[i - period + 1 + j]
            mean /= period
            spread = 0.0
            for j in range(period):
                spread += (x[i - period + 1 + j] - mean) ** 2
            peak = spread
            fresh = i
        out[i] = math.sqrt(spread * weight) if same < period else 0.0
    return out


@jit
def change_rate(x: FloatArray, bars: int) -> FloatArray:
    """Relative change over `bars` bars divided by `bars`: the mean slope as a fraction per bar."""
    n = x.shape[0]
    out = np.full(n, np.nan)
    for i in range(bars, n):
        out[i] = (x[i] / x[i - bars] - 1.0) / bars
    return out


@jit
def highest(x: FloatArray, period: int) -> FloatArray:
    """Largest of the last `period` values; first at index period-1."""
    n = x.shape[0]
    out = np.full(n, np.nan)
    where = -1
    for i in range(n):
        if where <= i - period or where < 0:
            where = max(0, i - period + 1)
            for j in range(where + 1, i + 1):
                if x[j] >= x[where]:
                    where = j
        elif x[i] >= x[where]:
            where = i
        if i >= period - 1:
            out[i] = x[where]
    return out


@jit
def obv(close: FloatArray, volume: FloatArray) -> FloatArray:
    """Volume summed with the sign of the close's change, from the first bar's on (Granville's on-balance volume)."""
    out = np.empty_like(close)
    total = 0.0
    for i in range(close.shape[0]):
        if i == 0 or close[i] > close[i - 1]:
            total += volume[i]
        elif close[i] < close[i - 1]:
            total -= volume[i]
        out[i] = total
    return out


@jit
def gap(x: FloatArray, level: FloatArray) -> FloatArray:
    """x against a level as a fraction: 0.02 is two per cent above."""
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        out[i] = x[i] / level[i] - 1.0
    return out


@jit
def distance(x: FloatArray, level: FloatArray, unit: FloatArray) -> FloatArray:
    """x minus a level in the given unit; 0 where the unit is 0 (a market that did not move)."""
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        out[i] = (x[i] - level[i]) / unit[i] if unit[i] != 0.0 else 0.0
    return out


@jit
def ratio_to_mean(x: FloatArray, period: int, first: int) -> FloatArray:
    """x against its own mean of `period` values, minus 1; `first` is the index of x's first known value."""
    n = x.shape[0]
    out = np.full(n, np.nan)
    total = 0.0
    start = first + period - 1
    for i in range(first, min(n, start)):
        total += x[i]
    for i in range(start, n):
        total += x[i]
        out[i] = total
        total -= x[i - period + 1]
    for i in range(n):
        mean = out[i] / period
        out[i] = x[i] / mean - 1.0 if mean > 0.0 else (0.0 if mean <= 0.0 else mean)  # unknown stays unknown
    return out


@jit
def rise(x: FloatArray, bars: int, unit: FloatArray) -> FloatArray:
    """Change of x over `bars` bars in the given unit; 0 where the unit is 0."""
    n = x.shape[0]
    out = np.empty(n)
    for i in range(min(bars, n)):
        out[i] = np.nan
    now, scale, to = x[bars:], unit[bars:], out[bars:]  # indices from 0 on: only then is the loop vectorised
    for i in range(now.shape[0]):
        to[i] = (now[i] - x[i]) / scale[i] if scale[i] != 0.0 else 0.0
    return out


@jit
def stochastic_k(close: FloatArray, top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Place of the close between two prices, 0..100; 0 where they are equal (as TA-Lib)."""
    out = np.empty_like(close)
    for i in range(close.shape[0]):
        width = top[i] - bottom[i]
        out[i] = 100.0 * (close[i] - bottom[i]) / width if width != 0.0 else 0.0
    return out
