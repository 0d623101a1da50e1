"""The checked doorway to the position loop: signals and bars in; fills, trades and equity out.

Three layers: the scalar rules are in `execution.py`, the array loop in `loop.py`; only this module converts, validates
and raises.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from genesis.engine.execution import NO_FRACTIONS, Terms, exit_terms_of, terms_of
from genesis.engine.fills import FILL, TRADE, fills_hash, fills_table, trades_table
from genesis.engine.loop import BAD_DISTANCE, BAD_ENTRY, BAD_SIZE, FULL, OK, trade
from genesis.errors import ConfigError, StrategyError
from genesis.types import Costs, Execution, FloatArray, Signals

if TYPE_CHECKING:
    import pandas as pd

    from genesis.market.bars import Bars

KERNEL_VERSION = 1  # raised when the same signals trade differently: stored runs then refuse to go on

_PROBLEMS = {
    BAD_ENTRY: "entry: {value!r} at bar {bar} is none of -1, 0, +1",
    BAD_SIZE: "size: {value!r} at bar {bar}, which decides an entry, is not a positive number",
    BAD_DISTANCE: "stop, target or trail distance at bar {bar}, which decides an entry, is negative; 0 is none",
}


_trade = cast("Any", trade)  # called with unpacked tuples, which a checker cannot count


class _Room(threading.local):
    """Where a thread's loop writes its records before their number is known; it only ever grows."""

    def __init__(self) -> None:
        self.fills = np.empty(2_048, FILL)
        self.trades = np.empty(1_024, TRADE)

    def grow(self) -> None:
        """Four times the room, for a run that starts again."""
        self.fills = np.empty(4 * len(self.fills), FILL)
        self.trades = np.empty(4 * len(self.trades), TRADE)


