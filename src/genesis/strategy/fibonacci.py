"""The `fibonacci` strategy: a logistic confidence, gates on two timeframes' Fibonacci ladders, sized and exited by rule.

docs/fibonacci.md explains it with a picture of one trade; `fibonacci_parameters.py` declares every parameter.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from genesis.errors import StrategyError
from genesis.market.timeframe import DAY, HOUR, MINUTE, WEEK, parse_timeframe
from genesis.strategy.confidence import lost, score
from genesis.strategy.features import Features
from genesis.strategy.fibonacci_parameters import PARAMETERS, P
from genesis.strategy.gates import GATES, decide, distances, profit_levels
from genesis.strategy.parameters import Settings
from genesis.types import FloatArray, Params, Rules, Signals

_OPPOSITE = ("reverse", "exit", "ignore")
_AUTO = ((5 * MINUTE, "1h"), (15 * MINUTE, "4h"), (4 * HOUR, "1d"), (DAY, "1w"), (WEEK, "3M"))


def auto_higher(timeframe: str) -> str | None:
    """The higher timeframe that `htf: auto` means: up to 5m 1h, to 15m 4h, to 4h 1d, to 1d 1w, months none.

    >>> [auto_higher(name) for name in ("5m", "1h", "1d")]
    ['1h', '1d', '1w']
    """
    frame = parse_timeframe(timeframe)
    for longest, higher in _AUTO:
        if frame.step <= longest and not frame.months:
            return higher if frame.divides(parse_timeframe(higher)) else None
    return None


class Fibonacci:
    """Confidence from a logistic model, gated by Fibonacci ladders; every parameter is in PARAMETERS."""

    id: ClassVar[str] = "fibonacci"
    version: ClassVar[str] = "1"
    higher: ClassVar[str | None] = "auto"
    space: ClassVar[dict[str, Any]] = {
        "thresholds": {
            "entry_conf_overall": {"type": "float", "low": 0.25, "high": 0.45, "step": 0.01},
            "min_edge": {"type": "float", "low": 0.0, "high": 0.2, "step": 0.02},
        },
        "htf_fib": {"entry": {"tolerance_atr": {"type": "float", "low": 0.5, "high": 6.0, "step": 0.5}}},
        "ltf_fib": {"entry": {"tolerance_atr": {"type": "float", "low": 0.5, "high": 4.0, "step": 0.5}}},
        "exit": {
            "max_hold_bars": {"type": "int", "low": 5, "high": 60},
            "stop_loss_pct": {"type": "float", "low": 0.02, "high": 0.1, "step": 0.01},
        },
    }

    def signals(self, params: Params, features: Features) -> Signals:
        """Entries, confidence-mapped sizes, exits and rules; StrategyError names a parameter that is not known."""
        settings = PARAMETERS.read(params)
        p, other = settings.p, settings.other
        ints = p.astype(np.int64)
        atr_bars = int(ints[P.features_atr_period])
        ema_bars = int(ints[P.features_ema_period])
        left, right = int(ints[P.ltf_fib_swing_left]), int(ints[P.ltf_fib_swing_right])
        get = features.fetch
        atr = get("atr", atr_bars)
        top, bottom = get("swing_high", left, right), get("swing_low", left, right)
        direction, strength = score(
            p,
            get("rsi", int(ints[P.features_rsi_period])),
            get("ema_distance", ema_bars, atr_bars),
            get("ema_rise", ema_bars, int(ints[P.features_slope_bars]), atr_bars),
            get("bollinger_position", int(ints[P.features_bollinger_period])),
            get("adx", int(ints[P.features_adx_period])),
            get("atr_ratio", atr_bars, int(ints[P.features_atr_slow_period])),
            get("fib_nearness", left, right, atr_bars),
        )
        base = "thresholds_signal_adaptation_"
        entry, size, blocked = decide(
            p,
            other["risk.risk_map"],
            other["htf_fib.entry.long_target_levels"],
            other["htf_fib.entry.short_target_levels"],
            other["ltf_fib.entry.long_target_levels"],
            other["ltf_fib.entry.short_target_levels"],
            direction,
            strength,
            features.bars.close,
            atr,
            get("atr_percentile", int(ints[P[base + "atr_period"]]), int(ints[P[base + "percentile_window"]])),
            get("ema_gap", int(ints[P.regime_ema_period])),
            top,
            bottom,
            *_higher(settings, ints, features),
        )
        threshold = float(p[P.exit_exit_conf_threshold])
        levels, fractions = _partials(settings)
        return Signals(
            entry=entry,
            exit=lost(direction, strength, threshold) if threshold > 0.0 else None,
            size=size,
            stop_distance=_atrs(entry, atr, p[P.exit_stop_atr]),
            target_distance=_atrs(entry, atr, p[P.exit_target_atr]),
            trail_distance=_atrs(entry, atr, p[P.exit_trailing_atr]),
            partial_levels=profit_levels(entry, top, bottom, levels) if fractions else None,
            rules=_rules(p, fractions),
            blocked=dict(zip(GATES, blocked.tolist(), strict=True)),
        )


def _higher(settings: Settings, ints: Any, features: Features) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gap to the mean, swing high and swing low of the higher timeframe; all NaN where there is none."""
    wanted = settings.other["htf"]
    timeframe = auto_higher(features.bars.timeframe) if wanted == "auto" else wanted
    if timeframe is None or timeframe == "none":
        unknown = features.unknown
        return unknown, unknown, unknown
    higher = features.higher(timeframe)
    swing = int(ints[P.htf_fib_swing_left]), int(ints[P.htf_fib_swing_right])
    return (
        higher.fetch("ema_gap", int(ints[P.regime_htf_ema_period])),
        higher.fetch("swing_high", *swing),
        higher.fetch("swing_low", *swing),
    )


def _atrs(entry: Any, atr: FloatArray, multiple: float) -> FloatArray | None:
    return distances(entry, atr, multiple) if multiple > 0.0 else None


def _partials(settings: Settings) -> tuple[FloatArray, tuple[float, ...]]:
    levels, fractions = settings.other["exit.partials.levels"], settings.other["exit.partials.fractions"]
    if settings.p[P.exit_partials_enabled] == 0.0:
        return levels, ()
    if len(levels) != len(fractions):
        raise StrategyError(
            f"exit.partials: {len(levels)} levels and {len(fractions)} fractions; give one fraction for each level"
        )
    if fractions.sum() > 1.0 + 1e-9:
        raise StrategyError(
            f"exit.partials.fractions: {fractions.tolist()} add up to more than 1; give at most the whole"
        )
    return levels, tuple(fractions.tolist())


def _rules(p: FloatArray, fractions: tuple[float, ...]) -> Rules:
    return Rules(
        max_hold_bars=int(p[P.exit_max_hold_bars]),
        stop_loss_pct=float(p[P.exit_stop_loss_pct]),
        take_profit_pct=float(p[P.exit_take_profit_pct]),
        trailing_stop_pct=float(p[P.exit_trailing_stop_pct]),
        break_even_pct=float(p[P.exit_break_even_pct]),
        cooldown_bars=int(p[P.exit_cooldown_bars]),
        opposite=_OPPOSITE[int(p[P.exit_opposite])],  # type: ignore[arg-type]
        partial_fractions=fractions,
    )
