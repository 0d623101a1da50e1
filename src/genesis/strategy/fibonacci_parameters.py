"""The parameters of the `fibonacci` strategy: every name, default, limit and meaning, and its default search space."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from genesis.market.timeframe import parse_timeframe
from genesis.strategy.parameters import ParameterTable, Reader, choice, flag, number, numbers, text, whole

INHERIT = -1.0  # a zone's threshold that is null: the overall one holds
REGIMES = ("bull", "bear", "ranging", "balanced")
ZONES = ("low", "mid", "high")

Row = tuple[str, Any, tuple[str, Reader], str]
_share = number(0.0, 1.0)
_zone_share = number(0.0, 1.0, none=INHERIT)
_period = whole(2, 5_000)
_size = number(0.0, 100.0)


def _timeframe(value: str) -> str:
    return value if value in ("auto", "none") else parse_timeframe(value).name


def _thresholds() -> list[Row]:
    rows: list[Row] = [
        ("thresholds.entry_conf_overall", 0.35, _share, "least confidence of an entry"),
        (
            "thresholds.min_edge",
            0.05,
            _share,
            "least lead of the candidate's share over the other direction's: 2 * share - 1",
        ),
    ]
    for name, share in zip(REGIMES, (0.55, 0.55, 0.60, 0.55), strict=True):
        rows.append(
            (
                f"thresholds.regime_proba.{name}",
                share,
                _share,
                f"least share of the candidate in a {name} market; 0.5 asks nothing",
            )
        )
    base = "thresholds.signal_adaptation"
    rows += [
        (f"{base}.atr_period", 14, _period, "bars of the ATR that tells the volatility zone"),
        (f"{base}.percentile_window", 100, whole(2, 100_000), "bars among which that ATR is ranked"),
        (f"{base}.low_percentile", 0.30, _share, "the low zone ends below this rank"),
        (f"{base}.high_percentile", 0.80, _share, "the high zone begins above this rank"),
    ]
    for zone in ZONES:
        path = f"{base}.zones.{zone}"
        rows.append((f"{path}.entry_conf_overall", None, _zone_share, f"replaces the overall one in the {zone} zone"))
        rows += [
            (f"{path}.regime_proba.{name}", None, _zone_share, f"replaces the {name} one in the {zone} zone")
            for name in REGIMES
        ]
    return rows


def _gate(name: str, enabled: bool, tolerance: float, left: int, right: int, where: str) -> list[Row]:
    level = number(-10.0, 10.0)
    base = f"{name}.entry"
    return [
        (f"{base}.enabled", enabled, flag(), f"whether the {where} ladder is asked"),
        (
            f"{base}.tolerance_atr",
            tolerance,
            number(0.0, 1_000.0),
            "slack around every level, in ATRs of the traded bars",
        ),
        (f"{base}.long_max_level", 0.786, level, "a long needs the close at or below this level"),
        (f"{base}.long_min_level", 0.0, level, "a long needs the close at or above this level"),
        (f"{base}.short_min_level", 0.214, level, "a short needs the close at or above this level"),
        (f"{base}.short_max_level", 1.0, level, "a short needs the close at or below this level"),
        (f"{base}.long_target_levels", [], numbers(-10.0, 10.0, 16), "if any: a long needs the close near one of them"),
        (
            f"{base}.short_target_levels",
            [],
            numbers(-10.0, 10.0, 16),
            "if any: a short needs the close near one of them",
        ),
        (f"{base}.missing_policy", "pass", choice("pass", "block"), "what happens before two swings are confirmed"),
        (f"{name}.swing_left", left, whole(1, 500), "bars before a pivot that it must exceed"),
        (f"{name}.swing_right", right, whole(1, 500), "bars after a pivot that confirm it"),
    ]


def _exits() -> list[Row]:
    fraction = number(0.0, 1.0)
    atrs = number(0.0, 1_000.0)
    return [
        ("exit.exit_conf_threshold", 0.10, fraction, "leave when the position's probability falls below; 0 is off"),
        ("exit.max_hold_bars", 30, whole(0, 10_000_000), "leave after so many bars; 0 is off"),
        ("exit.stop_loss_pct", 0.06, fraction, "loss, as a fraction of the entry price, that leaves; 0 is off"),
        (
            "exit.take_profit_pct",
            0.0,
            number(0.0, 100.0),
            "gain, as a fraction of the entry price, that leaves; 0 is off",
        ),
        ("exit.trailing_stop_pct", 0.0, fraction, "fall from the best price since entry that leaves; 0 is off"),
        ("exit.break_even_pct", 0.0, number(0.0, 100.0), "gain after which the stop is the entry price; 0 is off"),
        ("exit.stop_atr", 0.0, atrs, "stop distance in ATRs at entry; 0 is off"),
        ("exit.target_atr", 0.0, atrs, "target distance in ATRs at entry; 0 is off"),
        ("exit.trailing_atr", 4.0, atrs, "trailing distance in ATRs at entry; 0 is off"),
        ("exit.cooldown_bars", 0, whole(0, 10_000_000), "bars without an entry after a position has closed"),
        ("exit.opposite", "reverse", choice("reverse", "exit", "ignore"), "what an opposite entry does to a position"),
        ("exit.partials.enabled", True, flag(), "whether parts leave at levels of the traded bars' ladder"),
        (
            "exit.partials.levels",
            [1.0, 1.272],
            numbers(0.0, 20.0, 8),
            "levels from the swing's far end towards profit: 1.0 is the last swing high of a long",
        ),
        (
            "exit.partials.fractions",
            [0.3, 0.3],
            numbers(1e-6, 1.0, 8),
            "share of the entry's units that leaves at each",
        ),
    ]


def _rows() -> list[Row]:
    weight = number(-1e6, 1e6)
    mult = _size
    return [
        ("side", "both", choice("both", "long", "short"), "which positions may be opened"),
        (
            "htf",
            "auto",
            text(_timeframe, "a timeframe such as 1w, auto or none"),
            "higher timeframe; auto: see the page",
        ),
        *_thresholds(),
        ("regime.ema_period", 50, _period, "bars of the mean that the price is held against"),
        ("regime.trend_pct", 0.02, _share, "bull above the mean by more than this fraction, bear below by more"),
        ("regime.range_pct", 0.01, _share, "ranging within this fraction of the mean; balanced between the two"),
        ("regime.htf_ema_period", 20, _period, "the same mean on the higher timeframe"),
        *_gate("htf_fib", True, 2.0, 3, 2, "higher timeframe's"),
        *_gate("ltf_fib", True, 1.0, 5, 3, "traded bars'"),
        ("multi_timeframe.use_htf_block", True, flag(), "whether the higher ladder may block"),
        ("multi_timeframe.allow_ltf_override", True, flag(), "whether high confidence overrules that block"),
        ("multi_timeframe.ltf_override_threshold", 0.60, _share, "confidence that overrules it"),
        (
            "multi_timeframe.ltf_override_adaptive.enabled",
            False,
            flag(),
            "whether a high rank of confidence overrules too",
        ),
        ("multi_timeframe.ltf_override_adaptive.window", 120, whole(2, 100_000), "bars among which it is ranked"),
        ("multi_timeframe.ltf_override_adaptive.percentile", 0.85, _share, "rank from which it overrules"),
        ("multi_timeframe.ltf_override_adaptive.min_history", 30, whole(1, 100_000), "least known bars in the window"),
        (
            "gates.hysteresis_steps",
            1,
            whole(0, 10_000),
            "bars in a row that must agree on the direction; 0 and 1: none",
        ),
        ("gates.cooldown_bars", 3, whole(0, 10_000_000), "bars without an entry signal after an entry signal"),
        ("model.bias", -1.1, weight, "log odds of either direction with every feature neutral"),
        ("model.weights.rsi", -0.3, weight, "of (RSI - 50) / 50"),
        ("model.weights.ema_distance", 0.15, weight, "of (close - EMA) / ATR"),
        ("model.weights.ema_slope", 0.9, weight, "of the EMA's rise over slope_bars bars, in ATRs"),
        ("model.weights.bollinger", -0.25, weight, "of the Bollinger position (standard deviations from the mean)"),
        ("model.weights.adx", 0.4, weight, "of (ADX - 25) / 25, for both directions"),
        ("model.weights.atr_ratio", -0.4, weight, "of ATR over its slow mean minus 1, for both directions"),
        ("model.weights.fib_nearness", 0.4, weight, "of nearness to a Fibonacci level (0..1), for both directions"),
        ("features.rsi_period", 14, _period, "bars of the RSI"),
        ("features.ema_period", 50, _period, "bars of the EMA of distance and slope"),
        ("features.slope_bars", 5, whole(1, 5_000), "bars over which the EMA's rise is taken"),
        ("features.bollinger_period", 20, _period, "bars of the Bollinger mean and deviation"),
        ("features.adx_period", 14, _period, "bars of the ADX"),
        ("features.atr_period", 14, _period, "bars of the ATR that is every distance's unit"),
        ("features.atr_slow_period", 100, _period, "bars of the slow mean in the ATR ratio"),
        ("risk.risk_map", [[0.25, 0.5], [0.35, 0.75], [0.45, 1.0]], risk_map(), "size from each confidence on"),
        *((f"risk.regime_size_multipliers.{r}", 1.0, mult, f"size times this in a {r} market") for r in REGIMES),
        *(
            (f"risk.htf_regime_size_multipliers.{r}", 1.0, mult, f"size times this when the higher market is {r}")
            for r in REGIMES
        ),
        *(
            (f"risk.volatility_size_multipliers.{z}", m, mult, f"size times this in the {z} zone")
            for z, m in zip(ZONES, (1.0, 1.0, 0.75), strict=True)
        ),
        ("risk.max_size", 1.0, number(0.0, 100.0), "size is never more"),
        *_exits(),
    ]


def risk_map() -> tuple[str, Reader]:
    """Pairs [confidence, size], confidence rising; the size of the last pair at or below the confidence holds."""
    import numpy as np

    from genesis.errors import StrategyError

    def read(path: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not value:
            return np.empty((0, 2))
        try:
            table = np.ascontiguousarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            table = np.empty(0)
        if table.ndim != 2 or table.shape[1] != 2 or not np.isfinite(table).all():
            raise StrategyError(f"{path}: {value!r} is not allowed; give pairs [[confidence, size], …]")
        if (
            (np.diff(table[:, 0]) <= 0).any()
            or (table[:, 0] < 0).any()
            or (table[:, 0] > 1).any()
            or (table[:, 1] < 0).any()
        ):
            raise StrategyError(
                f"{path}: {value!r} is not allowed; confidences rise within [0, 1], sizes are not negative"
            )
        return table

    return "pairs [[confidence, size], …], confidence rising", read


PARAMETERS = ParameterTable(
    "fibonacci",
    _rows(),
    spread=(
        "thresholds.regime_proba",
        *(f"thresholds.signal_adaptation.zones.{zone}.regime_proba" for zone in ZONES),
        "risk.regime_size_multipliers",
        "risk.htf_regime_size_multipliers",
        "risk.volatility_size_multipliers",
    ),
)

# The numeric parameters' places in the flat vector: P.gates_cooldown_bars is that of gates.cooldown_bars.
P: Any = SimpleNamespace(
    **{path.replace(".", "_"): item.index for path, item in PARAMETERS.parameters.items() if item.index >= 0}
)