_room = _Room()
_EMPTY: FloatArray = np.empty(0, dtype=np.float64)
_EMPTY_FLAGS: NDArray[np.int8] = np.empty(0, dtype=np.int8)
_NO_LEVELS: FloatArray = np.empty((0, 0), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Simulation:
    """What one set of signals did on one set of bars.

    `fills` and `trades` are structured arrays (dtypes FILL and TRADE); `equity[i]` is cash and position at close i,
    `position[i]` the signed units held after close i. `unfilled` counts entries too small to buy anything;
    `bankrupt_bar` is the bar in which equity reached zero and trading stopped, or -1.
    """

    bars: Bars
    execution: Execution
    trade_from: int
    fills: NDArray[Any]
    trades: NDArray[Any]
    equity: FloatArray
    unfilled: int
    bankrupt_bar: int
    blocked: Mapping[str, int]

    @cached_property
    def position(self) -> FloatArray:
        """Signed units after each close, float64[n]."""
        held = np.zeros(len(self.equity))
        units, start = 0.0, 0
        for bar, side, size in zip(
            self.fills["bar"].tolist(), self.fills["side"].tolist(), self.fills["units"].tolist(), strict=True
        ):
            held[start:bar] = units
            units, start = units + side * size, bar
        held[start:] = units
        return held

    @property
    def fees_paid(self) -> float:
        """Cash paid in fees, slippage not included."""
        return float(self.fills["fee"].sum())

    @property
    def bankrupt(self) -> bool:
        """Whether equity reached zero."""
        return self.bankrupt_bar >= 0

    @property
    def fills_hash(self) -> str:
        """SHA-256 of what was traded; see `fills_hash` in `genesis.engine.fills`."""
        return fills_hash(self.fills)

    @cached_property
    def fills_frame(self) -> pd.DataFrame:
        """Fills with times and reason names."""
        return fills_table(self.fills, self.bars.time)

    @cached_property
    def trades_frame(self) -> pd.DataFrame:
        """Trades with times, returns, excursions and reason names."""
        return trades_table(
            self.trades, self.bars.time, self.bars.high, self.bars.low, next_open=self.execution.fill == "next_open"
        )


def simulate(bars: Bars, signals: Signals, *, costs: Costs, execution: Execution, trade_from: int = 0) -> Simulation:
    """Trade `signals` on `bars`: fills, trades and equity under the conventions of `docs/execution.md`.

    No entry is decided before bar `trade_from`, and equity is the capital before it. Raises StrategyError when the
    signals do not fit the bars or hold values out of their range, ConfigError when `trade_from` is not a bar.

    >>> from genesis.market.catalog import load_bars
    >>> bars = load_bars("sample:IBM")
    >>> entry = np.zeros(len(bars), dtype=np.int8)
    >>> entry[10] = 1  # decided at the close of bar 10, so bought at the open of bar 11
    >>> sim = simulate(bars, Signals(entry=entry), costs=Costs(fee_bps=5, slippage_bps=2), execution=Execution())
    >>> sim.fills_frame[["bar", "side", "reason"]].values.tolist()[0]
    [11, 1, 'entry']
    """
    n = len(bars.close)
    check_start(trade_from, n)
    equity = np.empty(n)
    bar, unfilled, fills, trades = run_trade(
        (bars.open, bars.high, bars.low, bars.close), signals, terms_of(costs, execution), trade_from, equity
    )
    return Simulation(bars, execution, trade_from, fills, trades, equity, unfilled, bar, signals.blocked)


def run_trade(
    prices: tuple[FloatArray, ...], signals: Signals, terms: Terms, trade_from: int, equity: FloatArray
) -> tuple[int, int, NDArray[Any], NDArray[Any]]:
    """Trade into `equity`: the bar of the bankruptcy or -1, unfilled entries, fills and trades."""
    arrays = signal_arrays(signals, len(equity))
    rules = exit_terms_of(signals.rules)
    while True:
        status, bar, unfilled, fills, trades = _trade(
            *prices, *arrays, *terms, *rules, trade_from, equity, _room.fills, _room.trades
        )
        if status == OK:
            return bar, unfilled, fills, trades
        if status != FULL:
            raise problem(status, bar, signals)
        _room.grow()


def check_start(trade_from: int, n: int) -> None:
    """Raise ConfigError unless `trade_from` is one of `n` bars."""
    if not 0 <= trade_from < n:
        raise ConfigError(f"trade_from: {trade_from} is not one of the {n} bars; give 0 to {n - 1}")


def signal_arrays(signals: Signals, n: int) -> tuple[NDArray[Any], ...]:
    """Arrays of `signals` as the kernel takes them (length 0 for None); raises StrategyError when one does not fit."""
    fractions = signals.rules.partial_fractions
    levels = signals.partial_levels
    if levels is None:
        levels = _NO_LEVELS
        fractions = ()
    elif levels.ndim != 2 or levels.shape != (n, len(fractions)):
        raise StrategyError(
            f"partial_levels: shape {levels.shape} does not fit {n} bars and {len(fractions)} "
            "rules.partial_fractions; give one column for each fraction"
        )
    return (
        _fitting("entry", signals.entry, n, np.int8, _EMPTY_FLAGS),
        _fitting("exit", signals.exit, n, np.int8, _EMPTY_FLAGS),
        _fitting("size", signals.size, n, np.float64, _EMPTY),
        _fitting("stop_distance", signals.stop_distance, n, np.float64, _EMPTY),
        _fitting("target_distance", signals.target_distance, n, np.float64, _EMPTY),
        _fitting("trail_distance", signals.trail_distance, n, np.float64, _EMPTY),
        np.ascontiguousarray(levels, dtype=np.float64),
        np.array(fractions) if fractions else NO_FRACTIONS,
    )


def _fitting(
    name: str, array: NDArray[Any] | None, n: int, dtype: type[np.generic], missing: NDArray[Any]
) -> NDArray[Any]:
    if array is None:
        return missing
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != (n,):
        came = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise StrategyError(f"{name}: {came} came, {np.dtype(dtype)}[{n}] is needed, one value for each bar")
    array = np.ascontiguousarray(array)
    # to the compiler a read-only array is another type, and another three seconds
    return array if array.flags.writeable else array.copy()


def problem(status: int, bar: int, signals: Signals) -> StrategyError:
    """Error for a status that `trade` returned."""
    value = {BAD_ENTRY: signals.entry, BAD_SIZE: signals.size}.get(status)
    shown = value[bar].item() if value is not None else None
    return StrategyError(_PROBLEMS[status].format(bar=bar, value=shown), bar=bar)
