"""Many parameter sets on one market when only their metrics are wanted.

A strategy that knows how says for many sets at once where each enters (`lanes`); any other is asked set by set. Either
way `trade_lane` trades each set and `measure_lanes` weighs four together. What they refuse goes the way of a single
backtest, which says why; the numbers are the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genesis.engine.backtest import execution_of, resolve
from genesis.engine.execution import Terms, exit_terms_of, terms_of
from genesis.engine.kernel import check_start, run_trade, signal_arrays
from genesis.engine.lane_loop import STEP, list_entries, spread_prices, trade_lane
from genesis.engine.lane_metrics import ROWS, measure_lanes
from genesis.engine.loop import OK
from genesis.engine.metrics import COUNT, SLOTS, Metrics, measure, metrics_of, periods_per_year
from genesis.errors import StrategyError
from genesis.types import Costs, Execution, Fill, Params, Rules, Signals

if TYPE_CHECKING:
    from genesis.market.bars import Bars
    from genesis.strategy.features import Features


@dataclass(frozen=True, slots=True)
class Lane:
    """The signals of one set by the bars at which it may enter; arrays may be written anew once the next is asked for.

    `bars` are the `count` bars with an entry code in order (int32, with room for one more); `columns` are entry, exit,
    size, three distances, partial levels and fractions as `trade` takes them, read at those bars only, except exit;
    `terms` are checked ExitTerms.
    """

    bars: NDArray[np.int32]
    count: int
    columns: tuple[NDArray[Any], ...]
    terms: Sequence[float]


def plain_columns(entry: NDArray[np.int8]) -> tuple[tuple[NDArray[Any], ...], Sequence[float]]:
    """Columns and terms of a lane that has entries and nothing else."""
    return signal_arrays(Signals(entry=entry), len(entry)), exit_terms_of(Rules())


class _RefusedError(Exception):
    """A lane holds what no position can obey; the single way says what."""


class _Lanes:
    """One market and the room in which its sets are traded, four at a time."""

    def __init__(self, bars: Bars, terms: Terms, trade_from: int) -> None:
        n = len(bars.close)
        check_start(trade_from, n)
        self.n = n
        self.trade_from = trade_from
        self._bars = bars
        self._terms = terms
        self._prices: Any = (bars.open, np.empty(n + STEP), np.empty(2 * n), np.empty(2 * n))
        closes, single, several = self._prices[1:]
        spread_prices(bars.high, bars.low, bars.close, single, several, closes)
        self._numbers = np.array([*map(float, terms), *[0.0] * 7, float(trade_from)])
        self._coded = np.empty(n + 1, dtype=np.int32)
        self._turns = np.empty(n + 1, dtype=np.int32)
        self._values = np.empty((ROWS, n + 1 + STEP))
        self._runs = np.empty((ROWS, 2 * n + 2), dtype=np.int64)
        self._sums = np.zeros((ROWS, SLOTS))
        self._rows: list[Any] = [(self._values[k], self._runs[k], self._sums[k]) for k in range(ROWS)]
        self._per_year = periods_per_year(bars)
        self._filled = 0

    def trade(self, lane: Lane) -> None:
        """Trade into the next free row."""
        self._numbers[8:15] = lane.terms
        given: tuple[Any, ...] = (*self._prices, lane.bars, lane.count, self._turns, *lane.columns, self._numbers)
        if trade_lane(*given, *self._rows[self._filled]) != OK:
            raise _RefusedError
        self._filled += 1

    def lane_of(self, signals: Signals) -> Lane:
        """Signals of every bar as a lane."""
        columns = signal_arrays(signals, self.n)
        count = list_entries(columns[0], self._coded)
        if count < 0:
            raise _RefusedError
        return Lane(self._coded, count, columns, exit_terms_of(signals.rules))

    def alone(self, signals: Signals) -> Metrics:
        """Metrics by the loop of a single backtest, which raises what is wrong with the signals."""
        bars, equity = self._bars, np.empty(self.n)
        prices = (bars.open, bars.high, bars.low, bars.close)
        _, _, _, trades = run_trade(prices, signals, self._terms, self.trade_from, equity)
        return self._metrics(measure(equity, trades, len(trades), self.trade_from, self._terms.capital).tolist())

    @property
    def full(self) -> bool:
        """Whether every row is taken."""
        return self._filled == ROWS

    def take(self) -> list[Metrics]:
        """Metrics of the rows in the order in which they were traded; all rows are free again."""
        self._sums[self._filled :, COUNT] = 0.0
        self._runs[self._filled :, 0] = 1
        measure_lanes(self._values, self._runs, self.n, self.trade_from, self._sums)
        made = [self._metrics(sums) for sums in self._sums[: self._filled].tolist()]
        self._filled = 0
        return made

    def _metrics(self, sums: list[float]) -> Metrics:
        return metrics_of(sums, self.n - self.trade_from, self._per_year, self._terms.capital)


def simulate_many(
    bars: Bars, signals: Iterable[Signals], *, costs: Costs, execution: Execution, trade_from: int = 0
) -> list[Metrics]:
    """Metrics of each of `signals` on `bars`, in order; they may come from a generator and need not all exist at once.

    The first set that does not fit the bars raises StrategyError, as in `simulate`.
    """
    lanes = _Lanes(bars, terms_of(costs, execution), trade_from)
    made: list[Metrics] = []
    for one in signals:
        try:
            lanes.trade(lanes.lane_of(one))
        except _RefusedError:
            made += lanes.take()
            made.append(lanes.alone(one))
        if lanes.full:
            made += lanes.take()
    return made + lanes.take()


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
    """Metrics of `strategy` for each of `params`, in their order; arguments, numbers and errors as in `backtest`.

    Quicker than one backtest after another, since no fills, trades or equity are kept, and since strategies that have
    `lanes` share their passes over the bars.

    >>> from genesis.market.catalog import load_bars
    >>> sets = [{"fast": fast, "slow": 30} for fast in (5, 10, 20)]
    >>> many = backtest_many(load_bars("sample:IBM"), "sma_cross", sets, costs=Costs(fee_bps=5, slippage_bps=2))
    >>> [int(metrics["trades"]) for metrics in many]
    [155, 125, 122]
    """
    strategy, features = resolve(bars, strategy, features)
    execution = execution_of(fill, capital, execution)
    if _knows_lanes(strategy):
        lanes = _Lanes(bars, terms_of(costs, execution), trade_from)
        with suppress(_RefusedError, StrategyError):  # the first set that is wrong says so below
            return _in_lanes(lanes, strategy.lanes(params, features), len(params))
    return simulate_many(
        bars,
        (strategy.signals(one, features) for one in params),
        costs=costs,
        execution=execution,
        trade_from=trade_from,
    )


def _knows_lanes(strategy: Any) -> bool:
    """Whether whoever says `signals` says `lanes` too: a subclass that changes the one has not changed the other."""
    for owner in (strategy, *type(strategy).__mro__):
        said = vars(owner) if hasattr(owner, "__dict__") else {}
        if "lanes" in said or "signals" in said:
            return callable(said.get("lanes"))
    return False


def _in_lanes(lanes: _Lanes, produced: Iterator[tuple[int, Lane | Signals]], count: int) -> list[Metrics]:
    """Metrics of lanes that come in any order, each with its place."""
    made: dict[int, Metrics] = {}
    places: list[int] = []
    for place, one in produced:
        lanes.trade(one if isinstance(one, Lane) else lanes.lane_of(one))
        places.append(place)
        if lanes.full:
            made.update(zip(places, lanes.take(), strict=True))
            places.clear()
    made.update(zip(places, lanes.take(), strict=True))
    return [made[place] for place in range(count)]
