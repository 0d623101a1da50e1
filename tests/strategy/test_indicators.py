"""Indicators agree with TA-Lib where the definitions do, and with an obvious twin elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from genesis.strategy.feature_table import TABLE
from genesis.strategy.features import Features
from genesis.strategy.ranks import percentile_rank, percentile_rank_long


def same(ours, theirs):
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)), "known at the same bars"
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def bollinger(c, period):
    upper, middle, _ = talib.BBANDS(c, period, 2.0, 2.0)
    return (c - middle) / ((upper - middle) / 2.0)


PEERS = {
    "sma": ("period", lambda b, k: talib.SMA(b.close, k)),
    "ema": ("period", lambda b, k: talib.EMA(b.close, k)),
    "rsi": ("period", lambda b, k: talib.RSI(b.close, k)),
    "atr": ("period", lambda b, k: talib.ATR(b.high, b.low, b.close, k)),
    "adx": ("period", lambda b, k: talib.ADX(b.high, b.low, b.close, k)),
    "highest": ("period", lambda b, k: talib.MAX(b.high, k)),
    "lowest": ("period", lambda b, k: talib.MIN(b.low, k)),
    "stochastic_k": ("period", lambda b, k: talib.STOCHF(b.high, b.low, b.close, k, 1)[0]),
    "momentum": ("bars", lambda b, k: talib.ROCP(b.close, k) / k),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("period", [2, 5, 14, 50])
@pytest.mark.parametrize("seed", [1, 2])
def test_agrees_with_talib(name, period, seed, market):
    """Values and the first known bar are TA-Lib's, to 1e-9."""
    bars = market(seed, 400)
    argument, peer = PEERS[name]
    same(Features(bars).get(name, **{argument: period}), peer(bars, period))


@pytest.mark.parametrize("period", [2, 5, 14, 50])
def test_deviation_is_exact_where_talib_cancels(period, market):
    """Deviation equals a direct computation, its square TA-Lib's variance; the band position follows TA-Lib's bands.

    TA-Lib subtracts two large squares, which loses small deviations: hence its variance and not its root, and the
    bands from five bars on.
    """
    bars = market(1, 400)
    features = Features(bars)
    deviation = features.get("stddev", period=period)
    direct = np.lib.stride_tricks.sliding_window_view(bars.close, period).std(axis=1)
    np.testing.assert_allclose(deviation[period - 1 :], direct, rtol=1e-9, atol=1e-12)
    same(deviation**2, talib.VAR(bars.close, period))
    if period >= 5:
        same(features.get("bollinger_position", period=period), bollinger(bars.close, period))


def test_true_range_and_volume_agree_with_talib(market):
    """True range and on-balance volume are TA-Lib's."""
    bars = market(3, 300)
    features = Features(bars)
    same(features.get("true_range"), talib.TRANGE(bars.high, bars.low, bars.close))
    same(features.get("obv"), talib.OBV(bars.close, bars.volume))


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (3, 10, 5)])
def test_macd_agrees_with_talib(fast, slow, signal, market):
    """The signal line is TA-Lib's everywhere, the MACD line where TA-Lib shows it."""
    bars = market(4, 300)
    features = Features(bars)
    line, mean, _ = talib.MACD(bars.close, fast, slow, signal)
    same(features.get("macd_signal", fast=fast, slow=slow, signal=signal), mean)
    known = ~np.isnan(line)
    np.testing.assert_allclose(features.get("macd", fast=fast, slow=slow)[known], line[known], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", [2, 7, 50])
def test_percentile_rank_counts_the_window(window, market):
    """Both ways to count give the share of the window at or below the value, with ties and the first values unknown."""
    x = np.round(market(5, 300).close, 0)
    x[:9] = np.nan
    expected = np.full(len(x), np.nan)
    for i in range(9 + window - 1, len(x)):
        expected[i] = np.mean(x[i - window + 1 : i + 1] <= x[i])
    assert np.array_equal(percentile_rank(x, window, 9), expected, equal_nan=True)
    assert np.array_equal(percentile_rank_long(x, window, 9), expected, equal_nan=True)


def _ranks_by_hand(x, window, first):
    expected = np.full(len(x), np.nan)
    for i in range(first + window - 1, len(x)):
        expected[i] = np.mean(x[i - window + 1 : i + 1] <= x[i])
    return expected


@pytest.mark.parametrize("n", [1, 30, 1023, 1024, 1025, 2600])
@pytest.mark.parametrize(
    "values",
    [
        lambda rng, n: rng.normal(size=n),
        lambda rng, n: np.round(rng.normal(size=n), 1),
        lambda rng, n: np.exp(50.0 * rng.normal(size=n)),
        lambda rng, n: rng.choice([-0.0, 0.0, 5e-324, -5e-324, 1.0], n),
        lambda rng, n: rng.choice([-np.inf, -1e308, 3.0, np.nextafter(3.0, 4.0), 1e308, np.inf], n),
        lambda rng, n: 7.0 + 1e-13 * rng.integers(0, 50, n),
    ],
    ids=["normal", "tied", "wide", "zeros", "endless", "near"],
)
def test_percentile_rank_is_exact_whatever_the_values(n, values):
    """Ties, both zeros, infinities and values nearer than a key can tell are counted as floats compare."""
    rng = np.random.default_rng(n)
    for window in (1, 2, 8, 9, 10, 100):
        x = values(rng, n)
        first = min(3, n)
        x[:first] = np.nan
        expected = _ranks_by_hand(x, window, first)
        assert np.array_equal(percentile_rank(x, window, first), expected, equal_nan=True), window


def twin_swing_high(high, left, right):
    out, last = [], np.nan
    for i in range(len(high)):
        p = i - right
        if p >= left and high[p] > max(high[p - left : p]) and high[p] >= max(high[p + 1 : i + 1]):
            last = high[p]
        out.append(last)
    return np.array(out)


@pytest.mark.parametrize(("left", "right"), [(1, 1), (5, 3), (2, 6), (9, 4), (33, 1), (1, 17)])
def test_swings_are_confirmed_pivots(left, right, market):
    """A pivot shows `right` bars later, highs and lows alike, with equal prices among the bars."""
    bars = market(6, 400, tick=1.0)
    features = Features(bars)
    high = features.get("swing_high", left=left, right=right)
    assert np.array_equal(high, twin_swing_high(bars.high, left, right), equal_nan=True)
    low = features.get("swing_low", left=left, right=right)
    assert np.array_equal(low, -twin_swing_high(-bars.low, left, right), equal_nan=True)


def test_nearness_by_hand(market):
    """On a level 1, half an ATR away 0.5, beyond one ATR 0, unknown without a ladder."""
    from genesis.strategy.fib_levels import nearness

    close = np.array([38.2, 62.8, 95.0, 50.0])
    top = np.array([100.0, 100.0, 100.0, np.nan])
    got = nearness(close, top, np.zeros(4), np.array([2.0, 2.0, 2.0, 2.0]))
    np.testing.assert_allclose(got[:3], [1.0, 0.5, 0.0], atol=1e-12)
    assert np.isnan(got[3])


def test_a_market_that_does_not_move_gives_numbers(market):
    """Constant prices: no infinity anywhere, zero deviation exactly, ranks of one."""
    bars = market(7, 300)
    flat = np.full(300, 50.0)
    still = type(bars)(bars.time, flat, flat, flat, flat, np.zeros(300), "1d")
    features = Features(still)
    for name in TABLE:
        assert not np.isinf(features.get(name)).any(), name
    assert np.nanmax(features.get("stddev", period=5)) == 0.0
    assert np.nanmin(features.get("atr_percentile")) == 1.0
