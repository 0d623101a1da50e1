"""The scalar rules of trading: what a fill costs, how large an entry is, which stop stands; and their checks.

Each rule is a few lines of arithmetic, compiled and inlined into the loop of `kernel.py`. `docs/execution.md` states
the same conventions in words, with tables worked by hand.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from genesis.engine.compile import rule
from genesis.errors import StrategyError
from genesis.types import Costs, Execution, FloatArray, Rules

REVERSE, EXIT, IGNORE = 0, 1, 2
EQUITY_FRACTION, FIXED_CASH, FIXED_UNITS = 0, 1, 2
_OPPOSITE = {"reverse": REVERSE, "exit": EXIT, "ignore": IGNORE}
_SIZING = {"equity_fraction": EQUITY_FRACTION, "fixed_cash": FIXED_CASH, "fixed_units": FIXED_UNITS}
NO_FRACTIONS: FloatArray = np.empty(0, dtype=np.float64)


@rule
def slipped(raw: float, side: int, slippage: float) -> float:
    """Price of a fill: moved against the trader, up for a buy (`side` +1) and down for a sell (-1)."""
    return raw * (1.0 + side * slippage)


@rule
def sized(
    cash: float, price: float, size: float, weight: float, sizing: int, whole: bool, fee: float, fixed: float
) -> float:
    """Units of an entry: what the sizing asks for, at most what the cash pays for with its fees, rounded down if whole.

    The same limit holds for a short: its value may not exceed the cash, so neither side is ever levered.
    """
    if sizing == 0:
        wanted = cash * size * weight / price
    elif sizing == 1:
        wanted = size * weight / price
    else:
        wanted = size * weight
    affordable = (cash - fixed) / (price * (1.0 + fee))
    units = min(wanted, affordable)
    if whole:
        units = math.floor(units)
    return max(units, 0.0)


@rule
def first_stop(price: float, side: int, stop_pct: float, distance: float) -> float:
    """Stop of a new position, the tighter of percentage and distance; infinitely far when there is neither."""
    stop = -side * math.inf
    if stop_pct > 0.0:
        stop = price * (1.0 - side * stop_pct)
    if distance > 0.0:
        level = price - side * distance
        if side * (level - stop) > 0.0:
            stop = level
    return stop


@rule
def first_target(price: float, side: int, target_pct: float, distance: float) -> float:
    """Target of a new position, the nearer of percentage and distance; infinitely far when there is neither."""
    target = side * math.inf
    if target_pct > 0.0:
        target = price * (1.0 + side * target_pct)
    if distance > 0.0:
        level = price + side * distance
        if side * (target - level) > 0.0:
            target = level
    return target


@rule
def trailing_stop(best: float, side: int, trail_pct: float, distance: float) -> float:
    """Trailing stop under the best price so far, the tighter of percentage and distance; infinitely far if neither."""
    stop = -side * math.inf
    if trail_pct > 0.0:
        stop = best * (1.0 - side * trail_pct)
    if distance > 0.0:
        level = best - side * distance
        if side * (level - stop) > 0.0:
            stop = level
    return stop


class Terms(NamedTuple):
    """Costs and execution as the numbers a kernel takes, in its argument order."""

    next_open: bool
    capital: float
    fee: float
    slippage: float
    fee_fixed: float
    sizing: int
    size: float
    whole: bool


def terms_of(costs: Costs, execution: Execution) -> Terms:
    """Numbers of checked `Costs` and `Execution`; basis points become fractions."""
    return Terms(
        execution.fill == "next_open",
        float(execution.capital),
        costs.fee_bps * 1e-4,
        costs.slippage_bps * 1e-4,
        float(costs.fee_fixed),
        _SIZING[execution.sizing],
        float(execution.size),
        execution.units == "whole",
    )


class ExitTerms(NamedTuple):
    """Exit rules as the numbers a kernel takes, in its argument order."""

    max_hold: int
    stop_pct: float
    target_pct: float
    trail_pct: float
    even_pct: float
    cooldown: int
    opposite: int


_NO_RULES = Rules()
_NO_RULES_TERMS = ExitTerms(0, 0.0, 0.0, 0.0, 0.0, 0, REVERSE)


def exit_terms_of(rules: Rules) -> ExitTerms:
    """Numbers of `Rules`; raises StrategyError naming the field that no position can obey."""
    if rules is _NO_RULES or rules == _NO_RULES:
        return _NO_RULES_TERMS
    if rules.opposite not in _OPPOSITE:
        raise StrategyError(f"rules.opposite: {rules.opposite!r} is unknown; use 'reverse', 'exit' or 'ignore'")
    for name, limit in (
        ("stop_loss_pct", 1.0),
        ("trailing_stop_pct", 1.0),
        ("take_profit_pct", math.inf),
        ("break_even_pct", math.inf),
    ):
        value = getattr(rules, name)
        if not 0.0 <= value < limit:  # also refuses NaN
            raise StrategyError(f"rules.{name}: {value!r} is outside [0, {limit:g}); it is a fraction, 0 is off")
    for name in ("max_hold_bars", "cooldown_bars"):
        count = getattr(rules, name)
        if count != int(count) or count < 0:
            raise StrategyError(f"rules.{name}: {count!r} is not a number of bars; use 0 (off) or a positive integer")
    for fraction in rules.partial_fractions:
        if not 0.0 < fraction <= 1.0:
            raise StrategyError(f"rules.partial_fractions: {fraction!r} is outside (0, 1]; it is a share of the entry")
    return ExitTerms(
        int(rules.max_hold_bars),
        float(rules.stop_loss_pct),
        float(rules.take_profit_pct),
        float(rules.trailing_stop_pct),
        float(rules.break_even_pct),
        int(rules.cooldown_bars),
        _OPPOSITE[rules.opposite],
    )
