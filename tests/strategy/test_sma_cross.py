"""Means made two at a time are the table's means, and a cross is one whoever made them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.engine.backtest import backtest
from genesis.engine.lanes import backtest_many
from genesis.market.catalog import load_bars
from genesis.strategy.features import FeatureCache, Features
from genesis.strategy.indicators import sma
from genesis.strategy.sma_cross import SmaCross, crosses, list_crosses, means_and_crosses
from genesis.types import Costs

BARS = load_bars("sample:IBM").slice(0, 300)


def slow_crosses(fast, slow):
    """A cross told bar by bar in plain Python."""
    made = [0]
    for i in range(1, len(fast)):
        before, now = fast[i - 1] - slow[i - 1], fast[i] - slow[i]
        made.append(1 if before < 0 < now else -1 if before > 0 > now else 0)
    return made


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 80),
    fast=st.integers(1, 90),
    slow=st.integers(1, 90),
    tick=st.sampled_from([0.0, 0.5]),
)
def test_two_means_in_one_pass_are_the_bits_of_each_alone(seed, n, fast, slow, tick):
    """Whatever the periods, equal and too long ones too; on a coarse grid, where means touch, the crosses are the
    plain ones."""
    x = 100.0 + np.cumsum(np.random.default_rng(seed).normal(0.0, 1.0, n))
    x = np.round(x / tick) * tick if tick else x
    a, b, cross = np.empty(n), np.empty(n), np.zeros(n, dtype=np.int8)
    means_and_crosses(x, fast, slow, a, b, cross)
    np.testing.assert_array_equal(a, sma(x, fast))
    np.testing.assert_array_equal(b, sma(x, slow))
    wanted = slow_crosses(a.tolist(), b.tolist())
    assert cross.tolist() == crosses(a, b).tolist() == wanted
    bars = np.empty(n + 1, dtype=np.int32)
    cross[:] = 7  # what another set left behind
    count = list_crosses(a, b, cross, bars)
    assert cross.tolist() == wanted
    assert bars[:count].tolist() == np.flatnonzero(wanted).tolist()


@pytest.mark.parametrize("known", [(), (10,), (30,), (10, 30)])
def test_the_signals_do_not_depend_on_what_the_cache_holds(known):
    """Both means absent, one, or none: the same entries, and afterwards both are in the cache as the table's."""
    fresh = SmaCross().signals({"fast": 10, "slow": 30}, Features(BARS))
    features = Features(BARS, cache=FeatureCache())
    for period in known:
        features.sma(period)
    made = SmaCross().signals({"fast": 10, "slow": 30}, features)
    assert made.entry.any()
    assert made.entry.tobytes() == fresh.entry.tobytes()
    misses = features.cache.misses
    np.testing.assert_array_equal(features.sma(10), sma(BARS.close, 10))
    np.testing.assert_array_equal(features.sma(30), sma(BARS.close, 30))
    assert features.cache.misses == misses == 2
    assert not features.sma(10).flags.writeable


def test_equal_periods_never_cross():
    """A mean does not cross itself."""
    assert not SmaCross().signals({"fast": 10, "slow": 10}, Features(BARS)).entry.any()


def test_a_batch_of_every_side_is_its_members_one_by_one():
    """Sets that the lanes list themselves and whole signals, mixed: each has the bits it has alone."""
    sets = [
        {"fast": fast, "slow": slow, "side": side}
        for fast in (3, 7, 12)
        for slow in (12, 20, 45)
        for side in ("both", "long", "both", "short")
    ]
    costs = Costs(fee_bps=5, slippage_bps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("genesis.engine.lanes.simulate_many")  # what sends a batch the single way must not happen
        many = backtest_many(BARS, "sma_cross", sets, costs=costs, trade_from=20)
    alone = [backtest(BARS, "sma_cross", params, costs=costs, trade_from=20).metrics for params in sets]
    assert many == alone
    assert [metrics.reasons for metrics in many] == [metrics.reasons for metrics in alone]
