"""A synthetic market is the same for the same seed, keeps the rules of bars, moves like a market, says what it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.errors import DataError
from genesis.market.bars import COLUMNS
from genesis.market.checks import check_arrays
from genesis.market.synthetic import REGIMES, SyntheticSpec, _decaying_sum, _regimes, synthetic


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.integers(1, 300),
    st.sampled_from(["1s", "5m", "1h", "1d", "1w", "1M", "12M"]),
    st.floats(1e-3, 1e9),
    st.floats(1e-3, 5.0),
)
def test_any_spec_gives_bars_that_keep_the_rules(seed, count, timeframe, price, volatility):
    count = min(count, 200) if timeframe == "12M" else count
    spec = SyntheticSpec(
        seed=seed, bars=count, timeframe=timeframe, start="1970-01-01", price=price, volatility=volatility
    )
    bars = synthetic(spec)
    check_arrays(bars.time, {name: getattr(bars, name) for name in COLUMNS}, origin="synthetic")
    assert len(bars) == count
    assert (bars.close_time[:-1] == bars.time[1:]).all()
    assert bars.gaps == ()


def test_the_same_seed_is_the_same_market_and_another_is_another():
    a, b = (synthetic("seed=7,bars=500,timeframe=5m") for _ in range(2))
    assert a.fingerprint == b.fingerprint
    assert synthetic("seed=8,bars=500,timeframe=5m").fingerprint != a.fingerprint
    assert synthetic(seed=7, bars=500, timeframe="5m").fingerprint == a.fingerprint


def test_it_is_labelled_in_every_place():
    bars = synthetic("seed=7,bars=50,timeframe=5m,price=2.5")
    assert bars.synthetic
    assert bars.symbol == "SYNTHETIC-7"
    assert bars.source == "synthetic:seed=7,bars=50,timeframe=5m,price=2.5"
    assert synthetic(bars.source.removeprefix("synthetic:")).fingerprint == bars.fingerprint
    assert bars.open[0] == 2.5
    assert "synthetic: not a real market" in bars.notes


def test_it_moves_like_a_market():
    """Fat tails, clustered volatility, no memory in the returns themselves, the volatility asked for."""
    bars = synthetic("seed=1,bars=200000,timeframe=1h,start=1980-01-01,volatility=0.5")
    returns = np.diff(np.log(bars.close))
    size = np.abs(returns)
    kurtosis = np.mean((returns - returns.mean()) ** 4) / returns.var() ** 2
    assert kurtosis > 5
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
    assert np.corrcoef(size[100:], size[:-100])[0, 1] > 0.05
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.02
    assert 0.4 < returns.std() * np.sqrt(365 * 24) < 0.65
    assert 1 < bars.close.min() < bars.close.max() < 10_000
    assert (bars.open[1:] == bars.close[:-1]).all()


def test_regimes_last_as_long_as_they_say_and_follow_each_other():
    step = 60 * 60 * 10**9
    drift, _ = _regimes(np.random.default_rng(0), 2_000_000, step)
    starts = np.flatnonzero(np.diff(drift, prepend=np.nan))
    stays = np.diff(starts)
    for annual, _, days in REGIMES.values():
        mine = stays[drift[starts[:-1]] == annual]
        assert len(mine) > 100
        # a geometric stay has a standard deviation as long as its mean: four standard errors
        assert abs(mine.mean() / 24 - days) < 4 * days / np.sqrt(len(mine))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sed=7", "'sed=7' is unknown; give any of seed=, bars="),
        ("seed=x", "seed='x' is not a int"),
        ("bars=0", r"bars=0 is outside \[1, 1e\+08\]"),
        ("seed=-1", "seed=-1 is outside"),
        ("volatility=nan", "volatility=nan is outside"),
        ("price=0", "price=0.0 is outside"),
        ("start=yesterday", "start='yesterday' is not a date"),
        ("timeframe=5x", "timeframe '5x' is not understood"),
        ("bars=1000000,timeframe=1d", "end after 2261"),
        ("bars=10000,timeframe=1M", "end after 2261"),
    ],
)
def test_a_spec_outside_its_limits_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        synthetic(text)


@given(st.floats(1e-9, 0.999_999_9), st.floats(-3, 3), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_decaying_sum_is_the_recursion_it_stands_for(decay, begin, seed):
    x = np.random.default_rng(seed).normal(size=2_000)
    y, expected = begin, []
    for value in x:
        y = decay * y + value
        expected.append(y)
    np.testing.assert_allclose(_decaying_sum(x, decay, begin), expected, rtol=1e-7, atol=1e-9)
