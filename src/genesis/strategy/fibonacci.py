"""The `fibonacci` strategy: a logistic confidence, gated by the Fibonacci ladders of two timeframes.

docs/fibonacci.md explains it with a picture of one trade; `fibonacci_parameters.py` declares every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genesis.errors import StrategyError
from genesis.market.timeframe import DAY, HOUR, MINUTE, WEEK, parse_timeframe
from genesis.strategy import gates
from genesis.strategy.confidence import lost, score
from genesis.strategy.features import Features
from genesis.strategy.fibonacci_parameters import PARAMETERS, P
from genesis.strategy.needs import Need
from genesis.strategy.parameters import Settings
from genesis.types import FloatArray, Int8Array, IntArray, Opposite, Params, Rules, Signals

_OPPOSITE: tuple[Opposite, ...] = ("reverse", "exit", "ignore")
_NEAR = {
    (name, side): f"{name}.entry.{side}_target_levels" for name in ("htf_fib", "ltf_fib") for side in ("long", "short")
}
_AUTO = ((5 * MINUTE, "1h"), (15 * MINUTE, "4h"), (4 * HOUR, "1d"), (DAY, "1w"), (WEEK, "3M"))


@lru_cache(maxsize=64)
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


def resolve_higher(base: str, wanted: str) -> str | None:
    """The timeframe that the parameter `htf` means on bars of `base`; None for no higher one."""
    if wanted == "auto":
        return auto_higher(base)
    if wanted == "none":
        return None
    if not parse_timeframe(base).divides(parse_timeframe(wanted)):
        raise StrategyError(
            f"htf: {wanted!r} is not made of whole {base} bars; give a multiple of {base}, auto or none"
        )
    return wanted


def _needs() -> tuple[Need, ...]:
    atr, ema = "features.atr_period", "features.ema_period"
    zone = "thresholds.signal_adaptation"
    swing = {"left": "ltf_fib.swing_left", "right": "ltf_fib.swing_right"}
    wide = {"left": "htf_fib.swing_left", "right": "htf_fib.swing_right"}
    return (
        Need("atr", {"period": atr}),
        Need("rsi", {"period": "features.rsi_period"}),
        Need("ema_distance", {"period": ema, "atr_period": atr}),
        Need("ema_rise", {"period": ema, "bars": "features.slope_bars", "atr_period": atr}),
        Need("bollinger_position", {"period": "features.bollinger_period"}),
        Need("adx", {"period": "features.adx_period"}),
        Need("atr_ratio", {"period": atr, "slow": "features.atr_slow_period"}),
        Need("fib_nearness", {**swing, "atr_period": atr}),
        Need("swing_high", swing),
        Need("swing_low", swing),
        Need("ema_gap", {"period": "regime.ema_period"}),
        Need("atr_percentile", {"period": f"{zone}.atr_period", "window": f"{zone}.percentile_window"}),
        Need("ema_gap", {"period": "regime.htf_ema_period"}, "htf", resolve_higher),
        Need("swing_high", wide, "htf", resolve_higher),
        Need("swing_low", wide, "htf", resolve_higher),
    )


class Fibonacci:
    """Confidence from a logistic model, gated by Fibonacci ladders; every parameter is in PARAMETERS."""

    id: ClassVar[str] = "fibonacci"
    version: ClassVar[str] = "1"
    higher: ClassVar[str | None] = "auto"
    defaults: ClassVar[dict[str, Any]] = PARAMETERS.defaults
    needs: ClassVar[tuple[Need, ...]] = _needs()
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
        use = settings.p.tolist()
        made = _decide(settings, use, features)
        threshold = use[P.exit_exit_conf_threshold]
        levels, fractions = _partials(settings)
        return Signals(
            entry=made.entry,
            exit=lost(made.direction, made.strength, threshold) if threshold > 0.0 else None,
            size=made.size,
            stop_distance=_atrs(made.bars, made.atr, use[P.exit_stop_atr]),
            target_distance=_atrs(made.bars, made.atr, use[P.exit_target_atr]),
            trail_distance=_atrs(made.bars, made.atr, use[P.exit_trailing_atr]),
            partial_levels=_profit_levels(made.bars, made.entry, *made.ladder, levels) if fractions else None,
            rules=_rules(use, fractions),
            blocked=dict(zip(gates.GATES, made.blocked.tolist(), strict=True)),
        )

    def explain(self, params: Params, features: Features) -> Explanation:
        """What the strategy knew and decided at every bar, for tables and pictures."""
        settings = PARAMETERS.read(params)
        made = _decide(settings, settings.p.tolist(), features)
        stop = made.stop.astype(np.int64)
        marked = (stop & -stop).astype(np.float64)
        first = np.where(stop >= gates.LATER, stop - gates.LATER, np.log2(np.maximum(marked, 1.0)).astype(np.int64))
        with np.errstate(over="ignore"):
            rise = 1.0 / (1.0 + np.exp(-(made.strength + made.direction)))
            fall = 1.0 / (1.0 + np.exp(-(made.strength - made.direction)))
        names = np.array(gates.GATES, dtype=object)
        return Explanation(
            confidence_long=rise,
            confidence_short=fall,
            share=1.0 / (1.0 + np.exp(-2.0 * np.abs(made.direction))),
            gate=np.where(stop == 0, "", names[first]),
            swing_high=made.ladder[0],
            swing_low=made.ladder[1],
            htf_swing_high=made.htf_ladder[0],
            htf_swing_low=made.htf_ladder[1],
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """Columns of n bars: both confidences, the candidate's share, the gate that stopped the bar ("" for an entry),
    and the two ladders' ends as known at the bar."""

    confidence_long: FloatArray
    confidence_short: FloatArray
    share: FloatArray
    gate: NDArray[np.object_]
    swing_high: FloatArray
    swing_low: FloatArray
    htf_swing_high: FloatArray
    htf_swing_low: FloatArray


