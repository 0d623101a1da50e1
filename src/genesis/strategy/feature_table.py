"""Every named feature: its parameters with their defaults, and the function from bars and parameters to an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesis.strategy import fib_levels as fl
from genesis.strategy import indicators as ind
from genesis.strategy import ranks
from genesis.types import FloatArray

if TYPE_CHECKING:
    from genesis.strategy.features import Features

LONG_WINDOW = 1_500  # measured: where a Fenwick tree overtakes counting the window


@dataclass(frozen=True, slots=True)
class Feature:
    """One named feature: `defaults` in argument order, `least` the smallest value each may take."""

    name: str
    defaults: Mapping[str, int]
    compute: Callable[..., FloatArray]
    meaning: str
    least: int = 1


TABLE: dict[str, Feature] = {}


def _feature(meaning: str, *, least: int = 1, **defaults: int) -> Callable[[Callable[..., FloatArray]], Any]:
    def keep(function: Callable[..., FloatArray]) -> Callable[..., FloatArray]:
        name = function.__name__.strip("_")
        TABLE[name] = Feature(name, defaults, function, meaning, least)
        return function

    return keep


@_feature("mean of the last closes", period=20)
def _sma(f: Features, period: int) -> FloatArray:
    return ind.sma(f.bars.close, period)


@_feature("exponential mean of the close", period=50)
def _ema(f: Features, period: int) -> FloatArray:
    return ind.ema(f.bars.close, period, 0)


@_feature("Wilder's relative strength, 0..100", period=14)
def _rsi(f: Features, period: int) -> FloatArray:
    return ind.rsi(f.bars.close, period)


@_feature("true range, in price units")
def _true_range(f: Features) -> FloatArray:
    return ind.true_range(f.bars.high, f.bars.low, f.bars.close)


@_feature("Wilder's average true range, in price units", period=14)
def _atr(f: Features, period: int) -> FloatArray:
    return ind.atr(f.bars.high, f.bars.low, f.bars.close, period)


@_feature("Wilder's average directional index, 0..100", period=14)
def _adx(f: Features, period: int) -> FloatArray:
    return ind.adx(f.bars.high, f.bars.low, f.bars.close, period)


@_feature("population standard deviation of the close", period=20)
def _stddev(f: Features, period: int) -> FloatArray:
    return ind.stddev(f.bars.close, period)


@_feature("distance of the close from its mean, in standard deviations", period=20)
def _bollinger_position(f: Features, period: int) -> FloatArray:
    return ind.distance(f.bars.close, f.fetch("sma", period), f.fetch("stddev", period))


@_feature("relative change of the close per bar over `bars` bars", bars=10)
def _momentum(f: Features, bars: int) -> FloatArray:
    return ind.change_rate(f.bars.close, bars)


@_feature("largest high of the last bars, this one included", period=20)
def _highest(f: Features, period: int) -> FloatArray:
    return ind.highest(f.bars.high, period)


@_feature("smallest low of the last bars, this one included", period=20)
def _lowest(f: Features, period: int) -> FloatArray:
    return -ind.highest(-f.bars.low, period)


@_feature("place of the close in the range of the last bars, 0..100", period=14)
def _stochastic_k(f: Features, period: int) -> FloatArray:
    return ind.stochastic_k(f.bars.close, f.fetch("highest", period), f.fetch("lowest", period))


@_feature("on-balance volume, in units of volume")
def _obv(f: Features) -> FloatArray:
    return ind.obv(f.bars.close, f.bars.volume)


@_feature("fast minus slow exponential mean of the close", fast=12, slow=26)
def _macd(f: Features, fast: int, slow: int) -> FloatArray:
    close = f.bars.close  # TA-Lib's seeds: both means begin at bar slow-1
    return ind.ema(close, fast, max(0, slow - fast)) - ind.ema(close, slow, 0)


@_feature("exponential mean of the MACD line", fast=12, slow=26, signal=9)
def _macd_signal(f: Features, fast: int, slow: int, signal: int) -> FloatArray:
    return ind.ema(f.fetch("macd", fast, slow), signal, max(fast, slow) - 1)


@_feature("relative change of the exponential mean per bar over `bars` bars", period=50, bars=5)
def _ema_slope(f: Features, period: int, bars: int) -> FloatArray:
    return ind.change_rate(f.fetch("ema", period), bars)


@_feature("close against its exponential mean, as a fraction: 0.02 is two per cent above", period=50)
def _ema_gap(f: Features, period: int) -> FloatArray:
    return ind.gap(f.bars.close, f.fetch("ema", period))


@_feature("close minus its exponential mean, in average true ranges", period=50, atr_period=14)
def _ema_distance(f: Features, period: int, atr_period: int) -> FloatArray:
    return ind.distance(f.bars.close, f.fetch("ema", period), f.fetch("atr", atr_period))


@_feature("rise of the exponential mean over `bars` bars, in average true ranges", period=50, bars=5, atr_period=14)
def _ema_rise(f: Features, period: int, bars: int, atr_period: int) -> FloatArray:
    return ind.rise(f.fetch("ema", period), bars, f.fetch("atr", atr_period))


@_feature("average true range against its own mean of `slow` bars, minus 1", period=14, slow=100)
def _atr_ratio(f: Features, period: int, slow: int) -> FloatArray:
    return ind.ratio_to_mean(f.fetch("atr", period), slow, period)


@_feature("share of the last `window` average true ranges at or below this one, 0..1", period=14, window=100)
def _atr_percentile(f: Features, period: int, window: int) -> FloatArray:
    rank = ranks.percentile_rank if window <= LONG_WINDOW else ranks.percentile_rank_long
    return rank(f.fetch("atr", period), window, period)


@_feature("price of the last confirmed pivot high", left=5, right=3)
def _swing_high(f: Features, left: int, right: int) -> FloatArray:
    return fl.swing(f.bars.high, left, right, 1.0)


@_feature("price of the last confirmed pivot low", left=5, right=3)
def _swing_low(f: Features, left: int, right: int) -> FloatArray:
    return fl.swing(f.bars.low, left, right, -1.0)


@_feature(
    "nearness of the close to a Fibonacci level: 1 on a level, 0 one ATR away or more", left=5, right=3, atr_period=14
)
def _fib_nearness(f: Features, left: int, right: int, atr_period: int) -> FloatArray:
    return fl.nearness(
        f.bars.close,
        f.fetch("swing_high", left, right),
        f.fetch("swing_low", left, right),
        f.fetch("atr", atr_period),
    )
