"""The `fibonacci` strategy: a logistic confidence, gated by the Fibonacci ladders of two timeframes.

docs/fibonacci.md explains it with a picture of one trade; `fibonacci_parameters.py` declares every parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genesis.errors import StrategyError
from genesis.market.timeframe import DAY, HOUR, MINUTE, WEEK, parse_timeframe
from genesis.strategy import gates
from genesis.strategy.confidence import score
from genesis.strategy.entries import enter
from genesis.strategy.features import Features
from genesis.strategy.fibonacci_parameters import PARAMETERS, P
from genesis.strategy.needs import Need
from genesis.strategy.parameters import Settings
from genesis.strategy.together import make_together
from genesis.types import FloatArray, Int8Array, Opposite, Params, Rules, Signals

if TYPE_CHECKING:
    from genesis.engine.lanes import Lane

_OPPOSITE: tuple[Opposite, ...] = ("reverse", "exit", "ignore")
NEAR = tuple(
    (side, f"{name}.entry.{word}_target_levels", at, bit)
    for name, at, bit in (("htf_fib", gates.HTF_GATE, gates.HTF), ("ltf_fib", gates.LTF_GATE, gates.LTF))
    for side, word in ((1.0, "long"), (-1.0, "short"))
)
periods_of = itemgetter(  # from the flat vector, in the order in which `fetch` takes them
    *(
        int(getattr(P, name))
        for name in (
            "features_rsi_period",
            "features_ema_period",
            "features_slope_bars",
            "features_bollinger_period",
            "features_adx_period",
            "features_atr_period",
            "features_atr_slow_period",
            "ltf_fib_swing_left",
            "ltf_fib_swing_right",
            "thresholds_signal_adaptation_atr_period",
            "thresholds_signal_adaptation_percentile_window",
            "regime_ema_period",
            "regime_htf_ema_period",
            "htf_fib_swing_left",
            "htf_fib_swing_right",
        )
    )
)
MODEL = slice(int(P.model_bias), int(P.model_weights_fib_nearness) + 1)  # the bias and the weights follow each other
GAPS = tuple(int(place) for place in (P.exit_stop_atr, P.exit_target_atr, P.exit_trailing_atr))
_NO_LEVELS: FloatArray = np.empty(0, dtype=np.float64)
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
        levels, fractions = partials_of(settings)
        made = _decide(settings, use, levels if fractions else _NO_LEVELS, features)
        stop, target, trail = made.distances
        return Signals(
            entry=made.entry,
            exit=made.leave if len(made.leave) else None,
            size=made.size,
            stop_distance=stop,
            target_distance=target,
            trail_distance=trail,
            partial_levels=made.prices.reshape(features.n, len(fractions)) if fractions else None,
            rules=rules_of(use, fractions),
            blocked=made.blocked,
        )

    def lanes(self, params: Sequence[Params], features: Features) -> Iterator[tuple[int, Lane | Signals]]:
        """The same entries and exits for many sets at once, without what only a single backtest shows."""
        from genesis.strategy.fibonacci_lanes import lanes  # compiled for batches alone

        return lanes(self, params, features)

    def explain(self, params: Params, features: Features) -> Explanation:
        """What the strategy knew and decided at every bar, for tables and pictures."""
        settings = PARAMETERS.read(params)
        made = _decide(settings, settings.p.tolist(), _NO_LEVELS, features)
        known = made.known
        direction, strength = made.direction, made.strength
        stop = made.stop.astype(np.int64)
        marked = (stop & -stop).astype(np.float64)
        first = np.where(stop >= gates.LATER, stop - gates.LATER, np.log2(np.maximum(marked, 1.0)).astype(np.int64))
        with np.errstate(over="ignore"):
            rise = 1.0 / (1.0 + np.exp(-(strength + direction)))
            fall = 1.0 / (1.0 + np.exp(-(strength - direction)))
        names = np.array(gates.GATES, dtype=object)
        return Explanation(
            confidence_long=rise,
            confidence_short=fall,
            share=1.0 / (1.0 + np.exp(-2.0 * np.abs(direction))),
            gate=np.where(stop == 0, "", names[first]),
            swing_high=known.top,
            swing_low=known.bottom,
            htf_swing_high=known.htf_top,
            htf_swing_low=known.htf_bottom,
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


class _Known(NamedTuple):
    """The features that one set of periods asks for."""

    rsi: FloatArray
    ema_distance: FloatArray
    ema_rise: FloatArray
    bollinger: FloatArray
    adx: FloatArray
    atr_ratio: FloatArray
    nearness: FloatArray
    rank: FloatArray
    gap: FloatArray
    atr: FloatArray
    top: FloatArray
    bottom: FloatArray
    htf_top: FloatArray
    htf_bottom: FloatArray
    htf_gap: FloatArray


class _Decision(NamedTuple):
    known: _Known
    direction: FloatArray
    strength: FloatArray
    stop: gates.Bits
    blocked: dict[str, int]
    entry: Int8Array
    leave: Int8Array
    size: FloatArray
    distances: tuple[FloatArray | None, ...]  # of the stop, the target and the trail
    prices: FloatArray


def _decide(settings: Settings, use: list[float], levels: FloatArray, features: Features) -> _Decision:
    """Features, the model, and the gates in their order; `use` is the flat vector as plain floats."""
    p, other, n = settings.p, settings.other, features.n
    periods = periods_of(use), other["htf"]
    known = features.last("fibonacci features", periods, lambda: fetch(features, *periods))
    weights = p[MODEL].tobytes()
    direction, strength = features.last("fibonacci score", (periods, weights), lambda: score(p, *known[:7]))
    words = (n + 7) // 8
    stop = np.empty(8 * words, dtype=np.uint8)
    stop[n:] = 1 << gates.MISSING
    leave = np.empty(n if use[gates.EXIT_CONF] > 0.0 else 0, dtype=np.int8)
    gates.mark(
        p,
        direction,
        strength,
        known.rank,
        known.gap,
        features.bars.close,
        known.atr,
        known.top,
        known.bottom,
        known.htf_top,
        known.htf_bottom,
        stop,
        leave,
    )
    for side, levels_path, at, bit in NEAR:
        if len(other[levels_path]) and use[at] and (bit == gates.LTF or use[gates.USE_HTF]):
            ladder = (known.top, known.bottom) if bit == gates.LTF else (known.htf_top, known.htf_bottom)
            gates.near_levels(
                side, other[levels_path], use[at + 1], bit, direction, features.bars.close, known.atr, *ladder, stop
            )
    if use[gates.OVERRIDE] and use[gates.ADAPTIVE]:
        gates.overrule_by_rank(p, direction, strength, stop)
    blocked = np.zeros(len(gates.GATES), dtype=np.int64)
    entry, size = np.zeros(n, dtype=np.int8), np.ones(n)
    multiples = [use[place] for place in GAPS if use[place] > 0.0]
    gaps = np.zeros((len(multiples), n))
    prices = np.full(n * len(levels), np.nan)
    enter(
        p,
        other["risk.risk_map"],
        levels,
        direction,
        strength,
        known.rank,
        known.gap,
        known.htf_gap,
        known.atr,
        known.top,
        known.bottom,
        stop,
        blocked,
        entry,
        size,
        np.array(multiples, dtype=np.float64),
        gaps,
        prices,
    )
    rows = iter(gaps)
    distances = tuple(next(rows) if use[place] > 0.0 else None for place in GAPS)
    counts = blocked.tolist()
    counts[gates.MISSING] -= 8 * words - n
    named = dict(zip(gates.GATES, counts, strict=True))
    return _Decision(known, direction, strength, stop[:n], named, entry, leave, size, distances, prices)


def fetch(features: Features, periods: tuple[float, ...], htf: str) -> _Known:
    """The features for these periods, those of the higher timeframe all NaN where there is none."""
    rsi, ema, slope, bollinger, adx, atr, slow, left, right, zone, window, regime, *wide = map(int, periods)
    htf_regime, htf_left, htf_right = wide
    make_together(features, rsi=rsi, emas=(ema, regime), atrs=(atr, zone), adx=adx, sma=bollinger, slow=slow)
    get = features.fetch
    timeframe = resolve_higher(features.bars.timeframe, htf)
    higher = None if timeframe is None else features.higher(timeframe).fetch
    return _Known(
        rsi=get("rsi", rsi),
        ema_distance=get("ema_distance", ema, atr),
        ema_rise=get("ema_rise", ema, slope, atr),
        bollinger=get("bollinger_position", bollinger),
        adx=get("adx", adx),
        atr_ratio=get("atr_ratio", atr, slow),
        nearness=get("fib_nearness", left, right, atr),
        rank=get("atr_percentile", zone, window),
        gap=get("ema_gap", regime),
        atr=get("atr", atr),
        top=get("swing_high", left, right),
        bottom=get("swing_low", left, right),
        htf_top=features.unknown if higher is None else higher("swing_high", htf_left, htf_right),
        htf_bottom=features.unknown if higher is None else higher("swing_low", htf_left, htf_right),
        htf_gap=features.unknown if higher is None else higher("ema_gap", htf_regime),
    )


def partials_of(settings: Settings) -> tuple[FloatArray, tuple[float, ...]]:
    """Levels of the partial exits and the share of each; no shares where they are off."""
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


def rules_of(use: list[float], fractions: tuple[float, ...]) -> Rules:
    """Exit rules from the flat vector."""
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