class _Decision(NamedTuple):
    entry: Int8Array
    size: FloatArray
    bars: IntArray  # those that enter
    blocked: IntArray
    stop: gates.Bits
    direction: FloatArray
    strength: FloatArray
    atr: FloatArray
    ladder: tuple[FloatArray, FloatArray]
    htf_ladder: tuple[FloatArray, FloatArray]


def _decide(settings: Settings, use: list[float], features: Features) -> _Decision:
    """Features, the model, and the gates in their order; `use` is the flat vector as plain floats."""
    p = settings.p
    atr_bars, ema_bars = int(use[P.features_atr_period]), int(use[P.features_ema_period])
    swing = int(use[P.ltf_fib_swing_left]), int(use[P.ltf_fib_swing_right])
    get = features.fetch
    close, atr = features.bars.close, get("atr", atr_bars)
    ladder = get("swing_high", *swing), get("swing_low", *swing)
    zone = int(use[P.thresholds_signal_adaptation_atr_period])
    rank = get("atr_percentile", zone, int(use[P.thresholds_signal_adaptation_percentile_window]))
    gap = get("ema_gap", int(use[P.regime_ema_period]))
    direction, strength = score(
        p,
        get("rsi", int(use[P.features_rsi_period])),
        get("ema_distance", ema_bars, atr_bars),
        get("ema_rise", ema_bars, int(use[P.features_slope_bars]), atr_bars),
        get("bollinger_position", int(use[P.features_bollinger_period])),
        get("adx", int(use[P.features_adx_period])),
        get("atr_ratio", atr_bars, int(use[P.features_atr_slow_period])),
        get("fib_nearness", *swing, atr_bars),
    )
    htf_gap, htf_ladder = _higher(settings, features)
    stop = np.empty(features.n, dtype=np.uint8)
    gates.confidence_gate(p, direction, strength, rank, stop)
    limits = np.empty(13)
    gates.lead_limits(p, limits)
    gates.direction_gates(p, limits, direction, rank, gap, stop)
    if use[gates.USE_HTF]:
        _ask_ladder("htf_fib", gates.HTF_GATE, gates.HTF, settings, direction, close, atr, htf_ladder, stop)
        if use[gates.OVERRIDE]:
            gates.override(p, direction, strength, stop)
    _ask_ladder("ltf_fib", gates.LTF_GATE, gates.LTF, settings, direction, close, atr, ladder, stop)
    entry, size = np.zeros(features.n, dtype=np.int8), np.ones(features.n)
    blocked = np.zeros(len(gates.GATES), dtype=np.int64)
    sizes = settings.other["risk.risk_map"]
    bars = np.empty(features.n, dtype=np.int64)
    entered = gates.enter(p, sizes, direction, strength, rank, gap, htf_gap, stop, entry, size, blocked, bars)
    return _Decision(entry, size, bars[:entered], blocked, stop, direction, strength, atr, ladder, htf_ladder)


