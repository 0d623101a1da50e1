"""A strategy that knows later bars is told so, with the bar and the remedy; an honest one is left in peace."""

from __future__ import annotations

from pathlib import Path

import pytest

import genesis
from genesis.config import load_study
from genesis.diagnose.audit import audit, brief_audit
from genesis.diagnose.lookahead import find_lookahead
from genesis.diagnose.smoke import smoke
from genesis.report.source import read_run
from genesis.report.why import explain_run

HEAD = "import numpy as np\nfrom genesis import Rules, Signals\n\n\nclass S:\n"
CHEATS = {
    "next-close": """
    def signals(self, params, features):
        return np.where(np.roll(features.bars.close, -1) > features.bars.close, 1, -1)
""",
    "rare": """
    def signals(self, params, features):
        later = np.append(features.bars.close[5:], np.full(5, features.bars.close[-1]))
        return (later > 1.03 * features.bars.close).astype(int)
""",
    "whole-mean": """
    def signals(self, params, features):
        close = features.bars.close
        return Signals(entry=np.where(close > close.mean(), 1, -1), rules=Rules(max_hold_bars=params["hold"]))
""",
    "stop-of-tomorrow": """
    def signals(self, params, features):
        entry = np.zeros(features.n, dtype=np.int8)
        entry[::20] = 1
        return Signals(entry=entry, stop_distance=np.abs(np.gradient(features.bars.close)))
""",
    "compiled": """
    parameters = ("hold",)

    def columns(self, params, features):
        return [features.sma(5)]

    @staticmethod
    def signal(p, f, i):
        return 1 if i + 1 < f.shape[1] and f[0, i + 1] > f[0, i] else -1
""",
}
HONEST = {
    "array": """
    def signals(self, params, features):
        fast, slow = features.sma(5), features.sma(20)
        return Signals(entry=np.where(fast > slow, 1, -1), stop_distance=features.atr(14))
""",
    "higher": """
    def signals(self, params, features):
        return np.where(features.higher("1w").get("sma", period=4) < features.sma(10), 1, -1)
""",
    "python": """
    def on_bar(self, window):
        return 1 if len(window) > 3 and window.close[-1] > window.close[-3] else 0
""",
    "refuses-few-bars": """
    def signals(self, params, features):
        if features.n < 200:
            raise ValueError("too few bars")
        return np.where(features.sma(5) > features.sma(20), 1, -1)
""",
}

FOURIER = """
    def signals(self, params, features):
        close = features.bars.close
        size = 1 << (features.n + 9).bit_length()
        smooth = np.fft.irfft(np.fft.rfft(close, size) * np.fft.rfft(np.full(10, 0.1), size), size)[: features.n]
        return Signals(entry=(np.arange(features.n) % 20 == 0).astype(int), stop_distance=np.abs(smooth) + 1.0)
"""


def _study(folder: Path, body: str) -> dict[str, object]:
    (folder / "s.py").write_text(HEAD + body)
    return {
        "data": {"source": "sample:IBM", "start": "2004-01-01", "end": "2006-12-31"},
        "strategy": f"{folder}/s.py:S",
        "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
        "objective": "total_return",
        "parameters": {"hold": {"type": "int", "low": 3, "high": 30}},
        "run": {"run_id": "ahead", "max_trials": 40, "seed": 1},
    }


@pytest.mark.parametrize("kind", CHEATS)
def test_a_look_ahead_is_found(kind: str, tmp_path: Path) -> None:
    """`smoke` and `audit` call it an error, name a bar and both values, and say what to write instead."""
    study = _study(tmp_path, CHEATS[kind])
    for found in (smoke(study, trials=2).findings, audit(study, workers=1).findings):
        [ahead] = [one for one in found if one.code == "look-ahead"]
        assert ahead.severity == "error"
        assert "looks ahead" in ahead.what
        assert "when the data end with bar" in ahead.what
        assert "np.roll" in ahead.edit
    assert not smoke(study, trials=2).healthy


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_strategy_is_left_in_peace(kind: str, tmp_path: Path) -> None:
    """Whatever the way it is written, and though it may refuse to answer on few bars."""
    assert [one.code for one in smoke(_study(tmp_path, HONEST[kind]), trials=2).findings if "ahead" in one.code] == []


def test_a_run_says_it_at_its_start_and_its_verdict_names_it(tmp_path: Path) -> None:
    """The search goes on, since it is the author's to decide, and nothing it finds is called an answer."""
    study = _study(tmp_path, CHEATS["whole-mean"])
    (line,) = [words for words in brief_audit(load_study(study, env={})) if "looks ahead" in words]
    assert line.startswith("warning: The strategy looks ahead")
    run = genesis.optimize(study, workers=0, runs_dir=tmp_path / "runs")
    explained = explain_run(run.path)
    (verdict,) = [words for label, words in explained.lines if label == "verdict"]
    assert verdict.startswith("The strategy looks ahead")


def test_an_honest_run_is_not_accused(tmp_path: Path) -> None:
    study = _study(tmp_path, HONEST["array"])
    assert not [words for words in brief_audit(load_study(study, env={})) if "ahead" in words]
    run = genesis.optimize(study, workers=0, runs_dir=tmp_path / "runs")
    assert read_run(run.path).looks_ahead is None


def test_the_last_bits_of_a_sum_are_no_look_ahead(tmp_path: Path) -> None:
    """A convolution by Fourier transforms gives other last bits over fewer bars."""
    study = _study(tmp_path, FOURIER)
    bars = genesis.load_bars("sample:IBM").slice(0, 2_000)
    strategy = genesis.load_strategy(study["strategy"])
    whole, part = (
        strategy.signals({"hold": 3}, genesis.Features(one)).stop_distance for one in (bars, bars.slice(0, 1_777))
    )
    assert (whole[:1_777] != part).any()
    assert find_lookahead(strategy, bars, {"hold": 3}) is None


def test_three_bars_are_enough_to_see_it(tmp_path: Path) -> None:
    """One bar has nothing to cut; the first bar of a rising market gives a look at the next away."""
    study = _study(tmp_path, CHEATS["next-close"])
    bars = genesis.load_bars("sample:IBM")
    strategy = genesis.load_strategy(study["strategy"])
    assert find_lookahead(strategy, bars.slice(0, 1), {"hold": 3}) is None
    rising = bars.slice(4, 7)
    assert rising.close[1] > rising.close[0]
    found = find_lookahead(strategy, rising, {"hold": 3})
    assert found is not None
    assert "its entry at bar 0" in found.what
