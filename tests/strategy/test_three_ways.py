"""One strategy written as arrays, compiled and in plain Python: the same signals and the same fills."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from genesis.engine.backtest import backtest
from genesis.errors import StrategyError
from genesis.strategy.base import load_strategy
from genesis.strategy.features import Features
from genesis.types import Costs, Rules, Signals

COSTS = Costs(fee_bps=10, slippage_bps=5)


class CrossArray:
    version = "1"

    def signals(self, params, features):
        gap = features.sma(params["fast"]) - features.sma(params["slow"])
        entry = np.zeros(features.n, dtype=np.int8)
        entry[1:] = ((gap[:-1] < 0) & (gap[1:] > 0)).astype(np.int8) - ((gap[:-1] > 0) & (gap[1:] < 0)).astype(np.int8)
        return entry


class CrossCompiled:
    version = "1"
    parameters = ("fast", "slow")

    def columns(self, params, features):
        return [features.sma(params["fast"]), features.sma(params["slow"])]

    @staticmethod
    def signal(p, f, i):
        if i == 0:
            return 0
        before, now = f[0, i - 1] - f[1, i - 1], f[0, i] - f[1, i]
        if before < 0.0 and now > 0.0:
            return 1
        return -1 if before > 0.0 and now < 0.0 else 0


class CrossPython:
    version = "1"

    def on_bar(self, window):
        fast = window.feature("sma", period=window.params["fast"])
        slow = window.feature("sma", period=window.params["slow"])
        if len(window) < 2:
            return None
        before, now = fast[-2] - slow[-2], fast[-1] - slow[-1]
        return 1 if before < 0 < now else -1 if before > 0 > now else 0


def pullback_rules(params):
    return Rules(max_hold_bars=12, stop_loss_pct=0.04, opposite="exit", partial_fractions=())


class PullbackArray:
    """Fibonacci-like: a confidence, a ladder of swings, a size, an ATR stop, an exit on lost confidence."""

    version = "1"

    def signals(self, params, features):
        rsi, gap, atr = features.rsi(10), features.get("ema_gap", period=20), features.atr(10)
        top, bottom = features.get("swing_high"), features.get("swing_low")
        odds = params["bias"] + 12.0 * gap + (rsi - 50.0) / 15.0
        chance = np.array([1.0 / (1.0 + math.exp(-value)) for value in odds])
        inside = features.bars.close <= bottom + params["level"] * (top - bottom)
        entry = np.where((chance >= params["least"]) & inside, 1, 0) - np.where(chance <= 1.0 - params["least"], 1, 0)
        leave = np.where(chance < 0.4, 1, 0) + np.where(chance > 0.6, 2, 0)
        size = np.where(chance > 0.7, 1.0, 0.5)
        stop = np.where(atr > 0.0, 3.0 * atr, 0.0)
        return Signals(
            entry=entry.astype(np.int8),
            exit=leave.astype(np.int8),
            size=size,
            stop_distance=stop,
            rules=pullback_rules(params),
        )


class PullbackCompiled:
    version = "1"
    parameters = ("bias", "level", "least")
    rules = staticmethod(pullback_rules)

    def columns(self, params, features):
        get = features.get
        return [
            features.rsi(10),
            get("ema_gap", period=20),
            features.atr(10),
            get("swing_high"),
            get("swing_low"),
            features.bars.close,
        ]

    @staticmethod
    def signal(p, f, i):
        odds = p[0] + 12.0 * f[1, i] + (f[0, i] - 50.0) / 15.0
        chance = 1.0 / (1.0 + math.exp(-odds))
        inside = f[5, i] <= f[4, i] + p[1] * (f[3, i] - f[4, i])
        entry = 0
        if chance >= p[2] and inside:
            entry += 1
        if chance <= 1.0 - p[2]:
            entry -= 1
        leave = (1 if chance < 0.4 else 0) + (2 if chance > 0.6 else 0)
        return entry, leave, 1.0 if chance > 0.7 else 0.5, 3.0 * f[2, i] if f[2, i] > 0.0 else 0.0


class PullbackPython:
    version = "1"
    rules = staticmethod(pullback_rules)

    def on_bar(self, window):
        p = window.params
        rsi, gap = window.feature("rsi", period=10)[-1], window.feature("ema_gap", period=20)[-1]
        atr = window.feature("atr", period=10)[-1]
        top, bottom = window.feature("swing_high")[-1], window.feature("swing_low")[-1]
        odds = p["bias"] + 12.0 * gap + (rsi - 50.0) / 15.0
        chance = 1.0 / (1.0 + math.exp(-odds))
        entry = 0
        if chance >= p["least"] and window.close[-1] <= bottom + p["level"] * (top - bottom):
            entry += 1
        if chance <= 1.0 - p["least"]:
            entry -= 1
        leave = (1 if chance < 0.4 else 0) + (2 if chance > 0.6 else 0)
        return entry, leave, 1.0 if chance > 0.7 else 0.5, 3.0 * atr if atr > 0.0 else 0.0


FAMILIES = {
    "cross": ((CrossArray, CrossCompiled, CrossPython), [{"fast": 3, "slow": 9}, {"fast": 8, "slow": 21}]),
    "pullback": (
        (PullbackArray, PullbackCompiled, PullbackPython),
        [{"bias": 0.1, "level": 0.7, "least": 0.55}, {"bias": -0.2, "level": 1.0, "least": 0.6}],
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fill", ["next_open", "same_close"])
def test_three_ways_one_answer(family, seed, fill, market):
    """Arrays, compiled and plain Python: the same fills, the same equity to the bit."""
    kinds, sets = FAMILIES[family]
    bars = market(seed, 300, tick=0.5 if seed % 2 else 0.0)
    for params in sets:
        runs = [backtest(bars, kind, params, costs=COSTS, fill=fill) for kind in kinds]
        assert len(runs[0].fills) > 3
        for run in runs[1:]:
            assert run.fills_hash == runs[0].fills_hash
            assert np.array_equal(run.equity, runs[0].equity)
            assert run.fills.equals(runs[0].fills)


def test_the_built_in_cross_is_the_fourth(market):
    """`sma_cross` makes the fills of the three."""
    bars, params = market(4, 300), {"fast": 5, "slow": 15}
    ours = backtest(bars, "sma_cross", params, costs=COSTS)
    assert ours.fills_hash == backtest(bars, CrossPython, params, costs=COSTS).fills_hash


@pytest.mark.parametrize("fast", ["0", "1"])
def test_windows_show_the_same_whether_copied_or_shared(fast, market, monkeypatch):
    """GENESIS_FAST_WINDOW changes no value; a shared window cannot be written to, a copied one may."""
    monkeypatch.setenv("GENESIS_FAST_WINDOW", fast)
    bars = market(5, 40)
    seen = []

    class Looking:
        version = "1"

        def on_bar(self, window):
            seen.append((len(window), float(window.close.sum()), window.close.flags.writeable, window.time[-1]))
            assert len(window.feature("sma", period=3)) == len(window.volume) == len(window.open) == len(window)
            assert window.high[-1] >= window.low[-1]
            with pytest.raises(IndexError):
                window.close[len(window)]

    load_strategy(Looking).signals({}, Features(bars))
    assert seen == [(i + 1, float(bars.close[: i + 1].sum()), fast == "0", bars.time[i]) for i in range(40)]
    assert bars.close.flags.writeable


def test_state_does_not_pass_from_one_trial_to_the_next(market):
    """A class is made anew for every parameter set."""

    class Counting:
        version = "1"

        def __init__(self):
            self.calls = 0

        def on_bar(self, window):
            self.calls += 1
            return 1 if self.calls == 5 else 0

    strategy, features = load_strategy(Counting), Features(market(1, 20))
    first, second = strategy.signals({}, features), strategy.signals({}, features)
    assert np.flatnonzero(first.entry).tolist() == np.flatnonzero(second.entry).tolist() == [4]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (2, "answered 2"),
        (0.5, "answered 0.5"),
        ("long", "'long'"),
        ((1, 4), "(1, 4)"),
        ((0,) * 7, "allowed is -1, 0 or 1"),
    ],
)
def test_a_wrong_answer_names_the_bar(answer, words, market):
    """on_bar's nonsense is refused at its bar."""

    class Wrong:
        version = "1"

        def on_bar(self, window):
            return answer if len(window) == 4 else None

    with pytest.raises(StrategyError, match="bar 3") as caught:
        load_strategy(Wrong).signals({}, Features(market(1, 10)))
    assert words in str(caught.value)


def test_compiled_strategies_say_what_is_missing(market):
    """No columns, no parameter, code that cannot be compiled, an answer that is none: each named."""
    features = Features(market(1, 30))

    def build(**names):
        return load_strategy(type("Made", (), {"version": "1", **names}))

    def columns(self, params, features):
        return [features.bars.close]

    good = {"columns": columns, "parameters": ("a",), "signal": staticmethod(lambda p, f, i: 0)}
    assert not build(**good).signals({"a": 1.0}, features).entry.any()
    for change, words in [
        ({"columns": None}, "columns"),
        ({"parameters": ("a.b",)}, "'a.b' is missing"),
        ({"parameters": None}, "which parameters"),
        ({"columns": lambda self, params, features: [np.zeros(3)]}, r"shape \(3,\)"),
        ({"signal": staticmethod(lambda p, f, i: Path("x").read_text())}, "compiled"),
        ({"signal": staticmethod(lambda p, f, i: 3)}, "entry"),
    ]:
        with pytest.raises(StrategyError, match=words):
            build(**{**good, **change}).signals({"a": 1.0}, features)
