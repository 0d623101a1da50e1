"""The truncation law: cut the data after bar t, and nothing at or before t changes, to the bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.strategy.base import load_strategy
from genesis.strategy.feature_table import TABLE
from genesis.strategy.features import Features
from genesis.types import Signals

N = 420
STRATEGIES = {
    "sma_cross": [{}, {"fast": 3, "slow": 8, "side": "long"}],
    "fibonacci": [
        {},
        {
            "thresholds": {"entry_conf_overall": 0.2, "min_edge": 0.0, "regime_proba": 0.5},
            "features": {
                "atr_period": 5,
                "atr_slow_period": 10,
                "adx_period": 5,
                "ema_period": 8,
                "bollinger_period": 5,
            },
            "htf": "1w",
            "htf_fib": {
                "entry": {"tolerance_atr": 0.5, "long_target_levels": [0.382, 0.5]},
                "swing_left": 1,
                "swing_right": 1,
            },
            "multi_timeframe": {
                "ltf_override_threshold": 0.9,
                "ltf_override_adaptive": {"enabled": True, "window": 20, "percentile": 0.7, "min_history": 5},
            },
            "gates": {"hysteresis_steps": 2, "cooldown_bars": 1},
            "exit": {"stop_atr": 2.0, "target_atr": 3.0},
        },
    ],
}


def same_prefix(whole, part):
    return np.array_equal(whole[: len(part)], part, equal_nan=whole.dtype.kind == "f")


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, N), tick=st.sampled_from([0.0, 0.5]))
def test_features_obey(market, seed, cut, tick):
    """Every feature, on the traded bars and as of the last closed week."""
    bars = market(seed, N, tick=tick)
    whole, part = Features(bars), Features(bars.slice(0, cut))
    for name, feature in TABLE.items():
        small = {key: max(2, value // 5) for key, value in feature.defaults.items()}
        for params in (small, {}):
            assert same_prefix(whole.get(name, **params), part.get(name, **params)), name
        week = whole.higher("1w").get(name, **small), part.higher("1w").get(name, **small)
        assert same_prefix(*week), f"{name} on 1w"
    for column in ("open", "high", "low", "close", "volume"):
        assert same_prefix(whole.higher("1w").column(column), part.higher("1w").column(column)), column


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000), cut=st.integers(1, N), name=st.sampled_from(sorted(STRATEGIES)), k=st.integers(0, 1)
)
def test_strategies_obey(market, seed, cut, name, k):
    """Every array of signals of the built-in strategies, higher levels and adaptive override included."""
    bars = market(seed, N)
    params = STRATEGIES[name][k]
    strategy = load_strategy(name)
    whole = strategy.signals(params, Features(bars))
    part = strategy.signals(params, Features(bars.slice(0, cut)))
    assert part.rules == whole.rules
    for field in fields(Signals):
        if field.name not in ("rules", "blocked"):
            one, other = getattr(whole, field.name), getattr(part, field.name)
            assert (one is None) == (other is None), field.name
            assert one is None or same_prefix(one, other), field.name


def test_the_law_can_be_broken(market):
    """A feature that looks ahead is caught by the same comparison."""
    close = market(1, N).close
    assert not same_prefix(close / close.mean(), close[:200] / close[:200].mean())


def test_the_higher_bar_is_not_seen_before_it_has_closed(market):
    """Until a week closes its bars read the week before; its last daily bar is the first to read it."""
    bars = market(2, 60)
    features = Features(bars)
    weekly = features.higher("1w")
    seen = weekly.column("close")
    ends = weekly.bars.close_time
    for i, closed in enumerate(bars.close_time):
        known = np.flatnonzero(ends <= closed)
        expected = weekly.bars.close[known[-1]] if len(known) else np.nan
        assert np.array_equal(seen[i], expected, equal_nan=True)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_strategies_tested_do_trade(name, market):
    """The parameter sets above make entries, so that the law is not satisfied by silence."""
    for params in STRATEGIES[name]:
        assert np.count_nonzero(load_strategy(name).signals(params, Features(market(3, N))).entry) >= 3
