"""Why a study cannot give an answer: the one cause that explains its results, named first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from genesis.diagnose.explain import shown
from genesis.diagnose.findings import Finding
from genesis.diagnose.zero_trades import diagnose_zero_trades
from genesis.types import FloatArray


def find_cause(
    ledger: Any,
    space: Any,
    *,
    bars: int | None = None,
    fixed: Mapping[str, Any] | None = None,
    blocked: Mapping[str, int] | None = None,
    free: Callable[[], FloatArray] | None = None,
) -> Finding | None:
    """The cause that makes this history worthless, or None when it holds an answer.

    `ledger` is the history as columns (`genesis.report.tables.Ledger`), `space` its search space, `bars` how many may
    trade, `fixed` the parameters that are not searched, `blocked` the bars stopped per gate over silent trials; `free`
    gives total returns of a sample of trading trials without costs, and is asked only when no trial made money. The
    causes are asked from the root: nothing ran, all failed, nothing traded, no score, one point, one score,
    infeasible, costs.
    """
    if not len(ledger):
        return Finding("no-trials", "error", "No trial has run", "there is nothing to judge", "run the study first")
    return (
        _failed(ledger)
        or _silent(ledger, space, bars, fixed or {}, blocked or {})
        or _unscored(ledger)
        or _one_point(ledger, space)
        or _constant(ledger)
        or _infeasible(ledger)
        or _costs(ledger, free)
    )


def _commonest(counts: Mapping[str, int], nothing: str) -> str:
    return max(counts, key=lambda name: counts[name]) if counts else nothing


def _failed(ledger: Any) -> Finding | None:
    if any(state != "failed" for state in ledger.states):
        return None
    reason = _commonest(ledger.reasons, "no reason was recorded")
    return Finding(
        "all-failed",
        "error",
        f"Every trial failed: {reason}",
        f"{len(ledger):,} trials raised; the search learnt nothing",
        "read a traceback with `genesis show RUN --trial 0` and mend the strategy or its parameters",
    )


def _silent(
    ledger: Any, space: Any, bars: int | None, fixed: Mapping[str, Any], blocked: Mapping[str, int]
) -> Finding | None:
    if "trades" not in ledger.metrics or not ledger.complete.any():
        return None
    if not bool(ledger.silent[ledger.complete].all()):
        return None
    long = _longest_period(space, fixed)
    if bars is not None and long is not None and bars <= long[1]:
        return Finding(
            "short-data",
            "error",
            f"The data are shorter than the warm-up: {bars:,} bars may trade, {long[0]} is never below {long[1]:,}",
            "an indicator that needs more bars than there are never gives a signal, so no trial can trade",
            f"give more bars (data.start earlier, a finer timeframe) or lower {long[0]}",
        )
    found = diagnose_zero_trades(space, ledger.vectors, np.asarray(ledger.metrics["trades"]), blocked, bars=bars)
    assert found is not None
    return Finding("no-trades", "error", found.what, found.why, found.edit)


def _longest_period(space: Any, fixed: Mapping[str, Any]) -> tuple[str, int] | None:
    """The whole-number parameter with the largest least value, by name; periods are whole numbers."""
    lows = [(column.path, int(column.low)) for column in space.columns if column.kind == "int"]
    lows += [(path, value) for path, value in fixed.items() if isinstance(value, int) and not isinstance(value, bool)]
    return max(lows, key=lambda item: item[1]) if lows else None


def _unscored(ledger: Any) -> Finding | None:
    if ledger.scored.any():
        return None
    reason = _commonest(ledger.reasons, "the objective is undefined (NaN) for every trial")
    return Finding(
        "no-score",
        "error",
        f"No trial has a score: {reason}",
        "a score that is NaN or undefined cannot be compared, so there is no best trial",
        "choose an objective that is defined for these trials, or return a finite number from evaluate",
    )


def _one_point(ledger: Any, space: Any) -> Finding | None:
    if space.size is None or space.size > 1:
        return None
    return Finding(
        "one-point",
        "error",
        "The search space has one point: there was nothing to search",
        f"every parameter has one value, so {len(ledger):,} trial(s) say all there is to say",
        "give at least one parameter a range or choices, or use `genesis backtest` for one parameter set",
    )


def _constant(ledger: Any) -> Finding | None:
    scores: FloatArray = ledger.scores[ledger.scored]
    if len(scores) < 5 or float(scores.max()) != float(scores.min()):
        return None
    different = len({value for value in ledger.hashes if value is not None})
    why = (
        f"{different} different sets of trades got this score, so the objective does not see the difference"
        if different > 1
        else "all trials traded alike, so the searched parameters do not reach the trades"
        if different == 1
        else "the objective does not depend on the searched parameters"
    )
    return Finding(
        "constant",
        "error",
        f"Every trial has the same score ({shown(float(scores[0]))}): the objective is constant",
        why,
        "check that evaluate uses its parameters, that the names match the strategy's, and that the objective varies",
    )


def _infeasible(ledger: Any) -> Finding | None:
    if ledger.feasible.any():
        return None
    names = sorted(ledger.broken.items(), key=lambda item: -item[1])
    worst = ", ".join(f"{name} (broken by {count:,} of {len(ledger):,})" for name, count in names[:3])
    best = ledger.best
    number = int(ledger.numbers[best])
    return Finding(
        "infeasible",
        "error",
        f"No trial keeps every constraint: {worst or 'all of them break one'}",
        f"the least bad, trial {number}, still breaks one; a best trial that breaks a constraint is not an answer",
        f"loosen {names[0][0] if names else 'the constraints'}, widen the space, or give the search more trials",
    )


def _costs(ledger: Any, free: Callable[[], FloatArray] | None) -> Finding | None:
    metrics = ledger.metrics
    if free is None or not {"total_return", "trades"} <= set(metrics):
        return None
    trading = ledger.complete & (np.asarray(metrics["trades"]) > 0)
    net = np.asarray(metrics["total_return"])[trading]
    if not len(net) or np.nanmax(net) > 0.0:
        return None
    gross = free()
    gained = int((gross > 0.0).sum())
    if gained * 4 < len(gross) or not len(gross):
        return None
    return Finding(
        "costs",
        "error",
        f"Costs eat every trade: none of {len(net):,} trials made money, {gained} of {len(gross)} do without costs",
        f"after costs the best returned {float(np.nanmax(net)):+.1%}, without them {float(gross.max()):+.1%}",
        "trade less often (longer periods, a cooldown, a stricter entry) or check costs against your broker",
    )
