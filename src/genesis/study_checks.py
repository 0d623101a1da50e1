"""What can be wrong with a study although each of its keys is right: each check returns its problems as sentences."""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Mapping
from typing import Any

from genesis.engine.metrics import METRICS
from genesis.errors import ConfigError, StrategyError
from genesis.judge.scoring import objective_terms, parse_constraint
from genesis.search.nodes import is_finite, nearest_name
from genesis.search.space import Space
from genesis.sections import StudyFile
from genesis.strategy.loading import BUILT_IN
from genesis.strategy.parameters import ParameterTable

_FRACTIONS = ("max_drawdown", "win_rate", "exposure")


def check_kind(raw: Mapping[str, Any]) -> list[str]:
    """What a study must have, and may not, by what it runs."""
    problems: list[str] = []
    given = [name for name in ("strategy", "evaluate", "command") if raw.get(name) is not None]
    if not given:
        problems.append("strategy: is missing; write strategy: sma_cross (or evaluate: or command:)")
    elif len(given) > 1:
        problems.append(f"{given[1]}: excludes {given[0]}; keep one of {', '.join(given)}")
    elif given == ["strategy"]:
        if raw.get("data") is None:
            problems.append("data: is missing; a strategy needs bars: data: {source: 'sample:IBM'}")
        if raw.get("costs") is None:
            problems.append(
                "costs: is missing, and costs change every score; write costs: {fee_bps: 10, slippage_bps: 5}, "
                "or zeros if trading is free"
            )
    else:
        problems += [
            f"{name}: belongs to a strategy; {given[0]} does its own, so remove it"
            for name in ("costs", "execution")
            if raw.get(name) is not None
        ]
    return problems


def check_windows(study: StudyFile) -> list[str]:
    """Windows that are empty or let the search see the holdout."""
    problems: list[str] = []
    data, holdout = study.data, study.holdout
    for name, window in (("data", data), ("holdout", holdout)):
        if window is not None and window.start and window.end and _first(window.start) >= _last(window.end):
            problems.append(f"{name}.end: {window.end} is before {name}.start {window.start}; swap them")
    if holdout is None:
        return problems
    if data is None:
        problems.append("holdout: needs data; add data: {source: …}, or remove the holdout")
        return problems
    before = holdout.end is not None and data.start is not None and _last(holdout.end) <= _first(data.start)
    if before:
        return problems
    if data.end is None:
        problems.append(f"holdout.start: {holdout.start} lies in the data, which have no end; write data.end before it")
    elif _first(holdout.start) < _last(data.end):
        problems.append(
            f"holdout.start: {holdout.start} is not after data.end {data.end}, so the search would "
            f"see the holdout; end the data earlier or start the holdout later"
        )
    return problems


def check_objective(objective: Any, strategy: bool) -> list[str]:
    """An objective of another shape, of no metric, or that rewards what is worse."""
    problems: list[str] = []
    try:
        terms = objective_terms(objective)
    except ConfigError as exc:
        problems.append(exc.message)
        return problems
    weighted = not isinstance(objective, str) and not isinstance(objective.get("metric"), str)
    for name, weight in terms:
        if strategy and name not in METRICS:
            near = nearest_name(name, list(METRICS))
            problems.append(f"objective: {name!r} is no metric{near}; use one of {', '.join(METRICS)}")
        elif weighted and weight > 0 and name in METRICS and METRICS[name].better == "lower":
            remedy = f"{{metric: {name}, direction: minimize}}" if len(terms) == 1 else f"{name}: {-weight:g}"
            problems.append(
                f"objective.{name}: weight {weight:g} rewards more of it, and less is better; write {remedy}"
            )
    return problems


def check_constraints(constraints: Mapping[str, Any], strategy: bool) -> list[str]:
    """Limits on no metric, without a number, or on a fraction beyond 1."""
    problems: list[str] = []
    limits: dict[str, dict[str, float]] = {}
    for key, limit in constraints.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not is_finite(limit):
            problems.append(f"constraints.{key}: {f'{limit!r}':.80} is not a finite number; write {key}: 30, say")
            continue
        try:
            metric, side = parse_constraint(str(key))
        except ConfigError as exc:
            problems.append(exc.message)
            continue
        limits.setdefault(metric, {})[side] = limit
        if not strategy:
            continue
        if metric not in METRICS:
            known = [f"{side}_{name}" for name in METRICS] + [n for n in METRICS if n.startswith("max_")]
            problems.append(
                f"constraints.{key}: {metric!r} is no metric{nearest_name(str(key), known)}; "
                f"use min_ or max_ and one of {', '.join(METRICS)}"
            )
        elif metric in _FRACTIONS and not 0 <= limit <= 1:
            less = f"; write {key}: {limit / 100:g} for {limit:g} %" if 1 < limit <= 100 else "; use a number in it"
            problems.append(f"constraints.{key}: {limit!r} is outside [0, 1], and {metric} is a fraction{less}")
    problems += [
        f"constraints.min_{metric}: {both['min']!r} is above max_{metric} {both['max']!r}, so no trial keeps "
        "both; swap them"
        for metric, both in limits.items()
        if len(both) == 2 and both["min"] > both["max"]
    ]
    return problems


def check_parameters(strategy: Any, space: Space) -> list[str]:
    """Names that a built-in strategy does not have, and values it does not take; others speak for themselves."""
    table = declared_parameters(strategy)
    if table is None:
        return []
    problems = []
    tried: list[tuple[str, tuple[Any, ...]]] = [(path, (value,)) for path, value in space.fixed.items()]
    for one in space.columns:
        ends = (one.low, one.high) if one.kind == "float" else (int(one.low or 0), int(one.high or 0))
        tried.append((one.path, one.choices if one.choices is not None else ends))
    for path, values in tried:
        for value in values:
            try:
                table.read({path: value})
            except StrategyError as exc:
                problems.append(f"parameters.{path}: {exc.message.removeprefix(f'{path}: ')}")
                break
    return problems


def declared_parameters(strategy: Any) -> ParameterTable | None:
    """The parameters that a built-in strategy declares, by its name; None for any other."""
    if not isinstance(strategy, str) or strategy not in BUILT_IN:
        return None
    table = getattr(importlib.import_module(BUILT_IN[strategy][0]), "PARAMETERS", None)
    return table if isinstance(table, ParameterTable) else None


def _first(moment: str) -> dt.datetime:
    """The first instant of a start, in UTC."""
    stamp = dt.datetime.fromisoformat(moment)
    return stamp.replace(tzinfo=dt.UTC) if stamp.tzinfo is None else stamp.astimezone(dt.UTC)


def _last(moment: str) -> dt.datetime:
    """The first instant after an end: after the whole day if it has no clock."""
    return _first(moment) + (dt.timedelta(microseconds=1) if ":" in moment else dt.timedelta(days=1))
