"""Words and small pictures for a terminal: numbers, durations, sparklines, one event as a line or as facts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from genesis.run.events import ProgressEvent

_BARS = "▁▂▃▄▅▆▇█"
COUNTS = ("trades", "max_drawdown_duration")
"""Metrics that count something: shown whole."""


def sparkline(values: Sequence[float], *, width: int = 40) -> str:
    """The last values as a row of blocks from the lowest to the highest; NaN is a space, a constant a low line.

    More than `width` values are thinned evenly, the last one kept.

    >>> sparkline([1.0, 2.0, 3.0])
    '▁▅█'
    >>> sparkline([])
    ''
    """
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return " " * len(values)
    low, span = min(known), max(known) - min(known)
    return "".join(
        " " if not math.isfinite(value) else _BARS[round((value - low) / span * 7) if span > 0.0 else 0]
        for value in values
    )


def duration(seconds: float | None) -> str:
    """Seconds for people.

    >>> duration(0.25), duration(75.0), duration(7_300.0), duration(None)
    ('0.2 s', '1 min 15 s', '2 h 01 min', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60.0:
        return f"{seconds:.1f} s" if seconds < 10.0 else f"{seconds:.0f} s"
    if seconds < 3_600.0:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3_600)} h {int(seconds % 3_600 // 60):02d} min"


def rate_words(rate: float | None) -> str:
    """Trials a second, or a minute when slower than one a second.

    >>> rate_words(1234.5), rate_words(0.5), rate_words(None)
    ('1,234 trials/s', '30.0 trials/min', '–')
    """
    if rate is None:
        return "–"
    if rate >= 100.0:
        return f"{rate:,.0f} trials/s"
    return f"{rate:.1f} trials/s" if rate >= 1.0 else f"{rate * 60.0:.1f} trials/min"


def number(value: float | None) -> str:
    """A score or metric: four significant digits; whole from 1,000 on, as counts are.

    >>> number(0.123456), number(55.0), number(12_345.678), number(None)
    ('0.1235', '55', '12,346', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    whole = 1_000.0 <= abs(value) < 1e15
    return f"{value:,.0f}" if whole else f"{value:,.4g}"


def params_words(params: Any, prefix: str = "") -> str:
    """Nested parameters on one line.

    >>> params_words({"ma": {"fast": 10}, "side": "long"})
    'ma.fast=10 side=long'
    """
    parts: list[str] = []
    for name, value in (params or {}).items():
        if isinstance(value, dict):
            parts.append(params_words(value, f"{prefix}{name}."))
        else:
            parts.append(f"{prefix}{name}={value:.6g}" if isinstance(value, float) else f"{prefix}{name}={value}")
    return " ".join(part for part in parts if part)


def counts_words(counts: Iterable[tuple[str, int]]) -> str:
    """Counts by cause, zeros left out; "none" for nothing.

    >>> counts_words([("history", 3), ("in flight", 0)])
    'history 3'
    """
    return ", ".join(f"{name} {count:,}" for name, count in counts if count) or "none"


def budget_words(seconds: Any) -> str:
    """Where the time goes, largest share first.

    >>> budget_words({"backtest": 3.0, "tell": 1.0})
    'backtest 75%, tell 25%'
    """
    total = sum(seconds.values())
    if not total > 0.0:
        return "–"
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share / total:.0%}" for name, share in ordered if share / total >= 0.01)


def facts(event: ProgressEvent) -> list[tuple[str, str]]:
    """An event as (label, words) in reading order; what has nothing to say is left out."""
    total = f" of {event.total:,}" if event.total else ""
    spent = "with loading and holdout" if event.phase == "finished" else "so far"
    rows = [("trials", f"{event.done:,}{total}, {rate_words(event.rate)}, {duration(event.elapsed)} {spent}")]
    if event.resumed:
        rows.append(("resumed", f"{event.resumed:,} trials of earlier sessions"))
    if event.eta is not None and event.phase != "finished":
        rows.append(("remaining", duration(event.eta)))
    if event.best_score is not None:
        kept = "" if event.best_feasible else " (breaks a constraint)"
        rows.append(("best", f"{number(event.best_score)} by trial {event.best_number}{kept}"))
        rows.append(("", params_words(event.best_params)))
        if event.last_improvement is not None:
            rows.append(("improved", f"at trial {event.last_improvement}, {_since(event)}"))
    elif event.done:
        rows.append(("best", "no trial has a score yet"))
    if event.duplicates:
        rows.append(("repeats", f"{event.duplicate_share:.0%} ({counts_words(event.duplicates.items())})"))
    if event.zero_trades:
        rows.append(("no trades", f"{event.zero_trades:,} ({event.zero_trade_share:.0%})"))
    if event.infeasible or event.failures or event.pruned:
        shown = [("constraint broken", event.infeasible), ("failed", event.failures), ("pruned", event.pruned)]
        rows.append(("not usable", counts_words(shown)))
    if event.behaviours is not None:
        rows.append(("different", f"{event.behaviours:,} behaviours"))
    if event.workers:
        rows.append(("workers", f"{event.workers_busy} of {event.workers} busy"))
    if event.seconds:
        rows.append(("time", budget_words(event.seconds)))
    if event.message:
        rows.append(("", event.message))
    return rows


def _since(event: ProgressEvent) -> str:
    ago = event.done - 1 - (event.last_improvement or 0)
    return "just now" if ago <= 0 else f"{ago:,} trials ago"


def line(event: ProgressEvent) -> str:
    """An event as one log line."""
    total = f"/{event.total}" if event.total else ""
    parts = [f"{event.run_id} {event.phase} {event.done}{total}", rate_words(event.rate)]
    if event.best_score is not None:
        parts.append(f"best {number(event.best_score)} (trial {event.best_number})")
    repeats = sum(event.duplicates.values())
    parts += [
        f"{name} {count}"
        for name, count in (
            ("repeats", repeats),
            ("no-trade", event.zero_trades),
            ("infeasible", event.infeasible),
            ("failed", event.failures),
            ("pruned", event.pruned),
        )
        if count
    ]
    if event.phase == "finished":
        parts.append(f"stopped: {event.stop_reason} after {duration(event.elapsed)} with loading and holdout")
    elif event.eta is not None:
        parts.append(f"eta {duration(event.eta)}")
    return " | ".join(parts)
