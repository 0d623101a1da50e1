"""How a column is put to Optuna: as a question to a trial, and as a distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis.errors import SpaceError
from genesis.search.nodes import Column, same_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Question = tuple[str, str, Any, dict[str, Any]]


def question_for(one: Column) -> Question:
    """How a trial is asked for a column: path, kind, (labels, choices) or (low, high), options that are not default."""
    if one.choices is not None:
        return one.path, one.kind, (one.labels, one.choices), {}
    low, high, step = _optuna_range(one)
    options: dict[str, Any] = {"log": True} if one.log else {}
    if one.kind == "int":
        if step is not None and step != 1:
            options["step"] = int(step)
        return one.path, one.kind, (int(low), int(high)), options
    if step is not None:
        options["step"] = step
    return one.path, one.kind, (low, high), options


def ask(trial: Any, question: Question) -> float:
    """Return the vector entry that a trial answers; raises SpaceError for a choice that was not offered."""
    path, kind, (first, second), options = question
    if kind == "float":
        return float(trial.suggest_float(path, first, second, **options))
    if kind == "int":
        return float(trial.suggest_int(path, first, second, **options))
    answer = trial.suggest_categorical(path, list(first))
    for position, (label, choice) in enumerate(zip(first, second, strict=True)):
        if same_value(label, answer) or same_value(choice, answer):
            return float(position)
    raise SpaceError(f"{path}: the trial answered {answer!r}, which is not one of {list(first)!r}")


def _optuna_range(one: Column) -> tuple[float, float, float | None]:
    """The range to give Optuna; without the step where Optuna's own check on floats would lower the high again."""
    assert one.low is not None
    assert one.high is not None
    exact = one.steps is not None and one.steps.high_is_exact
    return one.low, one.high, one.step if exact or one.kind == "int" else None


def distribution(one: Column) -> BaseDistribution:
    """Return the Optuna distribution of a column; lists and mappings appear as their JSON text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices is not None:
        return CategoricalDistribution(one.labels)
    low, high, step = _optuna_range(one)
    if one.kind == "int":
        return IntDistribution(int(low), int(high), log=one.log, step=int(step or 1))
    return FloatDistribution(low, high, log=one.log, step=step)
