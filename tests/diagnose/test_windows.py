"""Dates beyond the bars there are are said with the bars there are, and more trades than bars can give are too."""

from __future__ import annotations

from typing import Any

import pytest

from genesis.config import load_study
from genesis.diagnose.audit import audit, brief_audit
from genesis.diagnose.findings import Finding
from genesis.diagnose.windows import audit_window
from genesis.market.catalog import load_window

HOURS = "synthetic:seed=7,bars=3000,timeframe=1h"  # 2000-01-01 00:00 to 2000-05-04 23:00


def _looked(source: str, start: str | None, end: str | None, warmup: int = 0) -> list[Finding]:
    window = load_window(source, start=start, end=end, warmup_bars=warmup)
    return audit_window("data", start, end, window.bars, window.trade_from)


@pytest.mark.parametrize(
    ("source", "start", "end", "warmup", "code", "what", "edit"),
    [
        (HOURS, "2000-02-01", "2030-12-31", 0, "data-end", "of 2000-05-04", "set data.end: 2000-05-04"),
        (HOURS, "1990-01-01", "2000-03-31", 0, "data-start", "of 2000-01-01", "set data.start: 2000-01-01,"),
        (HOURS, "1990-01-01", "2000-03-31", 28, "data-start", "of 2000-01-01", "set data.start: 2000-01-02T04:00:00Z"),
        (HOURS, "2000-01-02", None, 100, "data-warmup", "24 bars lie before", "data.warmup_bars to 24"),
        (HOURS, "2000-01-01", None, 100, "data-warmup", "none lies before", "set data.start: 2000-01-05T04:00:00Z"),
        ("sample:IBM", "2003-01-01", "2013-06-30", 0, "data-end", "of 2013-03-01", "set data.end: 2013-03-01"),
        ("sample:IBM", "2000-03-08", "2005-12-31", 150, "data-warmup", "5 bars lie before", "data.warmup_bars to 5"),
    ],
)
def test_dates_beyond_the_bars_are_warned_of(
    source: str, start: str | None, end: str | None, warmup: int, code: str, what: str, edit: str
) -> None:
    """What was asked, which bars there are, and the edit; with it the warning is gone."""
    (found,) = _looked(source, start, end, warmup)
    assert (found.code, found.severity) == (code, "warning")
    assert what in found.what
    assert "may trade" in found.what
    assert edit in found.edit


@pytest.mark.parametrize(
    ("source", "start", "end", "warmup"),
    [
        ("sample:IBM", "2003-01-01", "2010-12-31", 150),  # a holiday, and a Friday
        ("sample:IBM", "2010-05-01", "2010-12-26", 0),  # a Saturday, and a Sunday after Christmas
        ("sample:IBM", "2003-01-01", "2013-03-03", 0),  # the weekend after the last bar
        (HOURS, "2000-01-05T04:00:00Z", "2000-05-04", 100),
        (HOURS, None, None, 100),  # from the first bar: that it warms up is what was asked
    ],
)
def test_a_weekend_or_a_holiday_is_nothing_to_warn_of(
    source: str, start: str | None, end: str | None, warmup: int
) -> None:
    """A market that is closed on the day named has no bar to give."""
    assert _looked(source, start, end, warmup) == []


def test_the_start_of_a_run_says_which_bars_the_holdout_has() -> None:
    """One line: the date asked, the bars there are, the edit."""
    study: dict[str, Any] = {
        "data": {"source": "sample:IBM", "start": "2003-01-01", "end": "2010-12-31", "warmup_bars": 60},
        "holdout": {"start": "2011-01-01", "end": "2030-12-31"},
        "strategy": "sma_cross",
        "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
        "objective": "sharpe",
        "parameters": {"fast": {"type": "int", "low": 3, "high": 30}, "slow": {"type": "int", "low": 31, "high": 60}},
        "run": {"max_trials": 300},
    }
    (line,) = brief_audit(load_study(study, env={}))
    assert line == (
        "warning: holdout.end is 2030-12-31 and the last bar until then is of 2013-03-01: 543 bars, 2011-01-03 to "
        "2013-03-01, may trade; set holdout.end: 2013-03-01, or give bars that reach further"
    )


@pytest.mark.parametrize(
    ("strategy", "asked", "parameters", "most"),
    [
        ("sma_cross", 1_100, {"fast": {"type": "int", "low": 3, "high": 30}, "slow": 60}, "2,015 trades"),
        ("sma_cross", 1_000, {"fast": {"type": "int", "low": 3, "high": 30}, "slow": 60}, None),
        ("fibonacci", 300, {"exit": {"max_hold_bars": {"type": "int", "low": 5, "high": 60}}}, "504 trades"),
        (
            "fibonacci",
            150,
            {"exit.cooldown_bars": 9, "exit.max_hold_bars": {"type": "int", "low": 5, "high": 60}},
            "202 trades with exit.cooldown_bars at 9",
        ),
        ("fibonacci", 30, {"exit": {"max_hold_bars": {"type": "int", "low": 5, "high": 60}}}, None),
    ],
)
def test_more_trades_than_the_bars_can_give(strategy: str, asked: int, parameters: Any, most: str | None) -> None:
    """The limit is one trade a bar, fewer with a cooldown; more than half of it is warned of."""
    study = {
        "data": {"source": "sample:IBM", "start": "2003-01-01", "end": "2010-12-31", "warmup_bars": 60},
        "strategy": strategy,
        "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
        "objective": "sharpe",
        "constraints": {"min_trades": asked},
        "parameters": parameters,
        "run": {"max_trials": 20},
    }
    found = [one for one in audit(study, timed=False).findings if one.code == "min-trades"]
    assert len(found) == (most is not None)
    if most is not None:
        assert most in found[0].what
