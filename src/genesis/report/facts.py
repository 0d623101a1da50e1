"""What the report says in tables and tiles: what became of the trials, which bars were used, and numbers in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from genesis.report.replay import Luck, Replay
from genesis.report.source import RunData
from genesis.report.tables import Ledger
from genesis.report.terminal import COUNTS, number

_SHARES = ("total_return", "cagr", "volatility", "max_drawdown", "win_rate", "exposure", "expectancy")


def tiles(run: RunData, chance: Luck) -> list[tuple[str, str]]:
    """The few numbers that stand large under the verdict."""
    ledger = run.ledger
    found = [("Trials", f"{len(ledger):,}")]
    if ledger.infeasible.any():
        found.append(("Broke a constraint", f"{int(ledger.infeasible.sum()):,}"))
    if ledger.has_fills:
        found.append(("Different behaviours", f"{chance.distinct:,}"))
    if ledger.best is not None:
        found.insert(0, ("Best score", number(float(ledger.scores[ledger.best]))))
        trades = ledger.metrics.get("trades")
        if trades is not None:
            found.append(("Trades of the best", metric_words("trades", known(trades[ledger.best]))))
        fees = ledger.metrics.get("fees_paid")
        if fees is not None:
            found.append(("Fees it paid", metric_words("fees_paid", known(fees[ledger.best]))))
    if chance.deflated is not None and chance.deflated.probability == chance.deflated.probability:
        found.append(("Deflated Sharpe", f"{chance.deflated.probability:.2f}"))
    if chance.overfitting is not None:
        found.append(("Overfitting probability", f"{chance.overfitting.pbo:.0%}"))
    return found


def outcomes(ledger: Ledger) -> list[tuple[str, str, str]]:
    """What became of the trials: (what, how many, more words)."""
    states = list(ledger.states)
    broken = ", ".join(f"{name} {count:,}" for name, count in sorted(ledger.broken.items(), key=lambda one: -one[1]))
    counted = [
        ("ran", len(ledger), ""),
        ("kept every constraint", int(ledger.feasible.sum()), ""),
        ("broke a constraint", int(ledger.infeasible.sum()), broken),
        ("made no trade", int(ledger.silent.sum()), ""),
        ("undefined score", int((ledger.complete & ~ledger.scored).sum()), ""),
        ("pruned", states.count("pruned"), ""),
        ("failed", states.count("failed"), ""),
        ("different behaviours", ledger.behaviours, ""),
        ("proposed again, not run", sum(ledger.duplicates.values()), ""),
    ]
    unknown = {"made no trade": "trades" not in ledger.metrics, "different behaviours": not ledger.has_fills}
    return [(what, f"{count:,}", words) for what, count, words in counted if not unknown.get(what)]


def counting(ledger: Ledger) -> str:
    """How different behaviours are counted, in words."""
    if not ledger.has_fills:
        return "These trials have no fills to compare, so different behaviours cannot be counted."
    return (
        "Trials with equal fills are one behaviour, whatever their parameters; those that failed, were pruned or made "
        "no trade are none. A trial can be in more than one row."
    )


def windows(run: RunData, played: Replay) -> list[tuple[str, str]]:
    """The windows in words: the first and last bar that could trade, and what was asked for where that is not it."""
    config = run.config
    if config is None or config.data is None:
        return []
    found = [("in sample", window_words(config.data.start, config.data.end, played.used.get("search")))]
    if config.holdout is not None:
        asked = config.holdout
        found.append(("out of sample", window_words(asked.start, asked.end, played.used.get("holdout"))))
    return found


def window_words(start: str | None, end: str | None, used: tuple[int, int] | None) -> str:
    """The days of the bars used (UTC ns), with the days that the study asks for if they are others.

    >>> window_words("1970-01-01", "1999-12-31", (0, 86_400_000_000_000))
    '1970-01-01 to 1970-01-02 (asked for: 1970-01-01 to 1999-12-31)'
    >>> window_words(None, "1970-01-02", (0, 86_400_000_000_000))
    '1970-01-01 to 1970-01-02'
    """
    asked = f"{start or 'the first bar'} to {end or 'the last bar'}"
    if used is None:
        return f"asked for: {asked}"
    first, last = (str(np.datetime64(moment, "ns").astype("datetime64[D]")) for moment in used)
    same = (start or first)[:10] == first and (end or last)[:10] == last
    return f"{first} to {last}" + ("" if same else f" (asked for: {asked})")


def objective_words(objective: Any) -> str:
    """An objective as people write it.

    >>> objective_words("sharpe"), objective_words({"metric": "loss", "direction": "minimize"})
    ('sharpe', 'minimize loss')
    >>> objective_words({"sharpe": 1.0, "max_drawdown": -0.5})
    '1 × sharpe − 0.5 × max_drawdown'
    """
    if isinstance(objective, str):
        return objective
    if isinstance(objective.get("metric"), str):
        return f"{objective.get('direction', 'maximize')} {objective['metric']}"
    terms = " ".join(f"{'−' if weight < 0 else '+'} {abs(weight):g} × {name}" for name, weight in objective.items())
    return terms.removeprefix("+ ")


def metric_words(name: str, value: float | None) -> str:
    """A metric as people write it: shares as per cent, counts whole.

    >>> metric_words("max_drawdown", 0.35), metric_words("sharpe", 1.23456)
    ('35.0%', '1.235')
    """
    if value is None:
        return "–"
    if name in _SHARES:
        return f"{value:.2%}" if abs(value) < 0.1 else f"{value:.1%}"
    if name in COUNTS:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if name == "fees_paid" else number(value)


def known(value: Any) -> float | None:
    """A number of a column, None where it is undefined (NaN)."""
    return None if value != value else float(value)
