"""Frozen values that more than one floor speaks of; no behaviour beyond their own checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genesis.errors import ConfigError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int8Array = NDArray[np.int8]
Params = Mapping[str, Any]
Fill = Literal["next_open", "same_close"]
Units = Literal["fractional", "whole"]
Sizing = Literal["equity_fraction", "fixed_cash", "fixed_units"]
Opposite = Literal["reverse", "exit", "ignore"]
TrialState = Literal["complete", "failed", "pruned"]


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name}: {value!r} is outside [{low:g}, {high:g}]; give a number inside it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a fill costs, per side.

    `fee_bps` and `slippage_bps` are basis points of the traded value and of the price; `fee_fixed` is cash per
    fill. Slippage moves the price against the trader, the fee is charged on the slipped value.
    """

    fee_bps: float
    slippage_bps: float
    fee_fixed: float = 0.0

    def __post_init__(self) -> None:
        _check("costs.fee_bps", self.fee_bps, 0.0, 5_000.0)
        _check("costs.slippage_bps", self.slippage_bps, 0.0, 5_000.0)
        _check("costs.fee_fixed", self.fee_fixed, 0.0, 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How orders become fills: when, with how much money, in which units.

    `size` is the fraction of equity (`equity_fraction`), the cash (`fixed_cash`) or the units (`fixed_units`) of
    an entry whose signal size is 1; `Signals.size` multiplies it.
    """

    fill: Fill = "next_open"
    capital: float = 10_000.0
    units: Units = "fractional"
    sizing: Sizing = "equity_fraction"
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.fill not in ("next_open", "same_close"):
            raise ConfigError(f"execution.fill: {self.fill!r} is unknown; use 'next_open' or 'same_close'")
        if self.units not in ("fractional", "whole"):
            raise ConfigError(f"execution.units: {self.units!r} is unknown; use 'fractional' or 'whole'")
        if self.sizing not in ("equity_fraction", "fixed_cash", "fixed_units"):
            raise ConfigError(
                f"execution.sizing: {self.sizing!r} is unknown; use 'equity_fraction', 'fixed_cash' or 'fixed_units'"
            )
        _check("execution.capital", self.capital, 1e-9, 1e15)
        _check("execution.size", self.size, 1e-12, 1e15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Exits that depend on the position, as scalars of one trial; 0 switches a rule off.

    Percentages are fractions (0.02 is two per cent) of the entry fill price; the trailing stop follows the best
    price since entry. `partial_fractions[k]` of the entry's units leave at `Signals.partial_levels[:, k]`.
    """

    max_hold_bars: int = 0
    stop_loss_pct: float = 0.0
    take_profit_pct: float = 0.0
    trailing_stop_pct: float = 0.0
    break_even_pct: float = 0.0
    cooldown_bars: int = 0
    opposite: Opposite = "reverse"
    partial_fractions: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What a strategy says at the close of each bar; arrays of length n, a function of features and parameters only.

    - `entry`: int8, +1 go long, -1 go short, 0 nothing.
    - `exit`: int8 bits, 1 leave a long, 2 leave a short, 3 both; None is never.
    - `size`: float64 > 0, multiplies `Execution.size` at an entry; None is 1.
    - `stop_distance`, `target_distance`, `trail_distance`: float64 in price units from the entry fill price (the
      trail: from the best price since entry), read at the bar that decides the entry; NaN or 0 is none.
    - `partial_levels`: float64[n, k], absolute prices read at the deciding bar; NaN, or a level on the losing side
      of the fill, is none.
    - `blocked`: how many bars each gate stopped, in the order the gates are asked.
    """

    entry: Int8Array
    exit: Int8Array | None = None
    size: FloatArray | None = None
    stop_distance: FloatArray | None = None
    target_distance: FloatArray | None = None
    trail_distance: FloatArray | None = None
    partial_levels: FloatArray | None = None
    rules: Rules = field(default_factory=Rules)
    blocked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Violation:
    """One constraint that failed: `actual` against `limit`; `amount` > 0 grows with the distance between them."""

    name: str
    limit: float
    actual: float | None
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One trial to run: what a worker receives. `params` are canonical (typed, snapped, nested)."""

    number: int
    generation: int
    key: str
    params: dict[str, Any]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One trial's outcome: what a worker returns and the store keeps.

    `score` is larger-is-better and None when undefined or failed; `reason` then says why. `blocked` counts bars per
    gate, `fills_hash` identifies the fills (equal hash: equal behaviour), `reports` are running scores per segment,
    `seconds` maps a stage (features, signals, kernel, metrics) to its time and is never part of identity.
    """

    number: int
    generation: int
    key: str
    params: dict[str, Any]
    state: TrialState
    score: float | None
    metrics: dict[str, float | None]
    violations: tuple[Violation, ...] = ()
    reason: str | None = None
    traceback: str | None = None
    blocked: dict[str, int] = field(default_factory=dict)
    fills_hash: str | None = None
    reports: tuple[float, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Complete, scored, and no constraint violated."""
        return self.state == "complete" and self.score is not None and not self.violations
