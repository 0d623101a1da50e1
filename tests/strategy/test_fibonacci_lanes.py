"""Many `fibonacci` sets at once: the metrics of one backtest after another, whatever the sets share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategy.test_fibonacci import FLAT, nested

from genesis.engine.backtest import backtest
from genesis.engine.lanes import backtest_many
from genesis.errors import StrategyError
from genesis.strategy.base import load_strategy
from genesis.strategy.features import Features
from genesis.strategy.fibonacci_lanes import loosest_of
from genesis.strategy.fibonacci_parameters import PARAMETERS
from genesis.strategy.gates import mark
from genesis.types import Costs

COSTS = Costs(fee_bps=5.0, slippage_bps=2.0)
ZONES = "thresholds.signal_adaptation.zones"
OWN = {  # parameters in which the sets of one group may differ, and values that let some bars pass
    "thresholds.entry_conf_overall": (0.0, 0.2, 0.3, 0.35, 0.4),
    "thresholds.min_edge": (0.0, 0.05, 0.2),
    "thresholds.regime_proba.bull": (0.5, 0.55, 0.6),
    "thresholds.regime_proba.balanced": (0.0, 0.6),
    f"{ZONES}.low.entry_conf_overall": (None, 0.2, 0.5),
    f"{ZONES}.high.regime_proba.bear": (None, 0.0, 0.65),
    "htf_fib.entry.enabled": (True, False),
    "htf_fib.entry.tolerance_atr": (0.0, 1.0, 3.0),
    "htf_fib.entry.missing_policy": ("pass", "block"),
    "ltf_fib.entry.enabled": (True, False),
    "ltf_fib.entry.tolerance_atr": (0.0, 1.0, 3.0),
    "ltf_fib.entry.long_max_level": (0.5, 1.2),
    "ltf_fib.entry.short_min_level": (0.0, 0.5),
    "multi_timeframe.use_htf_block": (True, False),
    "multi_timeframe.allow_ltf_override": (True, False),
    "multi_timeframe.ltf_override_threshold": (0.3, 0.4, 0.9),
    "gates.hysteresis_steps": (0, 1, 2, 3),
    "gates.cooldown_bars": (0, 3, 9),
    "exit.exit_conf_threshold": (0.0, 0.2, 0.4),
    "exit.max_hold_bars": (0, 5, 30),
    "exit.stop_loss_pct": (0.0, 0.03),
    "exit.trailing_stop_pct": (0.0, 0.03),
    "exit.opposite": ("reverse", "exit", "ignore"),
}
WORTH = {  # and those on which sizes and prices hang
    "risk.risk_map": ([[0.25, 0.5], [0.4, 1.0]], [[0.5, 2.0]], []),
    "risk.regime_size_multipliers.bear": (0.0, 0.5, 1.0),
    "exit.partials.enabled": (True, False),
    "exit.partials.levels": ([1.0, 1.272], [0.5, 0.9]),
    "exit.trailing_atr": (0.0, 2.0, 4.0),
    "exit.stop_atr": (0.0, 1.5),
}


def drawn(rng, table, share):
    return {path: values[rng.integers(len(values))] for path, values in table.items() if rng.random() < share}


def same(bars, sets):
    features, start = Features(bars), min(30, len(bars) - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("genesis.engine.lanes.simulate_many")  # what sends a batch the single way must not happen
        made = backtest_many(bars, "fibonacci", sets, costs=COSTS, features=features, trade_from=start)
    for params, metrics in zip(sets, made, strict=True):
        one = backtest(bars, "fibonacci", params, costs=COSTS, features=features, trade_from=start)
        assert metrics == one.metrics, params
        assert metrics.reasons == one.metrics.reasons
    return made


@settings(max_examples=40, deadline=None)
@given(flats=st.lists(FLAT, min_size=1, max_size=5), seed=st.integers(0, 500), tick=st.sampled_from([0.0, 0.5]))
def test_sets_with_nothing_in_common(market, flats, seed, tick):
    """Groups of one, with any parameters, those whose override ranks confidence among them."""
    same(market(seed, 320, tick=tick), [nested(flat) for flat in flats])


@settings(max_examples=60, deadline=None)
@given(
    base=FLAT,
    seed=st.integers(0, 2**31),
    n=st.sampled_from([1, 9, 60, 320, 320]),
    count=st.sampled_from([2, 7, 16, 17, 40]),
    worth=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_sets_of_one_group(market, base, seed, n, count, worth):
    """Sets that share features and weights, few and many, with the same sizes and with different ones."""
    rng = np.random.default_rng(seed)
    sets = [nested({**base, **drawn(rng, OWN, 0.6), **drawn(rng, WORTH, worth)}) for _ in range(count)]
    same(market(seed % 500, n), sets)


def test_the_random_groups_trade(market):
    """The agreement above is not empty: most sets of a fixed sample trade, and they differ."""
    rng = np.random.default_rng(4)
    sets = [nested({**drawn(rng, OWN, 0.5), **drawn(rng, WORTH, 0.2)}) for _ in range(120)]
    made = same(market(11, 900), sets)
    assert sum(metrics["trades"] > 0 for metrics in made) > 80
    assert len({metrics["total_return"] for metrics in made}) > 60


def test_later_sets_of_a_group_may_enter_where_the_first_ones_do_not(market):
    """Sizes and prices are made for the bars at hand: sixteen choosy sets come before four that are not."""

    def one(confidence, edge, size):
        thresholds = {"entry_conf_overall": confidence, "min_edge": edge}
        return {"thresholds": thresholds, "risk": {"risk_map": [[0.0, size]]}}

    choosy = [one(0.2, 0.4 + 0.01 * k, 0.5) for k in range(16)]
    free = [one(0.25, 0.0, 0.5) for _ in range(4)]
    made = same(market(11, 900), [*choosy, *free, one(0.2, 0.0, 1.0)])
    assert made[16]["trades"] > made[0]["trades"] > 0


def test_the_loosest_thresholds_let_through_what_any_set_does(market):
    """A bar that some set's gates pass is passed by the loosest ones, for random sets."""
    rng = np.random.default_rng(5)
    bars = market(2, 400)
    n = len(bars)
    columns = [np.ascontiguousarray(column) for column in rng.normal(0.0, 1.0, (10, n))]
    columns[2] = rng.random(n)
    columns[3] *= 0.02
    columns[5] = np.abs(columns[5])
    columns[6:] = [np.abs(columns[6]), -np.abs(columns[7]), np.abs(columns[8]), -np.abs(columns[9])]
    nothing = np.empty(0, dtype=np.int8)
    passed = 0
    for _ in range(300):
        sets = [PARAMETERS.read(nested(drawn(rng, OWN, 0.7))).p for _ in range(rng.integers(1, 6))]
        loose = np.empty(n, dtype=np.uint8)
        mark(loosest_of(np.array(sets)), *columns, loose, nothing)
        for p in sets:
            own = np.empty(n, dtype=np.uint8)
            mark(p, *columns, own, nothing)
            free = [np.where(stop >= 128, stop & 95, stop) == 0 for stop in (own, loose)]
            passed += free[0].sum()
            assert not (free[0] & ~free[1]).any()
    assert passed > 1_000


def test_an_unknown_parameter_is_named_as_for_a_single_set(market):
    """A batch says what one backtest says."""
    bars = market(1, 200)
    for wrong in ({"exit": {"max_hold": 3}}, {"exit": {"stop_loss_pct": 1.0}}):
        with pytest.raises(StrategyError) as alone:
            backtest(bars, "fibonacci", wrong, costs=COSTS)
        with pytest.raises(StrategyError) as many:
            backtest_many(bars, "fibonacci", [{}, wrong, {}], costs=COSTS)
        assert str(many.value) == str(alone.value)


def test_no_sets_have_no_metrics(market):
    """An empty batch is an empty list."""
    assert backtest_many(market(1, 50), "fibonacci", [], costs=COSTS) == []


def test_the_strategy_by_name_has_lanes():
    """What the tests above compare is the quick way, not the single one twice."""
    assert hasattr(load_strategy("fibonacci"), "lanes")
