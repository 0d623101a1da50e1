"""Batches: the loop and the metrics of many sets give the bits of one backtest after another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.markets import entries, random_bars, random_signals, run_with_bounds_checked
from tests.engine.test_twin import COSTS, EXECUTION, OPTIONAL, RULES

from genesis.engine.backtest import backtest
from genesis.engine.kernel import simulate
from genesis.engine.lanes import backtest_many, simulate_many
from genesis.engine.metrics import compute_metrics
from genesis.errors import StrategyError
from genesis.strategy.features import Features
from genesis.strategy.sma_cross import SmaCross
from genesis.types import Costs, Execution, Rules, Signals


def one_by_one(bars, signals, **how):
    return [compute_metrics(simulate(bars, one, **how), bars, how.get("trade_from", 0)) for one in signals]


def same(bars, signals, **how):
    made, wanted = simulate_many(bars, signals, **how), one_by_one(bars, signals, **how)
    assert made == wanted
    assert [metrics.reasons for metrics in made] == [metrics.reasons for metrics in wanted]
    return made


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.one_of(st.integers(1, 60), st.integers(500, 1200)),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    swing=st.sampled_from([0.002, 0.02, 0.08, 0.4]),
    optional=st.frozensets(st.sampled_from(OPTIONAL)),
    rules=st.lists(RULES, min_size=1, max_size=6),
    costs=COSTS,
    execution=EXECUTION,
    start=st.integers(0, 10),
)
def test_a_batch_gives_the_bits_of_its_members(seed, n, density, swing, optional, rules, costs, execution, start):
    """Any market, signals, rules, costs and execution, one to six sets side by side: all metrics and reasons."""
    bars = random_bars(seed, n, swing=swing)
    signals = [random_signals(seed + k, bars, rule, density=density, optional=optional) for k, rule in enumerate(rules)]
    same(bars, signals, costs=costs, execution=execution, trade_from=min(start, n - 1))


@pytest.mark.parametrize("fill", ["next_open", "same_close"])
@pytest.mark.parametrize("opposite", ["reverse", "exit", "ignore"])
def test_long_calm_trades_cross_whole_steps(fill, opposite):
    """Positions held for hundreds of bars, with trailing stops of every width, end where they would alone."""
    bars = random_bars(9, 6_000, swing=0.002, tick=0.01)
    signals = [
        random_signals(
            k,
            bars,
            Rules(
                trailing_stop_pct=0.01 * (k % 7),
                stop_loss_pct=0.05 * (k % 3),
                take_profit_pct=0.1 * (k % 2),
                break_even_pct=0.02 * (k % 4),
                opposite=opposite,
                partial_fractions=(0.25, 0.5) if k % 5 == 0 else (),
            ),
            density=0.01,
            optional=frozenset({"trail_distance"} if k % 6 == 0 else ()),
        )
        for k in range(28)
    ]
    how = {"costs": Costs(fee_bps=5.0, slippage_bps=2.0), "execution": Execution(fill=fill)}
    made = same(bars, signals, **how)
    assert sum(metrics["trades"] for metrics in made) > 500
    assert any(metrics["max_drawdown_duration"] > 1_000 for metrics in made)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"entry": entries(60, {7: 3})}, "entry: 3 at bar 7"),
        ({"entry": entries(60, {7: 1}), "size": np.full(60, -1.0)}, "size: -1.0 at bar 7"),
        ({"entry": entries(60, {7: 1}), "stop_distance": np.full(60, -1.0)}, "bar 7"),
        ({"entry": entries(60, {7: 1}), "size": np.ones(59)}, r"size: float64\[59\]"),
    ],
)
def test_what_is_wrong_with_a_set_is_said_as_for_a_single_one(wrong, message):
    """The message of the first wrong set, wherever it stands among the four that are weighed together."""
    bars = random_bars(1, 60)
    good = Signals(entry=entries(60, {3: 1, 30: -1}))
    for place in range(6):
        sets = [good] * place + [Signals(**wrong)] + [good]
        with pytest.raises(StrategyError, match=message):
            simulate_many(bars, sets, costs=Costs(fee_bps=0, slippage_bps=0), execution=Execution())


def test_a_lane_that_refuses_leaves_the_others_as_they_are():
    """A set that only the single way can trade stands between sets of the quick way, in its place."""
    bars = random_bars(2, 80)
    unused = np.zeros(80)
    unused[50] = -1.0  # never read: no entry stands there
    sets = [
        Signals(entry=entries(80, {at: 1}), size=np.where(np.arange(80) == at, 1.0, unused)) for at in (1, 20, 40, 60)
    ]
    same(bars, sets * 3, costs=Costs(fee_bps=1, slippage_bps=1), execution=Execution())


def test_a_strategy_may_hand_over_whole_signals_in_any_order():
    """Each comes with its place; a set that is refused sends the whole batch the single way."""

    class Backwards:
        id, version = "backwards", "1"
        sizes = (1.0,)

        def lanes(self, params, features):
            for place in reversed(range(len(params))):
                yield place, self.signals(params[place], features)

        def signals(self, params, features):
            entry = entries(features.n, {params["at"]: 1})
            return Signals(entry=entry, size=np.full(features.n, self.sizes[params["at"] % len(self.sizes)]))

    bars = random_bars(3, 50)
    how = {"costs": Costs(fee_bps=1, slippage_bps=1)}
    strategy, sets = Backwards(), [{"at": at} for at in (3, 9, 10, 11, 12, 30)]
    made = backtest_many(bars, strategy, sets, **how)
    wanted = [strategy.signals(one, Features(bars)) for one in sets]
    assert made == one_by_one(bars, wanted, execution=Execution(), **how)
    strategy.sizes = (1.0, -2.0)
    with pytest.raises(StrategyError, match=r"-2\.0"):
        backtest_many(bars, strategy, sets, **how)


def test_a_subclass_with_signals_of_its_own_has_no_lanes():
    """What `lanes` of the parent would say is not what the child does."""

    class Contrary(SmaCross):
        def signals(self, params, features):
            made = super().signals(params, features)
            return replace(made, entry=-made.entry)

    class Renamed(SmaCross):
        id = "renamed"

    bars, costs, sets = random_bars(4, 400), Costs(fee_bps=1, slippage_bps=1), [{"fast": 3, "slow": 12}] * 2
    plain = backtest_many(bars, SmaCross(), sets, costs=costs)
    changed = SmaCross()
    changed.signals = Contrary().signals
    for strategy in (Contrary(), changed):
        made = backtest_many(bars, strategy, sets, costs=costs)
        assert made[0] == backtest(bars, strategy, sets[0], costs=costs).metrics != plain[0]
    assert backtest_many(bars, Renamed(), sets, costs=costs) == plain


@pytest.mark.slow
def test_the_loop_stays_inside_its_arrays(tmp_path):
    """With bounds checked on every access the batch raises nothing on the random cases."""
    script = (
        "from tests.engine.test_lanes import *\n"
        "for seed in range(200):\n"
        "    bars = random_bars(seed, 1 + seed % 70, swing=0.05)\n"
        "    rules = Rules(trailing_stop_pct=0.05, max_hold_bars=seed % 4, partial_fractions=(0.4, 0.6))\n"
        "    signals = [random_signals(seed + k, bars, rules, density=0.4, optional=frozenset(OPTIONAL))\n"
        "               for k in range(5)]\n"
        "    fill = ['next_open', 'same_close'][seed % 2]\n"
        "    same(bars, signals, costs=Costs(fee_bps=1, slippage_bps=1), execution=Execution(fill=fill))\n"
    )
    run_with_bounds_checked(script, tmp_path)
