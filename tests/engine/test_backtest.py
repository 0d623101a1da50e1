"""One call from strategy to metrics; a batch gives the same numbers as its members one by one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from genesis.engine.backtest import backtest
from genesis.engine.lanes import backtest_many, simulate_many
from genesis.errors import ConfigError, StrategyError
from genesis.market.catalog import load_bars
from genesis.strategy.base import load_strategy
from genesis.strategy.features import Features
from genesis.types import Costs, Execution, Rules, Signals

BARS = load_bars("sample:IBM").slice(0, 600)
COSTS = Costs(fee_bps=5.0, slippage_bps=2.0)
CROSS = {"fast": 10, "slow": 30}


def test_a_reference_a_class_and_a_strategy_give_the_same():
    """`strategy` may be a name or what it stands for; features may be shared."""
    strategy = load_strategy("sma_cross")
    made = [
        backtest(BARS, "sma_cross", CROSS, costs=COSTS),
        backtest(BARS, strategy, CROSS, costs=COSTS),
        backtest(BARS, type(strategy), CROSS, costs=COSTS, features=Features(BARS)),
    ]
    assert len({one.fills_hash for one in made}) == 1
    assert made[0].metrics == made[1].metrics == made[2].metrics
    assert made[0].metrics["trades"] == len(made[0].trades) > 5


def test_results_line_up_with_the_bars():
    """Equity, position, fills and trades speak of the bars that were given."""
    made = backtest(BARS, "sma_cross", CROSS, costs=COSTS, capital=5_000.0, trade_from=100)
    assert made.bars is BARS
    assert len(made.equity) == len(made.position) == len(BARS)
    assert (made.equity[:101] == 5_000.0).all()
    assert made.fills["bar"].min() > 100
    assert made.metrics["total_return"] == pytest.approx(made.equity[-1] / 5_000.0 - 1)
    assert made.fills is made.fills
    assert "sharpe" in repr(made)


def test_execution_replaces_fill_and_capital():
    """What `execution` says counts when it is given."""
    execution = Execution(fill="same_close", capital=777.0)
    made = backtest(BARS, "sma_cross", CROSS, costs=COSTS, fill="next_open", capital=1.0, execution=execution)
    again = backtest(BARS, "sma_cross", CROSS, costs=COSTS, fill="same_close", capital=777.0)
    assert made.fills_hash == again.fills_hash
    assert made.equity[0] == 777.0


def test_a_strategy_object_of_the_user_is_taken_and_checked():
    """Any object with a method `signals` trades; entries of another type are understood or refused by name."""

    class Always:
        def signals(self, params, features):
            return Signals(entry=np.ones(features.n, dtype=np.int8), rules=Rules(max_hold_bars=params["hold"]))

    class Wrong:
        def signals(self, params, features):
            return Signals(entry=np.full(features.n, 5, dtype=np.int8))

    made = backtest(BARS, Always(), {"hold": 10}, costs=COSTS)
    assert set(made.trades["reason"]) == {"max_hold", "end"}
    with pytest.raises(StrategyError, match="5"):
        backtest(BARS, Wrong(), {}, costs=COSTS)


def test_a_batch_is_its_members_one_by_one():
    """The same bits for every metric, reasons included, warm-up too."""
    sets = [{"fast": fast, "slow": slow} for fast in (3, 7, 12) for slow in (20, 45, 599)]
    batch = backtest_many(BARS, "sma_cross", sets, costs=COSTS, trade_from=50)
    for params, metrics in zip(sets, batch, strict=True):
        one = backtest(BARS, "sma_cross", params, costs=COSTS, trade_from=50)
        assert metrics == one.metrics
        assert metrics.reasons == one.metrics.reasons


def test_a_batch_refuses_what_a_single_one_refuses():
    """The doorway of the batch is the same doorway."""
    good = Signals(entry=np.zeros(len(BARS), dtype=np.int8))
    bad = Signals(entry=np.full(len(BARS), 3, dtype=np.int8))
    execution = Execution()
    with pytest.raises(StrategyError, match="entry: 3 at bar 0"):
        simulate_many(BARS, [good, bad], costs=COSTS, execution=execution)
    with pytest.raises(ConfigError, match="trade_from"):
        simulate_many(BARS, [good], costs=COSTS, execution=execution, trade_from=len(BARS))
    assert simulate_many(BARS, [], costs=COSTS, execution=execution) == []


def test_metrics_travel_between_processes():
    """What a worker sends back is the same when it arrives."""
    made = backtest(BARS, "sma_cross", CROSS, costs=COSTS)
    again = pickle.loads(pickle.dumps(made.metrics))  # noqa: S301 - our own bytes
    assert again == made.metrics
