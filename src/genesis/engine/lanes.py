"""Many parameter sets on one market when only their metrics are wanted.

One equity buffer serves every set, so it stays in the processor's cache, and no object is made for fills that nobody
reads. The loop and the metrics are the very ones of `simulate` and `compute_metrics`: the numbers are the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.engine.backtest import execution_of, resolve
from genesis.engine.execution import terms_of
from genesis.engine.kernel import check_start, run_trade
from genesis.engine.metrics import Metrics, measure, metrics_of, periods_per_year
from genesis.types import Costs, Execution, Fill, Params, Signals

if TYPE_CHECKING:
    from genesis.market.bars import Bars
    from genesis.strategy.features import Features


def simulate_many(
    bars: Bars, signals: Iterable[Signals], *, costs: Costs, execution: Execution, trade_from: int = 0
) -> list[Metrics]:
    """Metrics of each of `signals` on `bars`, in order; they may come from a generator and need not all exist at once.

    The first set that does not fit the bars raises StrategyError, as in `simulate`.
    """
    n = len(bars.close)
    check_start(trade_from, n)
    terms = terms_of(costs, execution)
    prices = (bars.open, bars.high, bars.low, bars.close)
    equity = np.empty(n)
    capital = float(execution.capital)
    per_year = periods_per_year(bars)
    made: list[Metrics] = []
    for one in signals:
        _, _, _, trades = run_trade(prices, one, terms, trade_from, equity)
        sums = measure(equity, trades, len(trades), trade_from, capital)
        made.append(metrics_of(sums.tolist(), n - trade_from, per_year, capital))
    return made


def backtest_many(
    bars: Bars,
    strategy: Any,
    params: Sequence[Params],
    *,
    costs: Costs,
    fill: Fill = "next_open",
    capital: float = 10_000.0,
    execution: Execution | None = None,
    features: Features | None = None,
    trade_from: int = 0,
) -> list[Metrics]:
    """Metrics of `strategy` for each of `params`; arguments and numbers as in `backtest`."""
    strategy, features = resolve(bars, strategy, features)
    return simulate_many(
        bars,
        (strategy.signals(one, features) for one in params),
        costs=costs,
        execution=execution_of(fill, capital, execution),
        trade_from=trade_from,
    )
