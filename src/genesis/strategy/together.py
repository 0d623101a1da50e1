"""Eight recurrences of one market in one pass: each waits for its own last value, so eight take little longer than two.

The bits are those of the functions in `indicators.py`, whose own loops run until the last of the eight is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis.engine.compile import jit
from genesis.strategy.indicators import adx_until, at, atr_until, ema_until, rsi_until
from genesis.types import FloatArray

if TYPE_CHECKING:
    from genesis.strategy.features import Features

_BLOCK = 512  # bars whose sums stay in the nearest cache until they are divided
_FEWEST = 4  # absent features from which on one pass over all eight is quicker than each by itself


def make_together(
    features: Features,
    *,
    rsi: int,
    emas: tuple[int, int],
    atrs: tuple[int, int],
    adx: int,
    sma: int,
    slow: int,
) -> None:
    """Put these features into the cache in one pass, unless most of them are there: then each is left to its asker.

    `slow` is the mean of `atr_ratio`, whose ATR is the first of `atrs`.
    """
    wanted: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("rsi", (rsi,)),
        ("ema", emas[:1]),
        ("ema", emas[1:]),
        ("atr", atrs[:1]),
        ("atr", atrs[1:]),
        ("adx", (adx,)),
        ("sma", (sma,)),
        ("atr_ratio", (atrs[0], slow)),
    )
    absent = [not features.holds(name, values) for name, values in wanted]
    if sum(absent) < _FEWEST:
        return
    bars = features.bars
    arrays = recurrences(bars.high, bars.low, bars.close, rsi, *emas, *atrs, adx, sma, slow)
    for (name, values), array, new in zip(wanted, arrays, absent, strict=True):
        if new:
            features.fetch_made(name, values, lambda array=array: array)  # type: ignore[misc]


@jit
def recurrences(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    rsi: int,
    ema: int,
    other_ema: int,
    atr: int,
    other_atr: int,
    adx: int,
    sma: int,
    slow: int,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """RSI, two exponential means, two ATRs, ADX, mean of the close, and the first ATR against its mean of `slow`."""
    n = close.shape[0]
    out_rsi, out_ema, out_other_ema, out_atr = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    out_other_atr, out_adx, out_sma, out_ratio = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    known = max(max(max(rsi, atr), other_atr) + 1, max(max(ema, other_ema), 2 * adx))
    known = min(n, max(known, max(sma, atr + slow)))
    gain, loss = rsi_until(close, rsi, known, out_rsi)
    mean = ema_until(close, ema, 0, known, out_ema)
    other_mean = ema_until(close, other_ema, 0, known, out_other_ema)
    span = atr_until(high, low, close, atr, known, out_atr)
    other_span = atr_until(high, low, close, other_atr, known, out_other_atr)
    plus, minus, spread, index = adx_until(high, low, close, adx, known, out_adx)

    total = 0.0
    for i in range(min(sma - 1, known)):
        total += close[at(i)]
        out_sma[at(i)] = np.nan
    for i in range(sma - 1, known):
        total += close[at(i)] - (close[at(i - sma)] if i >= sma else 0.0)
        out_sma[at(i)] = total
    sums = 0.0
    first = atr + slow - 1
    for i in range(min(first, known)):
        out_ratio[at(i)] = np.nan
    for i in range(atr, min(first, known)):
        sums += out_atr[at(i)]
    for i in range(first, known):
        sums += out_atr[at(i)]
        out_ratio[at(i)] = sums
        sums -= out_atr[at(i - slow + 1)]

    ema_weight, other_ema_weight = 2.0 / (ema + 1.0), 2.0 / (other_ema + 1.0)
    ema_keep, other_ema_keep = 1.0 - ema_weight, 1.0 - other_ema_weight
    rsi_weight, rsi_keep = 1.0 / rsi, (rsi - 1.0) / rsi
    atr_weight, atr_keep = 1.0 / atr, (atr - 1.0) / atr
    other_atr_weight, other_atr_keep = 1.0 / other_atr, (other_atr - 1.0) / other_atr
    adx_weight, adx_keep = 1.0 / adx, (adx - 1.0) / adx
    changes, leads, moves = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for start in range(known, n, _BLOCK):
        size = min(_BLOCK, n - start)
        for k in range(size):
            i = start + k
            now, before, top, bottom = close[at(i)], close[at(i - 1)], high[at(i)], low[at(i)]
            mean = mean * ema_keep + now * ema_weight
            other_mean = other_mean * other_ema_keep + now * other_ema_weight
            out_ema[at(i)] = mean
            out_other_ema[at(i)] = other_mean
            change = now - before
            gain = gain * rsi_keep + max(change, 0.0) * rsi_weight
            loss = loss * rsi_keep - min(change, 0.0) * rsi_weight
            out_rsi[at(i)] = gain
            changes[at(k)] = gain + loss
            reach = max(top - bottom, max(abs(top - before), abs(bottom - before)))
            span = span * atr_keep + reach * atr_weight
            other_span = other_span * other_atr_keep + reach * other_atr_weight
            out_atr[at(i)] = span
            out_other_atr[at(i)] = other_span
            up, down = top - high[at(i - 1)], low[at(i - 1)] - bottom
            plus = plus * adx_keep + (up if (up > 0.0) & (up > down) else 0.0)
            minus = minus * adx_keep + (down if (down > 0.0) & (down > up) else 0.0)
            spread = spread * adx_keep + reach
            leads[at(k)] = plus - minus
            moves[at(k)] = plus + minus if spread > 1e-14 else 0.0
        rates, ratios = out_rsi[start:], out_ratio[start:]
        for k in range(size):
            rates[k] = 100.0 * rates[k] / changes[k] if changes[k] > 1e-14 else 0.0
        for k in range(size):
            leads[k] = 100.0 * abs(leads[k]) / moves[k] if moves[k] > 1e-14 else -1.0
        for k in range(size):
            i = start + k
            if leads[at(k)] >= 0.0:
                index = index * adx_keep + leads[at(k)] * adx_weight
            out_adx[at(i)] = index
            total += close[at(i)] - close[at(i - sma)]
            out_sma[at(i)] = total
            sums += out_atr[at(i)]
            ratios[at(k)] = sums
            sums -= out_atr[at(i - slow + 1)]
    for i in range(n):
        out_sma[i] = out_sma[i] / sma
    for i in range(n):
        usual = out_ratio[i] / slow
        out_ratio[i] = out_atr[i] / usual - 1.0 if usual > 0.0 else (0.0 if usual <= 0.0 else usual)
    return out_rsi, out_ema, out_other_ema, out_atr, out_other_atr, out_adx, out_sma, out_ratio
