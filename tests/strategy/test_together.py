"""One pass over eight indicators gives the very bits of each by itself, and replaces no array that is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.strategy import together
from genesis.strategy.base import load_strategy
from genesis.strategy.features import FeatureCache, Features
from genesis.strategy.together import make_together

from .conftest import random_bars

NAMES = ("rsi", "ema", "ema", "atr", "atr", "adx", "sma", "atr_ratio")
period = st.integers(1, 70)


def ask(features, rsi, ema, other_ema, atr, other_atr, adx, sma, slow):
    make_together(features, rsi=rsi, emas=(ema, other_ema), atrs=(atr, other_atr), adx=adx, sma=sma, slow=slow)
    values = ((rsi,), (ema,), (other_ema,), (atr,), (other_atr,), (adx,), (sma,), (atr, slow))
    return list(zip(NAMES, values, strict=True))


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(*[period] * 8),
    st.sampled_from([0, 1, 2, 30, 139, 140, 141, 700, 1100]),
    st.integers(0, 5),
    st.sampled_from([0.0, 1.0, 50.0]),
)
def test_together_is_each_by_itself(periods, n, seed, tick):
    """Every period, lengths around the first known bar and the blocks, rounded markets that stand still for a while."""
    bars = random_bars(seed, n, tick=tick)
    features = Features(bars, cache=FeatureCache())
    for name, values in ask(features, *periods):
        assert features.holds(name, values)
        alone = Features(bars).fetch(name, *values)
        assert features.fetch(name, *values).tobytes() == alone.tobytes(), (name, values)


def test_a_market_that_stands_still(market):
    """Without a move the directional index keeps its value and the strength is 0, as by itself."""
    bars = market(3, 900)
    for column in (bars.open, bars.high, bars.low, bars.close):
        column[300:700] = bars.close[299]
    features = Features(bars, cache=FeatureCache())
    for name, values in ask(features, 2, 3, 4, 2, 5, 2, 6, 7):
        assert np.array_equal(features.fetch(name, *values), Features(bars).fetch(name, *values), equal_nan=True), name


def test_what_is_there_is_not_made_again(market, monkeypatch):
    """Arrays in the cache stay the same objects, and with most of them there nothing is made in one pass."""
    bars = market(1, 200)
    features = Features(bars, cache=FeatureCache())
    held = features.fetch("ema", 20)
    ask(features, 14, 20, 50, 14, 28, 14, 20, 30)
    assert features.fetch("ema", 20) is held
    monkeypatch.setattr(together, "recurrences", lambda *_: pytest.fail("made although most are there"))
    ask(features, 14, 20, 50, 14, 28, 15, 21, 31)
    assert not features.holds("adx", (15,))


def test_what_lies_in_the_folder_is_there(market, tmp_path):
    """A feature that was computed ahead is mapped from its file, not made anew."""
    bars = market(2, 200)
    ahead = FeatureCache(folder=tmp_path)
    known = Features(bars, cache=ahead)
    for name, values in (("rsi", (14,)), ("atr", (14,))):
        ahead.save((bars.fingerprint, bars.timeframe, name, *values), known.fetch(name, *values))
    features = Features(bars, cache=FeatureCache(folder=tmp_path))
    for name, values in ask(features, 14, 20, 50, 14, 28, 14, 20, 30):
        array = features.fetch(name, *values)
        assert isinstance(array.base, np.memmap) == ((name, values) in (("rsi", (14,)), ("atr", (14,))))


def test_fibonacci_asks_for_them_together(market, monkeypatch):
    """A fibonacci trial with every indicator new makes them in one pass, and decides what it does without that pass."""
    bars = market(4, 600)
    strategy, calls = load_strategy("fibonacci"), []
    real = together.recurrences
    monkeypatch.setattr(together, "recurrences", lambda *given: calls.append(1) or real(*given))
    one = strategy.signals({}, Features(bars, cache=FeatureCache()))
    assert calls == [1]
    monkeypatch.setattr(together, "_FEWEST", 99)
    other = strategy.signals({}, Features(bars, cache=FeatureCache()))
    assert calls == [1]
    assert one.entry.tobytes() == other.entry.tobytes()
    assert one.size.tobytes() == other.size.tobytes()
    assert dict(one.blocked) == dict(other.blocked)
