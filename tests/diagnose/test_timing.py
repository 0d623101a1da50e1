"""The estimate of a search's time is a range that includes starting up, and says what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from genesis.config import StudyConfig, load_study
from genesis.diagnose.timing import START_SECONDS, process_age, propose_seconds, time_finding


def _study(**run: Any) -> StudyConfig:
    return load_study(
        {
            "evaluate": "examples.sphere:evaluate",
            "objective": "loss",
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "run": {"max_trials": 100, "sampler": "random", "max_concurrent": 4} | run,
        },
        env={},
    )


def test_a_short_search_takes_its_start() -> None:
    """A hundred trials of a hundredth of a millisecond are not done in a millisecond: a process starts first."""
    facts: dict[str, Any] = {}
    (found,) = time_finding(_study(), facts, each=1e-5, first=0.0, age=0.1, workers=2)
    assert START_SECONDS < facts["start_seconds"] < facts["estimated_seconds"] < facts["estimated_seconds_most"]
    assert "3 to 5 s of it to start" in found.what
    assert "on 2 processes" in found.what
    assert "repeats, storing and the holdout come on top" in found.what


@pytest.mark.parametrize(("age", "least"), [(0.0, START_SECONDS), (30.0, 30.0), (5_000.0, START_SECONDS)])
def test_a_slow_start_of_this_process_is_what_a_run_will_meet(age: float, least: float) -> None:
    """The age of a command says what starting costs on this machine now; that of a notebook says nothing."""
    facts: dict[str, Any] = {}
    time_finding(_study(), facts, each=1e-5, first=0.0, age=age, workers=1)
    assert facts["start_seconds"] == pytest.approx(least + 0.1)


def test_what_the_first_trial_cost_beyond_the_others_is_in_the_upper_end() -> None:
    """Compiling is paid by a run whose code was not compiled before, so it is in the range and not below it."""
    sooner: dict[str, Any] = {}
    later: dict[str, Any] = {}
    time_finding(_study(), sooner, each=1.0, first=0.0, age=0.0, workers=1)
    (found,) = time_finding(_study(), later, each=1.0, first=900.0, age=0.0, workers=1)
    assert later["estimated_seconds_most"] > sooner["estimated_seconds_most"] + 890.0
    assert later["start_seconds"] == sooner["start_seconds"]
    assert "1 min 42 s to 17 min" in found.what


def test_no_budget_no_estimate() -> None:
    """A run that time ends has no number of trials to multiply."""
    study = _study(max_trials=None, timeout_seconds=60)
    assert time_finding(study, {}, each=1.0, first=0.0, age=0.0, workers=1) == []


@pytest.mark.parametrize(("asked", "tried"), [(None, "30"), (10, "10"), (10_000, "30")])
def test_a_grid_has_as_many_trials_as_points(asked: int | None, tried: str) -> None:
    """A grid ends with its last point, whatever the budget says and when it says nothing."""
    whole = {"x": {"type": "int", "low": 1, "high": 30}}
    study = load_study(
        {
            "evaluate": "examples.sphere:evaluate",
            "objective": "loss",
            "parameters": whole,
            "run": {"sampler": "grid", "timeout_seconds": 60} | ({"max_trials": asked} if asked else {}),
        },
        env={},
    )
    (found,) = time_finding(study, {}, each=1.0, first=0.0, age=0.0, workers=1)
    assert f" for {tried} trials " in found.what


def test_proposing_is_measured_and_a_process_has_an_age() -> None:
    """Both are seconds above zero."""
    proposing = propose_seconds(_study())
    assert proposing.each > 0.0
    assert proposing.start >= 0.0
    assert process_age() > 0.0