def _ask_ladder(
    name: str,
    at: int,
    bit: int,
    settings: Settings,
    direction: FloatArray,
    close: FloatArray,
    atr: FloatArray,
    ladder: Sequence[FloatArray],
    stop: gates.Bits,
) -> None:
    """Let one timeframe's ladder mark the bars that it stops."""
    p = settings.p
    if p[at] == 0.0:
        return
    top, bottom = ladder
    gates.ladder_gate(p, at, bit, direction, close, atr, top, bottom, stop)
    for side, path in ((1.0, _NEAR[name, "long"]), (-1.0, _NEAR[name, "short"])):
        levels = settings.other[path]
        if len(levels):
            gates.near_gate(side, levels, float(p[at + 1]), bit, direction, close, atr, top, bottom, stop)


def _higher(settings: Settings, features: Features) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Gap to the mean, and the ladder, of the higher timeframe; all NaN where there is none."""
    timeframe = resolve_higher(features.bars.timeframe, settings.other["htf"])
    if timeframe is None:
        unknown = features.unknown
        return unknown, (unknown, unknown)
    get = features.higher(timeframe).fetch
    swing = int(settings.p[P.htf_fib_swing_left]), int(settings.p[P.htf_fib_swing_right])
    ladder = get("swing_high", *swing), get("swing_low", *swing)
    return get("ema_gap", int(settings.p[P.regime_htf_ema_period])), ladder


def _atrs(bars: IntArray, atr: FloatArray, multiple: float) -> FloatArray | None:
    if not multiple > 0.0:
        return None
    out = np.zeros(len(atr))
    gates.distances(bars, atr, multiple, out)
    return out


def _profit_levels(
    bars: IntArray, entry: Int8Array, top: FloatArray, bottom: FloatArray, levels: FloatArray
) -> FloatArray:
    out = np.full(len(entry) * len(levels), np.nan)
    gates.profit_levels(bars, entry, top, bottom, levels, out)
    return out.reshape(len(entry), len(levels))


def _partials(settings: Settings) -> tuple[FloatArray, tuple[float, ...]]:
    levels = settings.other["exit.partials.levels"]
    if settings.p[P.exit_partials_enabled] == 0.0:
        return levels, ()
    fractions = tuple(settings.other["exit.partials.fractions"].tolist())
    if len(levels) != len(fractions):
        raise StrategyError(
            f"exit.partials: {len(levels)} levels and {len(fractions)} fractions; give one fraction for each level"
        )
    if sum(fractions) > 1.0 + 1e-9:
        raise StrategyError(f"exit.partials.fractions: {fractions} add up to more than 1; give at most the whole")
    return levels, fractions


def _rules(use: list[float], fractions: tuple[float, ...]) -> Rules:
    return Rules(
        max_hold_bars=int(use[P.exit_max_hold_bars]),
        stop_loss_pct=use[P.exit_stop_loss_pct],
        take_profit_pct=use[P.exit_take_profit_pct],
        trailing_stop_pct=use[P.exit_trailing_stop_pct],
        break_even_pct=use[P.exit_break_even_pct],
        cooldown_bars=int(use[P.exit_cooldown_bars]),
        opposite=_OPPOSITE[int(use[P.exit_opposite])],
        partial_fractions=fractions,
    )
