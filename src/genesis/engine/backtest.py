"""One strategy, one parameter set, one market: signals, simulation and metrics in a single call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genesis.engine.compile import ready
from genesis.engine.kernel import Simulation, simulate
from genesis.engine.metrics import Metrics, compute_metrics
from genesis.types import Costs, Execution, Fill, FloatArray, Params

if TYPE_CHECKING:
    import pandas as pd

    from genesis.market.bars import Bars
    from genesis.strategy.features import Features


@dataclasses.dataclass(frozen=True, eq=False)
class Backtest:
    """One backtest's outcome; tables are made when asked for, and every array lines up with `bars`.

    `metrics` are floats or None (`metrics.reasons` says why), `equity` is float64[n] at each close, `blocked` counts
    the bars that each gate stopped, `fills_hash` is equal for equal behaviour.
    """

    bars: Bars
    params: Params
    simulation: Simulation
    metrics: Metrics

    @property
    def fills(self) -> pd.DataFrame:
        """One row per fill."""
        return self.simulation.fills_frame

    @property
    def trades(self) -> pd.DataFrame:
        """One row per trade."""
        return self.simulation.trades_frame

    @property
    def equity(self) -> FloatArray:
        """Equity at each close, float64[n]."""
        return self.simulation.equity

    @property
    def position(self) -> FloatArray:
        """Signed units held after each close, float64[n]."""
        return self.simulation.position

    @property
    def blocked(self) -> Mapping[str, int]:
        """How many bars each gate stopped."""
        return self.simulation.blocked

    @property
    def fills_hash(self) -> str:
        """SHA-256 of what was traded."""
        return self.simulation.fills_hash

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {value:.4g}" if value is not None else f"{name} undefined"
            for name, value in self.metrics.items()
            if name in ("total_return", "sharpe", "max_drawdown", "trades")
        )
        return f"<Backtest {len(self.bars):,} bars: {shown}>"


def execution_of(fill: Fill, capital: float, execution: Execution | None) -> Execution:
    """`execution` when given, else one with this fill and capital and the stated defaults."""
    return Execution(fill=fill, capital=capital) if execution is None else execution


def resolve(bars: Bars, strategy: Any, features: Features | None) -> tuple[Any, Features]:
    """The strategy behind a reference, checked when it is not ours, and the features of `bars`."""
    ready()
    from genesis.strategy.features import Features

    if not type(strategy).__module__.startswith("genesis.strategy."):  # anyone else's is checked before it trades
        from genesis.strategy.base import load_strategy

        strategy = load_strategy(strategy)
    return strategy, Features(bars) if features is None else features


def backtest(
    bars: Bars,
    strategy: Any,
    params: Params,
    *,
    costs: Costs,
    fill: Fill = "next_open",
    capital: float = 10_000.0,
    execution: Execution | None = None,
    features: Features | None = None,
    trade_from: int = 0,
) -> Backtest:
    """Run `strategy` (a Strategy, its class, or a reference such as "sma_cross") with `params` on `bars`.

    `execution` replaces `fill` and `capital` when given. `features` (of the same bars) shares cached indicators between
    calls. No entry is decided before `trade_from`. Raises StrategyError when the strategy breaks its contract.

    >>> from genesis.market.catalog import load_bars
    >>> bars = load_bars("sample:IBM")
    >>> made = backtest(bars, "sma_cross", {"fast": 10, "slow": 30}, costs=Costs(fee_bps=5, slippage_bps=2))
    >>> len(made.equity) == len(bars), len(made.trades) == made.metrics["trades"]
    (True, True)
    """
    strategy, features = resolve(bars, strategy, features)
    signals = strategy.signals(params, features)
    sim = simulate(bars, signals, costs=costs, execution=execution_of(fill, capital, execution), trade_from=trade_from)
    return Backtest(bars, params, sim, compute_metrics(sim, bars))
