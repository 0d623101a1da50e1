"""One trial and one stop explained: the first sentence names the cause."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pandas as pd
import pytest

from genesis.diagnose.explain import explain_stop, explain_trial, why_score
from genesis.run.events import StopReason
from genesis.types import TrialResult, Violation

PLAIN = TrialResult(
    number=7,
    generation=1,
    key="ab" * 32,
    params={"ma": {"fast": 10}, "side": "long"},
    state="complete",
    score=1.25,
    metrics={"trades": 12.0, "sharpe": 1.25, "calmar": None},
    blocked={"confidence": 1234, "regime": 0},
    fills_hash="ff",
    seconds={"kernel": 0.001},
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "scored 1.25 and keeps every constraint"),
        ({"state": "failed", "score": None, "reason": "ZeroDivisionError: x"}, "failed: ZeroDivisionError: x"),
        ({"state": "pruned", "reason": "pruned after 2 of 5 segments"}, "was pruned: pruned after 2 of 5 segments"),
        ({"metrics": {"trades": 0.0}, "score": None}, "made no trade: gate 'confidence' blocked 1,234 bars"),
        ({"metrics": {"trades": 0.0}, "score": None, "blocked": {}}, "its entry condition never came true"),
        ({"score": None, "reason": "sharpe is undefined"}, "has no score: sharpe is undefined"),
        (
            {"violations": (Violation("min_trades", 30.0, 12.0, 0.6), Violation("min_sharpe", 2.0, 1.9, 0.05))},
            "breaks 2 constraint(s), the worst being min_trades 30 (it has 12)",
        ),
    ],
)
def test_the_cause_comes_first(changes: dict[str, object], words: str) -> None:
    """Every way a trial can end has its own sentence."""
    assert words in why_score(replace(PLAIN, **changes))


def test_everything_known_is_listed() -> None:
    """Parameters by dotted path, metrics with undefined ones, gates that blocked, times, fills."""
    fills = pd.DataFrame({"bar": range(25), "price": [1.5] * 25})
    text = explain_trial(PLAIN, fills=fills).text()
    for words in ("param ma.fast", "calmar", "undefined", "gate confidence", "1.000 ms", "... and 5 more", "ab" * 32):
        assert words in text
    assert "gate regime" not in text


def test_fills_stand_under_their_headings() -> None:
    """Columns of one width; a day without its empty time; numbers to the right."""
    days = pd.to_datetime(["2003-01-02", "2003-11-03"], utc=True)
    fills = pd.DataFrame({"time": days, "bar": [7, 210], "reason": ["entry", "stop"]})
    lines = [words for label, words in explain_trial(PLAIN, fills=fills).lines if label.startswith("fill")][-3:]
    assert lines == ["time        bar  reason", "2003-01-02    7  entry", "2003-11-03  210  stop"]


def test_a_finalist_has_a_column_for_the_holdout() -> None:
    """Both windows beside each other, counts whole; without a holdout no heading."""
    judged = {"holdout_score": -0.5, "holdout_metrics": {"trades": 3.0, "sharpe": -0.5, "calmar": None}}
    lines = dict(explain_trial(PLAIN, holdout=judged).lines)
    assert lines["metric"].split() == ["in", "search", "in", "holdout"]
    assert lines["trades"].split() == ["12", "3"]
    assert lines["sharpe"].split() == ["1.25", "-0.5"]
    assert lines["calmar"].split() == ["undefined", "undefined"]
    assert "metric" not in dict(explain_trial(PLAIN).lines)


def test_a_traceback_is_shown() -> None:
    """A failed trial shows where it raised."""
    failed = replace(PLAIN, state="failed", reason="no", traceback="Traceback:\n  line 3\nValueError: no\n")
    assert "line 3" in explain_trial(failed).text()


@pytest.mark.parametrize("reason", get_args(StopReason))
def test_every_stop_reason_has_a_sentence(reason: str) -> None:
    """No stop reason falls through to the words for unknown ones."""
    headline = explain_stop(reason, {"trials": 1000, "size": 12, "best": 1.5}).headline
    assert not headline.startswith(f"The run stopped: {reason}")
    assert "?" not in headline


def test_no_stop_recorded() -> None:
    """A killed run is told from a finished one."""
    assert "genesis resume" in explain_stop(None, {}).headline


def test_a_space_whose_every_point_breaks_a_rule_was_not_tried():
    """No trial, no claim that all points were tried; the rules are what to change."""
    headline = explain_stop("exhausted", {"trials": 0, "size": 14_112}).headline
    assert "tried" not in headline
    assert "rules" in headline
