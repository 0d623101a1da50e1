"""A score is larger-is-better, undefined with a reason, and every failed constraint says by how much."""

from __future__ import annotations

import math

import pytest

from genesis.engine.metrics import METRICS
from genesis.errors import ConfigError
from genesis.judge.scoring import objective_terms, parse_constraint, score_metrics
from genesis.types import Violation

METRICS_OF_A_TRIAL = {
    "sharpe": 1.2, "max_drawdown": 0.4, "max_drawdown_duration": 90.0, "trades": 12.0,
    "profit_factor": None, "cagr": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ("sharpe", 1.2),
        ("max_drawdown", -0.4),
        ({"metric": "max_drawdown"}, -0.4),
        ({"metric": "max_drawdown", "direction": "maximize"}, 0.4),
        ({"metric": "sharpe", "direction": "minimize"}, -1.2),
        ({"sharpe": 2.0, "max_drawdown": -0.5}, 2.4 - 0.2),
        ({"cagr": 1}, 0.1),
    ],
)
def test_the_score_grows_with_what_is_better(objective: object, value: float) -> None:
    score = score_metrics(METRICS_OF_A_TRIAL, objective)  # type: ignore[arg-type]
    assert score.value == pytest.approx(value, abs=0)
    assert (score.reason, score.violations) == (None, ())


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.better == "lower"])
def test_every_metric_of_which_less_is_better_is_negated(name: str) -> None:
    assert score_metrics({name: 3.0}, name).value == -3.0


@pytest.mark.parametrize(
    ("metrics", "objective", "reason"),
    [
        ({"sharpe": None}, "sharpe", "sharpe is undefined"),
        ({"sharpe": None, "trades": 0}, "sharpe", "sharpe is undefined (the trial made no trade)"),
        ({"sharpe": math.nan}, "sharpe", "sharpe is nan, not a finite number"),
        ({"loss": 1.0}, "lose", "the metric lose is missing; it gave loss"),
        ({"sharpe": 1.0, "cagr": None}, {"sharpe": 1.0, "cagr": 1.0}, "cagr is undefined"),
        ({"a": 1e308, "b": 1e308}, {"a": 1e308, "b": 1.0}, "the weighted objective is not finite"),
    ],
)
def test_an_undefined_score_is_none_with_its_reason(metrics: dict[str, float], objective: object, reason: str) -> None:
    score = score_metrics(metrics, objective)  # type: ignore[arg-type]
    assert (score.value, score.reason) == (None, reason)


@pytest.mark.parametrize(
    ("constraint", "limit", "violation"),
    [
        ("min_trades", 12, None),
        ("min_trades", 30, Violation("min_trades", 30.0, 12.0, 0.6)),
        ("max_trades", 12, None),
        ("max_trades", 10, Violation("max_trades", 10.0, 12.0, 0.2)),
        ("max_drawdown", 0.4, None),
        ("max_drawdown", 0.2, Violation("max_drawdown", 0.2, 0.4, 1.0)),
        ("max_max_drawdown", 0.2, Violation("max_max_drawdown", 0.2, 0.4, 1.0)),
        ("max_drawdown_duration", 60, Violation("max_drawdown_duration", 60.0, 90.0, 0.5)),
        ("min_max_drawdown", 0.4, None),
        ("min_profit_factor", 1.0, Violation("min_profit_factor", 1.0, None, 1.0)),
        ("min_unheard_of", 1.0, Violation("min_unheard_of", 1.0, None, 1.0)),
        ("max_sharpe", 0, Violation("max_sharpe", 0.0, 1.2, 1.2)),
    ],
)
def test_a_constraint_passes_on_its_limit_and_says_how_far_beyond(
    constraint: str, limit: float, violation: Violation | None
) -> None:
    score = score_metrics(METRICS_OF_A_TRIAL, "sharpe", {constraint: limit})
    assert score.value == 1.2
    assert score.violations == (() if violation is None else (violation,))


def test_every_failed_constraint_is_reported_in_the_order_of_the_study() -> None:
    limits = {"min_trades": 30, "max_drawdown": 0.1, "min_sharpe": 1.0}
    failed = score_metrics(METRICS_OF_A_TRIAL, "sharpe", limits).violations
    assert [one.name for one in failed] == ["min_trades", "max_drawdown"]


@pytest.mark.parametrize("name", ["trades", "drawdown_max", "min", "min_", "maximum_x"])
def test_a_constraint_begins_with_min_or_max(name: str) -> None:
    with pytest.raises(ConfigError, match=f"constraints.{name}: begins with neither"):
        parse_constraint(name)


@pytest.mark.parametrize(
    "objective",
    [None, 3, {}, [], {"sharpe": 0}, {"sharpe": True}, {"sharpe": "1"}, {"sharpe": math.inf},
     {"metric": "sharpe", "direction": "up"}, {"metric": "sharpe", "weight": 2}],
)  # fmt: skip
def test_an_objective_of_another_shape_is_refused(objective: object) -> None:
    with pytest.raises(ConfigError, match="objective"):
        objective_terms(objective)  # type: ignore[arg-type]
