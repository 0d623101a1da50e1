"""Does a strategy know the future? Cut the data after a bar, and no signal at or before it may change."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from genesis.diagnose.findings import Finding
from genesis.market.bars import Bars
from genesis.strategy.authored import Authored
from genesis.strategy.features import Features
from genesis.types import Params, Signals

COLUMNS = ("entry", "exit", "size", "stop_distance", "target_distance", "trail_distance", "partial_levels")
CUTS = 24
SECONDS = 5.0
_ROUNDING = 1e-9  # a sum may be taken in another order over fewer bars
_SLOW_BARS = 1_500  # bar by bar in Python a cut costs what the whole does
_EDIT = (
    "let bar i read values up to i only: np.roll and x[i + 1] do not, nor do a mean, a quantile or a fit over the "
    'whole array; take another timeframe with features.higher("1w")'
)


def find_lookahead(strategy: Any, bars: Bars, params: Params) -> Finding | None:
    """The first signal of an author's strategy that changes when later bars are cut off, as an error, or None.

    At most 24 cuts or five seconds are tried, half of them at bars that signal something, where a look one bar ahead
    shows; finding none is no proof. The built-in strategies are held to the law by their own tests. Raises what the
    strategy raises on all bars; that it cannot answer on fewer bars is left to its trials.
    """
    if not isinstance(strategy, Authored):
        return None
    if strategy.way == "on_bar":
        bars = bars.slice(0, min(len(bars), _SLOW_BARS))
    whole = strategy.signals(params, Features(bars))
    until = perf_counter() + SECONDS
    for cut in _cuts(whole, len(bars)):
        if perf_counter() > until:
            break
        try:
            part = strategy.signals(params, Features(bars.slice(0, cut)))
        except Exception:  # noqa: BLE001, S112 - too few bars for it, say; a trial that raises is told elsewhere
            continue
        for name in COLUMNS:
            at = _first_change(getattr(whole, name), getattr(part, name), cut)
            if at is not None:
                return _finding(bars, name, at, cut, getattr(whole, name), getattr(part, name))
    return None


def _cuts(signals: Signals, n: int) -> list[int]:
    """Numbers of bars to keep: spread evenly, and so that a bar which signals something is the last, in turn."""
    spread = np.linspace(n // 8 + 1, n - 1, CUTS // 2).astype(int)
    loud = np.flatnonzero((signals.entry != 0)[: n - 1]) + 1
    if len(loud) < 2 and signals.exit is not None:
        loud = np.flatnonzero((signals.exit != 0)[: n - 1]) + 1
    chosen = loud[np.linspace(0, len(loud) - 1, min(len(loud), CUTS // 2)).astype(int)] if len(loud) else loud
    return sorted({int(cut) for cut in (*spread, *chosen) if 0 < cut < n})


def _first_change(whole: Any, part: Any, cut: int) -> int | None:
    if whole is None or part is None:
        return None if whole is part else 0
    same = np.isclose(whole[:cut], part, rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True)
    if same.all():
        return None
    return int(np.argmin(same.reshape(cut, -1).all(axis=1)))


def _finding(bars: Bars, name: str, at: int, cut: int, whole: Any, part: Any) -> Finding:
    def value(array: Any) -> str:
        return "nothing" if array is None else str(array[at].tolist())

    when = str(bars.time[at].astype("datetime64[ns]").astype("datetime64[s]")).replace("T", " ")
    return Finding(
        "look-ahead",
        "error",
        f"The strategy looks ahead: its {name} at bar {at} ({when}) is {value(whole)}, and {value(part)} when the data "
        f"end with bar {cut - 1}",
        "what it earns by knowing later bars, nobody can earn; the holdout is no help, since it looks ahead there too",
        _EDIT,
    )
