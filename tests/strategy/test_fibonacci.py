"""The fibonacci strategy against a slow obvious twin, gate by gate, and its parameters read strictly."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.errors import StrategyError
from genesis.search.space import Space
from genesis.strategy.base import load_strategy
from genesis.strategy.features import Features
from genesis.strategy.fibonacci import auto_higher, resolve_higher
from genesis.strategy.fibonacci_parameters import PARAMETERS
from genesis.strategy.gates import GATES
from genesis.types import Rules

REGIMES = ("bull", "bear", "ranging", "balanced")


def nested(flat):
    out = {}
    for path, value in flat.items():
        node = out
        *groups, leaf = path.split(".")
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return out


def logistic(x):
    return 1.0 / (1.0 + math.exp(-x))


def twin(flat, features):
    """Entries, sizes, exits and counts, bar by bar, in probabilities and plain floats."""
    q = {**PARAMETERS.defaults, **flat}
    n, close = features.n, features.bars.close
    atr_bars, ema = q["features.atr_period"], q["features.ema_period"]
    swing = {"left": q["ltf_fib.swing_left"], "right": q["ltf_fib.swing_right"]}
    get = features.get
    atr = get("atr", period=atr_bars)
    rsi, adx = get("rsi", period=q["features.rsi_period"]), get("adx", period=q["features.adx_period"])
    distance = get("ema_distance", period=ema, atr_period=atr_bars)
    rise = get("ema_rise", period=ema, bars=q["features.slope_bars"], atr_period=atr_bars)
    band = get("bollinger_position", period=q["features.bollinger_period"])
    ratio = get("atr_ratio", period=atr_bars, slow=q["features.atr_slow_period"])
    near = get("fib_nearness", **swing, atr_period=atr_bars)
    gap = get("ema_gap", period=q["regime.ema_period"])
    zone_path = "thresholds.signal_adaptation"
    rank = get("atr_percentile", period=q[f"{zone_path}.atr_period"], window=q[f"{zone_path}.percentile_window"])
    ladders = {"ltf_fib": (get("swing_high", **swing), get("swing_low", **swing))}
    wide = {"left": q["htf_fib.swing_left"], "right": q["htf_fib.swing_right"]}
    timeframe = resolve_higher(features.bars.timeframe, q["htf"])
    nothing = np.full(n, np.nan)
    htf_gap = nothing
    ladders["htf_fib"] = (nothing, nothing)
    if timeframe is not None:
        higher = features.higher(timeframe)
        htf_gap = higher.get("ema_gap", period=q["regime.htf_ema_period"])
        ladders["htf_fib"] = (higher.get("swing_high", **wide), higher.get("swing_low", **wide))
    w = {
        name: q[f"model.weights.{name}"]
        for name in ("rsi", "ema_distance", "ema_slope", "bollinger", "adx", "atr_ratio")
    }

    def model(i):
        d = w["rsi"] * (rsi[i] - 50) / 50 + w["ema_distance"] * distance[i]
        d += w["ema_slope"] * rise[i] + w["bollinger"] * band[i]
        s = q["model.bias"] + w["adx"] * (adx[i] - 25) / 25 + w["atr_ratio"] * ratio[i]
        return d, s + q["model.weights.fib_nearness"] * (0.0 if math.isnan(near[i]) else near[i])

    def regime_of(value):
        if value > q["regime.trend_pct"]:
            return "bull"
        if value < -q["regime.trend_pct"]:
            return "bear"
        return "ranging" if abs(value) <= q["regime.range_pct"] else "balanced"

    def ladder_stops(name, side, i):
        if not q[f"{name}.entry.enabled"]:
            return False
        top, bottom = ladders[name][0][i], ladders[name][1][i]
        if not top > bottom:
            return q[f"{name}.entry.missing_policy"] == "block"
        word = "long" if side > 0 else "short"
        slack = q[f"{name}.entry.tolerance_atr"] * atr[i]

        def price(level):
            return bottom + level * (top - bottom)

        if close[i] > price(q[f"{name}.entry.{word}_max_level"]) + slack:
            return True
        if close[i] < price(q[f"{name}.entry.{word}_min_level"]) - slack:
            return True
        targets = q[f"{name}.entry.{word}_target_levels"]
        return bool(targets) and all(abs(close[i] - price(level)) > slack for level in targets)

    def overruled(confidence, i):
        if not q["multi_timeframe.allow_ltf_override"]:
            return False
        if confidence >= q["multi_timeframe.ltf_override_threshold"]:
            return True
        path = "multi_timeframe.ltf_override_adaptive"
        if not q[f"{path}.enabled"]:
            return False
        known = [model(j) for j in range(max(0, i - q[f"{path}.window"] + 1), i + 1)]
        known = [abs(d) + s for d, s in known if not math.isnan(d + s)]
        d, s = model(i)
        below = sum(value <= abs(d) + s for value in known)
        return len(known) >= q[f"{path}.min_history"] and below >= q[f"{path}.percentile"] * len(known)

    entry, size, leave = np.zeros(n, np.int8), np.ones(n), np.zeros(n, np.int8)
    blocked = dict.fromkeys(GATES, 0)
    run, last, last_side, resume = 0, -2, 0, 0
    for i in range(n):
        d, s = model(i)
        if math.isnan(d + s):
            blocked["missing_features"] += 1
            continue
        if q["exit.exit_conf_threshold"] > 0:
            leave[i] += logistic(s + d) < q["exit.exit_conf_threshold"]
            leave[i] += 2 * (logistic(s - d) < q["exit.exit_conf_threshold"])
        side = 1 if d > 0 else -1
        confidence, share = logistic(s + abs(d)), logistic(2 * abs(d))
        zone = "low" if rank[i] < q[f"{zone_path}.low_percentile"] else "mid"
        zone = "high" if rank[i] > q[f"{zone_path}.high_percentile"] else zone
        own = q[f"{zone_path}.zones.{zone}.entry_conf_overall"]
        if confidence < (q["thresholds.entry_conf_overall"] if own is None else own):
            blocked["entry_conf_overall"] += 1
            continue
        if q["side"] not in ("both", "long" if side > 0 else "short"):
            blocked["side"] += 1
            continue
        if 2 * share - 1 < q["thresholds.min_edge"] or d == 0:
            blocked["min_edge"] += 1
            continue
        regime = regime_of(gap[i])
        own = q[f"{zone_path}.zones.{zone}.regime_proba.{regime}"]
        if share < (q[f"thresholds.regime_proba.{regime}"] if own is None else own):
            blocked["regime_proba"] += 1
            continue
        if q["multi_timeframe.use_htf_block"] and ladder_stops("htf_fib", side, i) and not overruled(confidence, i):
            blocked["htf_fib"] += 1
            continue
        if ladder_stops("ltf_fib", side, i):
            blocked["ltf_fib"] += 1
            continue
        run = run + 1 if (last, last_side) == (i - 1, side) else 1
        last, last_side = i, side
        if run < q["gates.hysteresis_steps"]:
            blocked["hysteresis"] += 1
            continue
        if i < resume:
            blocked["cooldown"] += 1
            continue
        amount = 0.0
        for least, value in q["risk.risk_map"]:
            amount = value if confidence >= least else amount
        amount *= q[f"risk.regime_size_multipliers.{regime}"]
        amount *= q[f"risk.htf_regime_size_multipliers.{regime_of(htf_gap[i])}"]
        amount = min(amount * q[f"risk.volatility_size_multipliers.{zone}"], q["risk.max_size"])
        if amount <= 0:
            blocked["risk_map"] += 1
            continue
        entry[i], size[i], resume = side, amount, i + 1 + q["gates.cooldown_bars"]
    return entry, size, leave, blocked


def one_of(*values):
    return st.sampled_from(values)


CHOICES = {
    "side": one_of("both", "long", "short"),
    "htf": one_of("auto", "none", "1w", "2d"),
    "thresholds.entry_conf_overall": st.floats(0.15, 0.45),
    "thresholds.min_edge": st.floats(0.0, 0.4),
    "thresholds.regime_proba.bull": st.floats(0.5, 0.7),
    "thresholds.regime_proba.ranging": st.floats(0.5, 0.7),
    "thresholds.signal_adaptation.percentile_window": st.integers(5, 60),
    "thresholds.signal_adaptation.zones.low.entry_conf_overall": one_of(None, 0.2, 0.5),
    "thresholds.signal_adaptation.zones.high.entry_conf_overall": one_of(None, 0.0, 1.0),
    "thresholds.signal_adaptation.zones.mid.regime_proba.bear": one_of(None, 0.0, 0.65),
    "regime.ema_period": st.integers(5, 60),
    "htf_fib.entry.enabled": st.booleans(),
    "htf_fib.entry.tolerance_atr": st.floats(0.0, 3.0),
    "htf_fib.entry.long_target_levels": one_of([], [0.382, 0.618]),
    "htf_fib.entry.missing_policy": one_of("pass", "block"),
    "htf_fib.swing_left": st.integers(1, 4),
    "ltf_fib.entry.tolerance_atr": st.floats(0.0, 3.0),
    "ltf_fib.entry.short_target_levels": one_of([], [0.5]),
    "ltf_fib.entry.missing_policy": one_of("pass", "block"),
    "ltf_fib.entry.long_max_level": st.floats(0.5, 1.2),
    "multi_timeframe.use_htf_block": st.booleans(),
    "multi_timeframe.allow_ltf_override": st.booleans(),
    "multi_timeframe.ltf_override_threshold": st.floats(0.3, 0.9),
    "multi_timeframe.ltf_override_adaptive.enabled": st.booleans(),
    "multi_timeframe.ltf_override_adaptive.window": st.integers(5, 80),
    "gates.hysteresis_steps": st.integers(0, 4),
    "gates.cooldown_bars": st.integers(0, 9),
    "model.bias": st.floats(-2.0, 0.5),
    "model.weights.rsi": st.floats(-2.0, 2.0),
    "model.weights.bollinger": one_of(0.0, 0.6),
    "features.adx_period": st.integers(2, 15),
    "features.atr_slow_period": st.integers(5, 80),
    "risk.risk_map": one_of([[0.25, 0.5], [0.4, 1.0]], [[0.5, 2.0]], []),
    "risk.regime_size_multipliers.bear": one_of(0.0, 0.5, 1.0),
    "risk.htf_regime_size_multipliers.bull": one_of(0.5, 1.0, 3.0),
    "exit.exit_conf_threshold": one_of(0.0, 0.2, 0.4),
}
FLAT = st.fixed_dictionaries({}, optional=CHOICES)


@settings(max_examples=40, deadline=None)
@given(flat=FLAT, seed=st.integers(0, 500), tick=one_of(0.0, 0.5))
def test_agrees_with_the_twin(market, flat, seed, tick):
    """Random parameters and markets: entries, sizes, exits and every gate's count equal the twin's."""
    features = Features(market(seed, 320, tick=tick))
    made = load_strategy("fibonacci").signals(nested(flat), features)
    entry, size, leave, blocked = twin(flat, features)
    assert made.blocked == blocked
    assert np.array_equal(made.entry, entry)
    np.testing.assert_allclose(made.size, size, rtol=1e-12)
    assert np.array_equal(np.zeros(320) if made.exit is None else made.exit, leave)


def test_every_bar_is_counted_once(market):
    """Entries and blocked bars add up to the bars, in the order the gates are asked."""
    made = load_strategy("fibonacci").signals({}, Features(market(3, 500)))
    assert tuple(made.blocked) == GATES
    assert sum(made.blocked.values()) + np.count_nonzero(made.entry) == 500


def test_explain_names_the_gate_of_every_bar(market):
    """The explanation's gates, counted, are the signals' counts; its confidences are probabilities."""
    params = {"gates": {"hysteresis_steps": 2, "cooldown_bars": 2}, "risk": {"risk_map": [[0.4, 1.0]]}}
    features = Features(market(3, 500))
    made = load_strategy("fibonacci").signals(params, features)
    shown = load_strategy("fibonacci").explain(params, features)
    assert {name: int((shown.gate == name).sum()) for name in GATES} == made.blocked
    assert sum(made.blocked[name] > 0 for name in ("hysteresis", "cooldown", "risk_map")) == 3
    assert np.array_equal(shown.gate == "", made.entry != 0)
    known = ~np.isnan(shown.confidence_long)
    assert known.any()
    assert ((shown.confidence_long[known] > 0) & (shown.confidence_short[known] < 1)).all()


def only(market, **flat):
    """Signals with every gate opened but those given; `a__b` stands for `a.b`."""
    open_all = {
        "thresholds.entry_conf_overall": 0.0,
        "thresholds.min_edge": 0.0,
        **{f"thresholds.regime_proba.{name}": 0.0 for name in REGIMES},
        "htf_fib.entry.enabled": False,
        "ltf_fib.entry.enabled": False,
        "gates.cooldown_bars": 0,
        "gates.hysteresis_steps": 0,
        "risk.risk_map": [[0.0, 1.0]],
    }
    flat = {key.replace("__", "."): value for key, value in flat.items()}
    return load_strategy("fibonacci").signals(nested({**open_all, **flat}), Features(market(8, 500)))


@pytest.mark.parametrize(
    ("gate", "shut"),
    [
        ("entry_conf_overall", {"thresholds__entry_conf_overall": 1.0}),
        ("side", {"side": "long"}),
        ("min_edge", {"thresholds__min_edge": 1.0}),
        ("regime_proba", {f"thresholds__regime_proba__{name}": 1.0 for name in REGIMES}),
        ("htf_fib", {"htf": "none", "htf_fib__entry__enabled": True, "htf_fib__entry__missing_policy": "block"}),
        ("ltf_fib", {"ltf_fib__entry__enabled": True, "ltf_fib__entry__long_max_level": -10.0}),
        ("hysteresis", {"gates__hysteresis_steps": 10_000}),
        ("cooldown", {"gates__cooldown_bars": 10_000}),
        ("risk_map", {"risk__risk_map": []}),
    ],
)
def test_each_gate_alone_is_named(gate, shut, market):
    """With all others open, the gate that is shut is the one that counts."""
    assert only(market).blocked["missing_features"] == 500 - np.count_nonzero(only(market).entry)
    made = only(market, **shut, multi_timeframe__allow_ltf_override=False)
    busy = {name for name, count in made.blocked.items() if count}
    assert busy == {"missing_features", gate}


def test_override_lets_confident_bars_through(market):
    """The higher ladder blocks all; with the override those at or above the threshold enter, ranks likewise."""
    shut = {"htf": "none", "htf_fib__entry__enabled": True, "htf_fib__entry__missing_policy": "block"}
    none = only(market, **shut, multi_timeframe__allow_ltf_override=False)
    some = only(market, **shut, multi_timeframe__ltf_override_threshold=0.4)
    ranked = only(
        market,
        **shut,
        multi_timeframe__ltf_override_threshold=1.0,
        multi_timeframe__ltf_override_adaptive__enabled=True,
    )
    free = only(market, **shut, multi_timeframe__use_htf_block=False)
    counts = [np.count_nonzero(made.entry) for made in (none, some, ranked, free)]
    assert counts[0] == 0 < min(counts[1], counts[2]) < max(counts[1], counts[2]) < counts[3]


def test_exits_are_handed_to_the_engine(market):
    """Rules, ATR distances at entries, and partial levels on the way to profit."""
    exits = {
        "exit.max_hold_bars": 7,
        "exit.stop_loss_pct": 0.03,
        "exit.take_profit_pct": 0.09,
        "exit.trailing_stop_pct": 0.04,
        "exit.break_even_pct": 0.02,
        "exit.cooldown_bars": 2,
        "exit.opposite": "exit",
        "exit.stop_atr": 1.5,
        "exit.target_atr": 0.0,
        "exit.trailing_atr": 2.5,
        "exit.partials.levels": [0.5, 1.0],
        "exit.partials.fractions": [0.25, 0.5],
        "thresholds.entry_conf_overall": 0.25,
    }
    features = Features(market(5, 500))
    made = load_strategy("fibonacci").signals(nested(exits), features)
    assert made.rules == Rules(
        max_hold_bars=7,
        stop_loss_pct=0.03,
        take_profit_pct=0.09,
        trailing_stop_pct=0.04,
        break_even_pct=0.02,
        cooldown_bars=2,
        opposite="exit",
        partial_fractions=(0.25, 0.5),
    )
    at = np.flatnonzero(made.entry)
    assert len(at) > 5
    assert np.array_equal(made.stop_distance[at], 1.5 * features.atr(14)[at])
    assert np.array_equal(made.trail_distance[at], 2.5 * features.atr(14)[at])
    assert made.target_distance is None
    top, bottom = features.get("swing_high"), features.get("swing_low")
    for i in at:
        span = top[i] - bottom[i]
        expected = (
            [bottom[i] + 0.5 * span, bottom[i] + span] if made.entry[i] > 0 else [top[i] - 0.5 * span, top[i] - span]
        )
        assert np.allclose(made.partial_levels[i], expected if span > 0 else [np.nan, np.nan], equal_nan=True)
    rest = np.ones(500, bool)
    rest[at] = False
    assert np.isnan(made.partial_levels[rest]).all()
    assert not made.stop_distance[rest].any()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"thresholds": {"entry_conf_overal": 0.3}}, "did you mean 'thresholds.entry_conf_overall'"),
        ({"treshold": {}}, "did you mean 'thresholds'"),
        ({"exit.max_hold": 3}, "did you mean 'exit.max_hold_bars'"),
        ({"thresholds": {"entry_conf_overall": 1.5}}, r"\[0, 1\]"),
        ({"thresholds": {"entry_conf_overall": "0.3"}}, r"\[0, 1\]"),
        ({"thresholds": {"entry_conf_overall": float("nan")}}, r"\[0, 1\]"),
        ({"thresholds": 0.3}, "is a group"),
        ({"features": {"rsi_period": 14.5}}, "whole number"),
        ({"features": {"rsi_period": True}}, "whole number"),
        ({"htf_fib": {"entry": {"missing_policy": "skip"}}}, "pass, block"),
        ({"htf": "7x"}, "7x"),
        ({"htf": "4h"}, "multiple of 1d"),
        ({"risk": {"risk_map": [[0.4, 1.0], [0.3, 0.5]]}}, "confidences rise"),
        ({"risk": {"risk_map": [0.4, 1.0]}}, "pairs"),
        ({"exit": {"partials": {"levels": [1.0]}}}, "one fraction for each level"),
        ({"exit": {"partials": {"fractions": [0.6, 0.6]}}}, "more than 1"),
        ({"multi_timeframe": {"use_htf_block": "yes"}}, "true or false"),
    ],
)
def test_a_mistake_in_a_parameter_is_never_silent(params, words, market):
    """Unknown names and impossible values raise, naming the path and what is allowed."""
    with pytest.raises(StrategyError, match=words):
        load_strategy("fibonacci").signals(params, Features(market(1, 50)))


def test_parameters_may_be_dotted_nested_or_one_for_a_group():
    """The three spellings read alike; reading leaves the defaults alone."""
    before = copy.deepcopy(PARAMETERS.read({}).p)
    nested_form = PARAMETERS.read({"thresholds": {"regime_proba": dict.fromkeys(REGIMES, 0.7)}})
    for other in ({"thresholds.regime_proba": 0.7}, {"thresholds": {"regime_proba": 0.7}}):
        assert np.array_equal(PARAMETERS.read(other).p, nested_form.p)
    assert not np.array_equal(nested_form.p, before)
    assert np.array_equal(PARAMETERS.read({}).p, before)


def test_the_declared_space_is_searchable():
    """The strategy's own space is a valid space over parameters it knows, and every default is allowed."""
    strategy = load_strategy("fibonacci")
    for column in Space.from_spec(strategy.space).columns:
        assert column.path in PARAMETERS.parameters
    PARAMETERS.read(nested(PARAMETERS.defaults))


