"""From metrics to one score, larger is better, with a reason for every constraint that failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from genesis.engine.metrics import METRICS
from genesis.errors import ConfigError
from genesis.types import Violation

Objective = str | Mapping[str, Any]
Metrics = Mapping[str, float | None]

UNDEFINED_AMOUNT = 1.0
"""How far an undefined metric is from any limit: as far as zero is."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score (None with the `reason` when undefined) and the constraints that failed."""

    value: float | None
    violations: tuple[Violation, ...] = ()
    reason: str | None = None


def score_metrics(metrics: Metrics, objective: Objective, constraints: Mapping[str, float] | None = None) -> Score:
    """Score a trial's metrics.

    `objective` is a metric (negated if lower is better), `{metric: name, direction: minimize | maximize}`, or
    `{name: weight, …}` summed as written: in a weighted sum a metric of which less is better takes a negative weight.
    `constraints` are `{min_X | max_X: limit}`, a value on the limit passing; a metric whose own name begins with
    `max_` is limited by that name. A metric that is None or missing fails its constraint, and leaves the score None.

    >>> score_metrics({"sharpe": 1.2, "trades": 12}, "sharpe", {"min_trades": 30}).violations[0].amount
    0.6
    """
    value, reason = _value(metrics, objective)
    failed = tuple(
        violation
        for name, limit in (constraints or {}).items()
        if (violation := _violation(metrics, name, limit)) is not None
    )
    return Score(value, failed, reason)


def objective_terms(objective: Objective) -> tuple[tuple[str, float], ...]:
    """Return the (metric, weight) pairs whose weighted sum is the score.

    Raises ConfigError when the objective has none of the three forms.
    """
    if isinstance(objective, str):
        return ((objective, -1.0 if _lower_is_better(objective) else 1.0),)
    if not isinstance(objective, Mapping) or not objective:
        raise ConfigError(
            f"objective: {objective!r} names no metric; write a metric such as sharpe, or {{sharpe: 1.0}}"
        )
    if isinstance(objective.get("metric"), str):
        return _directed(objective)
    terms = []
    for name, weight in objective.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not _usable(weight):
            raise ConfigError(f"objective.{name}: weight {weight!r} is not a finite number other than 0; use 1.0, say")
        terms.append((str(name), float(weight)))
    return tuple(terms)


def _usable(weight: float) -> bool:
    """Whether a weight is finite as a float, which an integer of 400 digits is not, and not 0."""
    try:
        return math.isfinite(weight) and weight != 0
    except OverflowError:
        return False


@lru_cache(maxsize=1_024)
def parse_constraint(name: str) -> tuple[str, Literal["min", "max"]]:
    """Return the metric that a constraint limits and which way.

    >>> parse_constraint("min_trades"), parse_constraint("max_drawdown")
    (('trades', 'min'), ('max_drawdown', 'max'))
    """
    if name in METRICS and name.startswith("max_"):
        return name, "max"
    side, _, metric = name.partition("_")
    if metric and side == "min":
        return metric, "min"
    if metric and side == "max":
        return metric, "max"
    raise ConfigError(f"constraints.{name}: begins with neither min_ nor max_; write min_{name} or max_{name}")


def _directed(objective: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    metric, direction = objective["metric"], objective.get("direction")
    extra = sorted(str(key) for key in objective if key not in ("metric", "direction"))
    if extra:
        raise ConfigError(f"objective.{extra[0]}: is unknown beside metric; only direction is allowed")
    if direction is None:
        return objective_terms(metric)
    if direction not in ("minimize", "maximize"):
        raise ConfigError(f"objective.direction: {direction!r} is unknown; use minimize or maximize")
    return ((metric, 1.0 if direction == "maximize" else -1.0),)


def _lower_is_better(name: str) -> bool:
    return name in METRICS and METRICS[name].better == "lower"


def _known(metrics: Metrics, name: str) -> float | None:
    value = metrics.get(name)
    return float(value) if value is not None and math.isfinite(value) else None


def _value(metrics: Metrics, objective: Objective) -> tuple[float | None, str | None]:
    total = 0.0
    for name, weight in objective_terms(objective):
        known = _known(metrics, name)
        if known is None:
            return None, _undefined(metrics, name)
        total += weight * known
    if not math.isfinite(total):
        return None, "the weighted objective is not finite"
    return total + 0.0, None


def _undefined(metrics: Metrics, name: str) -> str:
    if name not in metrics:
        return f"the metric {name} is missing; it gave {', '.join(sorted(metrics)) or 'nothing'}"
    cause = " (the trial made no trade)" if metrics.get("trades") == 0 else ""
    value = metrics[name]
    return f"{name} is undefined{cause}" if value is None else f"{name} is {value!r}, not a finite number"


def _violation(metrics: Metrics, name: str, limit: float) -> Violation | None:
    metric, side = parse_constraint(name)
    actual = _known(metrics, metric)
    if actual is None:
        return Violation(name, float(limit), None, UNDEFINED_AMOUNT)
    beyond = limit - actual if side == "min" else actual - limit
    if beyond <= 0.0:
        return None
    return Violation(name, float(limit), actual, beyond / (abs(limit) or 1.0))
