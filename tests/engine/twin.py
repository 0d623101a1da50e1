"""The slow, obvious twin of the position loop: one object, one bar at a time, plain Python, straight from the rules.

It shares no code with the engine. Where the loop jumps, scans and ratchets, the twin walks every bar and works every
level out anew from the whole list of prices seen since entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genesis.types import Costs, Execution, Rules, Signals


@dataclass
class Position:
    side: int
    units: float
    entry_units: float
    price: float
    bar: int
    trade: int
    stop_gap: float
    target_gap: float
    trail_gap: float
    levels: list[float]
    seen: list[float] = field(default_factory=list)  # best price of each finished bar since entry
    exit_value: float = 0.0
    fees: float = 0.0


@dataclass
class Order:
    reason: str
    decided: int
    enter: int = 0  # side to enter, after leaving what is held


class Twin:
    def __init__(self, bars: Any, signals: Signals, costs: Costs, execution: Execution, trade_from: int = 0) -> None:
        self.bars, self.signals, self.costs, self.execution = bars, signals, costs, execution
        self.rules: Rules = signals.rules
        self.trade_from = trade_from
        self.n = len(bars.close)
        self.cash = execution.capital
        self.position: Position | None = None
        self.pending: Order | None = None
        self.last_exit: int | None = None
        self.stopped_trading = False
        self.bankrupt_bar = -1
        self.unfilled = 0
        self.fills: list[tuple[int, int, float, float, float, str, int]] = []
        self.trades: list[dict[str, Any]] = []
        self.equity: list[float] = []
        self.next_open = execution.fill == "next_open"

    def run(self) -> Twin:
        for i in range(self.n):
            self.at_the_open(i)
            self.inside_the_bar(i)
            self.at_the_close(i)
            held = self.position
            self.equity.append(self.cash + (held.side * held.units * self.bars.close[i] if held else 0.0))
        return self

    # --- fills

    def fill(self, bar: int, side: int, units: float, raw: float, reason: str, trade: int) -> tuple[float, float]:
        price = raw * (1 + side * self.costs.slippage_bps * 1e-4)
        fee = self.costs.fee_bps * 1e-4 * units * price + self.costs.fee_fixed
        self.cash -= side * units * price + fee
        self.fills.append((bar, side, units, price, fee, reason, trade))
        return price, fee

    def enter(self, bar: int, raw: float, order: Order) -> None:
        side, d, s = order.enter, order.decided, self.signals
        price = raw * (1 + side * self.costs.slippage_bps * 1e-4)
        weight = 1.0 if s.size is None else s.size[d]
        asked = self.execution.size
        if self.execution.sizing == "equity_fraction":
            wanted = self.cash * asked * weight / price
        elif self.execution.sizing == "fixed_cash":
            wanted = asked * weight / price
        else:
            wanted = asked * weight
        affordable = (self.cash - self.costs.fee_fixed) / (price * (1 + self.costs.fee_bps * 1e-4))
        units = min(wanted, affordable)
        if self.execution.units == "whole":
            units = float(math.floor(units))
        if units <= 0:
            self.unfilled += 1
            return
        number = len(self.trades)

        def gap(array: Any) -> float:
            value = 0.0 if array is None else array[d]
            return 0.0 if math.isnan(value) else value

        price, fee = self.fill(bar, side, units, raw, "entry", number)
        levels = [] if s.partial_levels is None else [float(x) for x in s.partial_levels[d]]
        levels = [x if side * (x - price) > 0 else math.nan for x in levels]
        self.position = Position(
            side,
            units,
            units,
            price,
            bar,
            number,
            gap(s.stop_distance),
            gap(s.target_distance),
            gap(s.trail_distance),
            levels,
            fees=fee,
        )

    def leave(self, bar: int, raw: float, reason: str, units: float | None = None) -> None:
        p = self.position
        assert p is not None
        units = p.units if units is None else units
        price, fee = self.fill(bar, -p.side, units, raw, reason, p.trade)
        p.exit_value += units * price
        p.fees += fee
        p.units -= units
        if p.units == 0:
            self.trades.append(
                {
                    "entry_bar": p.bar,
                    "exit_bar": bar,
                    "side": p.side,
                    "units": p.entry_units,
                    "entry_price": p.price,
                    "exit_value": p.exit_value,
                    "fees": p.fees,
                    "pnl": p.side * (p.exit_value - p.entry_units * p.price) - p.fees,
                    "reason": reason,
                }
            )
            self.position = None
            self.last_exit = bar
            if self.cash <= 0:
                self.stopped_trading = True
                self.bankrupt_bar = bar

    # --- the three moments of a bar

    def at_the_open(self, i: int) -> None:
        order, self.pending = self.pending, None
        if order is None:
            return
        if self.position is not None:
            self.leave(i, self.bars.open[i], order.reason)
        if order.enter and not self.stopped_trading:
            self.enter(i, self.bars.open[i], order)

    def stop_of(self, p: Position) -> tuple[float, str]:
        """The tightest stop, and its name; an equal one does not take the name away."""
        candidates: list[tuple[float, str]] = []
        if self.rules.stop_loss_pct:
            candidates.append((p.price * (1 - p.side * self.rules.stop_loss_pct), "stop_loss"))
        if p.stop_gap:
            candidates.append((p.price - p.side * p.stop_gap, "stop_loss"))
        prices = [p.price, *p.seen]
        for k in range(len(prices)):  # in the order in which they came, so that the first of equals keeps the name
            best = max(prices[: k + 1]) if p.side > 0 else min(prices[: k + 1])
            if self.rules.trailing_stop_pct:
                candidates.append((best * (1 - p.side * self.rules.trailing_stop_pct), "trailing_stop"))
            if p.trail_gap:
                candidates.append((best - p.side * p.trail_gap, "trailing_stop"))
            even = self.rules.break_even_pct
            if even and k > 0 and p.side * (best - p.price * (1 + p.side * even)) >= 0:
                candidates.append((p.price, "break_even"))
        found, name = -p.side * math.inf, "stop_loss"
        for level, reason in candidates:
            if p.side * (level - found) > 0:
                found, name = level, reason
        return found, name

    def target_of(self, p: Position) -> float:
        levels = []
        if self.rules.take_profit_pct:
            levels.append(p.price * (1 + p.side * self.rules.take_profit_pct))
        if p.target_gap:
            levels.append(p.price + p.side * p.target_gap)
        if not levels:
            return p.side * math.inf
        return min(levels) if p.side > 0 else max(levels)

    def part(self, i: int, k: int, raw: float) -> None:
        p = self.position
        assert p is not None
        p.levels[k] = math.nan
        units = p.entry_units * self.rules.partial_fractions[k]
        if self.execution.units == "whole":
            units = float(math.floor(units))
        if units <= 0:
            return
        if p.units - units <= 1e-9 * p.entry_units:
            units = p.units
        self.leave(i, raw, "partial", units)

    def inside_the_bar(self, i: int) -> None:
        p = self.position
        if p is None:
            return None
        o, h, low = self.bars.open[i], self.bars.high[i], self.bars.low[i]
        worst, reach = (low, h) if p.side > 0 else (h, low)
        stop, name = self.stop_of(p)
        target = self.target_of(p)

        def beyond(price: float, level: float) -> bool:
            return p.side * (price - level) >= 0

        if p.side * (o - stop) <= 0:
            return self.leave(i, o, name)
        if beyond(o, target):
            return self.leave(i, o, "take_profit")
        for k, level in enumerate(p.levels):
            if self.position and beyond(o, level):
                self.part(i, k, o)
        if self.position is None:
            return None
        if p.side * (worst - stop) <= 0:
            return self.leave(i, stop, name)
        for k, level in enumerate(p.levels):
            if self.position and beyond(reach, level) and p.side * (target - level) > 0:
                self.part(i, k, level)
        if self.position is None:
            return None
        if beyond(reach, target):
            return self.leave(i, target, "take_profit")
        p.seen.append(reach)
        return None

    def at_the_close(self, i: int) -> None:
        c, p = self.bars.close[i], self.position
        last = i == self.n - 1
        signal = int(self.signals.entry[i])
        if p is None:
            cooling = self.last_exit is not None and i < self.last_exit + self.rules.cooldown_bars
            if signal and i >= self.trade_from and not cooling and not last and not self.stopped_trading:
                self.order(i, Order("", i, signal))
            return
        if self.cash + p.side * p.units * c <= 0:
            self.stopped_trading = True
            self.leave(i, c, "bankrupt")
            self.bankrupt_bar = i
            return
        reason = self.decision(i, p, signal)
        if last:
            self.leave(i, c, reason if reason and not self.next_open else "end")
        elif reason:
            turns = reason == "opposite" and self.rules.opposite == "reverse" and self.rules.cooldown_bars == 0
            self.order(i, Order(reason, i, signal if turns else 0))

    def decision(self, i: int, p: Position, signal: int) -> str:
        against = signal == -p.side
        bits = 0 if self.signals.exit is None else int(self.signals.exit[i])
        fills_at = i + 1 if self.next_open else i
        if against and self.rules.opposite == "reverse":
            return "opposite"
        if bits & (1 if p.side > 0 else 2):
            return "signal"
        if against and self.rules.opposite == "exit":
            return "opposite"
        if self.rules.max_hold_bars and fills_at - p.bar >= self.rules.max_hold_bars:
            return "max_hold"
        return ""

    def order(self, i: int, order: Order) -> None:
        if self.next_open:
            self.pending = order
            return
        if self.position is not None:
            self.leave(i, self.bars.close[i], order.reason)
        if order.enter and not self.stopped_trading:
            self.enter(i, self.bars.close[i], order)

    @property
    def equity_array(self) -> Any:
        return np.array(self.equity)