@pytest.mark.parametrize(
    ("base", "higher"),
    [("1m", "1h"), ("5m", "1h"), ("15m", "4h"), ("1h", "1d"), ("4h", "1d"), ("1d", "1w"), ("1M", None)],
)
def test_the_automatic_higher_timeframe(base, higher):
    """A sensible step up for usual timeframes, none where there is none."""
    assert auto_higher(base) == higher


def test_signals_are_their_own(market):
    """What one call returns is changed by no later call, and writing to it changes no later call."""
    features, strategy = Features(market(5, 501)), load_strategy("fibonacci")
    params = {"exit": {"stop_atr": 1.0, "exit_conf_threshold": 0.3}, "thresholds": {"entry_conf_overall": 0.25}}
    names = ("entry", "exit", "size", "stop_distance", "trail_distance", "partial_levels")
    first = strategy.signals(params, features)
    kept = {name: getattr(first, name).tobytes() for name in names}
    strategy.signals({"thresholds": {"entry_conf_overall": 0.2}, "model": {"bias": -0.5}}, features)
    assert {name: getattr(first, name).tobytes() for name in names} == kept
    for name in names:
        getattr(first, name).fill(1)
    again = strategy.signals(params, features)
    assert {name: getattr(again, name).tobytes() for name in names} == kept
    alone = strategy.signals(params, Features(features.bars))
    assert {name: getattr(alone, name).tobytes() for name in names} == kept


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1919, 1920, 1921])
def test_bars_are_counted_at_every_length(n, market):
    """Marks are counted eight bars at a time; no length adds or loses one."""
    made = load_strategy("fibonacci").signals({"features": {"atr_slow_period": 3}}, Features(market(3, n)))
    assert sum(made.blocked.values()) + np.count_nonzero(made.entry) == n
    assert min(made.blocked.values()) >= 0


def test_what_is_held_is_made_again_for_other_periods_or_weights(market):
    """What is held from the last parameter set is used for the same periods and weights only."""
    features, strategy = Features(market(5, 500)), load_strategy("fibonacci")
    bias, weight = {"model": {"bias": -0.9}}, {"model": {"weights": {"adx": 0.9}}}
    for params in ({}, bias, weight, {}, {"features": {"rsi_period": 5}}, {"htf": "none"}, {}):
        made, alone = strategy.signals(params, features), strategy.signals(params, Features(features.bars))
        assert made.blocked == alone.blocked
        assert made.exit.tobytes() == alone.exit.tobytes()
