"""What a study asks of its bars against the bars there are: dates beyond them, and more trades than they can give."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from genesis.config import StudyConfig
from genesis.diagnose.explain import flatten
from genesis.diagnose.findings import Finding
from genesis.market.bars import Bars
from genesis.market.catalog import instant
from genesis.market.checks import iso
from genesis.market.timeframe import DAY

_CLOSED = 4 * DAY  # the longest that a market is closed around a weekend
_SHARE = 20  # of a short window less is tolerated: a twentieth of it


def audit_window(name: str, start: str | None, end: str | None, bars: Bars, trade_from: int) -> list[Finding]:
    """Warn where the window `name` (data or holdout) begins before or ends after its bars, or lacks warm-up.

    `bars` are those of the window with their warm-up, which trade from index `trade_from`. Up to four days, or a
    twentieth of a short window, pass for a weekend or a holiday.
    """
    first, stop = instant(start, "start"), instant(end, "end", last=True)
    opening = 0 if first is None else int(np.searchsorted(bars.time, first, side="left"))
    low = int(bars.time[opening]) if first is None else first
    high = int(bars.close_time[-1]) if stop is None else stop
    slack = max(2 * bars.frame.step, min(_CLOSED, (high - low) // _SHARE))
    found = []
    trades = f"{len(bars) - trade_from:,} bars, {_day(bars, trade_from)} to {_day(bars, -1)}, may trade"
    if first is not None and int(bars.time[opening]) - first > slack:
        found.append(
            Finding(
                f"{name}-start",
                "warning",
                f"{name}.start is {start} and the first bar from then on is of {_day(bars, opening)}: {trades}",
                "the window is shorter than the study says",
                f"set {name}.start: {_moment(int(bars.time[trade_from]))}, or give bars that reach further back",
            )
        )
    elif first is not None and opening < trade_from:
        lie = (
            f"{opening:,} bar{'s' if opening > 1 else ''} lie{'s' if opening == 1 else ''}" if opening else "none lies"
        )
        found.append(
            Finding(
                f"{name}-warmup",
                "warning",
                f"data.warmup_bars is {trade_from:,} and {lie} before {name}.start {start}: {trades}",
                "the first bars of the window warm up and do not trade",
                f"set {name}.start: {_moment(int(bars.time[trade_from]))}, lower data.warmup_bars to {opening}, or "
                "give bars that reach further back",
            )
        )
    if stop is not None and stop - int(bars.close_time[-1]) > slack:
        found.append(
            Finding(
                f"{name}-end",
                "warning",
                f"{name}.end is {end} and the last bar until then is of {_day(bars, -1)}: {trades}",
                "the window is shorter than the study says",
                f"set {name}.end: {_day(bars, -1)}, or give bars that reach further",
            )
        )
    return found


def audit_trades(config: StudyConfig, strategy: Any, usable: int) -> list[Finding]:
    """A `min_trades` that the bars cannot give, or not by any strategy worth running."""
    asked = config.constraints.get("min_trades")
    if asked is None or config.strategy is None:
        return []
    pause, path = _pause(config.space, strategy)
    most = -(-usable // (1 + pause))  # a trade takes a bar to be decided on, and the bars of the pause after it
    if asked <= most / 2:
        return []
    because = f" with {path} at {pause}" if pause else ""
    return [
        Finding(
            "min-trades",
            "warning",
            f"constraints.min_trades is {asked:,.12g}, and {usable:,} bars give at most {most:,} trades{because}",
            "a constraint that no trial keeps leaves no trial to call best",
            f"lower constraints.min_trades (a trade every 20 bars is {max(1, usable // 20):,}), or give more bars",
        )
    ]


def _pause(space: Any, strategy: Any) -> tuple[int, str]:
    """The fewest bars between two entries that a parameter called cooldown_bars leaves, and its path."""
    values = flatten(getattr(strategy, "defaults", {})) | flatten(space.fixed)
    values |= {one.path: one.low for one in space.columns if one.kind == "int"}
    pauses = [
        (int(value), path)
        for path, value in values.items()
        if path.rpartition(".")[2] == "cooldown_bars" and isinstance(value, int | float)
    ]
    return max(pauses, default=(0, ""))


def _day(bars: Bars, index: int) -> str:
    return str(np.datetime64(int(bars.time[index]), "ns").astype("datetime64[D]"))


def _moment(time: int) -> str:
    """A time as a study file takes it: the date at midnight, else with clock and zone."""
    text = iso(time)
    return text if " " not in text else f"{dt.datetime.fromisoformat(text).isoformat()}Z"
