"""A pruner decides as Optuna does on told trials, leaves no trace of undecided ones, and survives a trip."""

from __future__ import annotations

import pickle

import numpy as np
import optuna
import pytest

from genesis.errors import ConfigError
from genesis.search.pruners import PRUNERS, make_pruner

KWARGS = {
    "percentile": {"percentile": 50.0, "n_startup_trials": 2},
    "threshold": {"lower": 0.0},
    "patient": {"wrapped_pruner": {"type": "median", "kwargs": {"n_startup_trials": 1}}, "patience": 1},
    "hyperband": {"max_resource": 9},
    "median": {"n_startup_trials": 3},
}


def _curves(n: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.cumsum(rng.normal(0.1, 1.0, (n, 9)), axis=1)


@pytest.mark.parametrize("name", ["median", "percentile", "sha", "threshold", "patient", "hyperband"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_one_trial_at_a_time_it_decides_as_optuna_does(name: str) -> None:
    """Told after every trial, each decision is that of a plain Optuna study."""
    curves = _curves(40)
    ours = make_pruner(name, KWARGS.get(name, {}))
    study = optuna.create_study(direction="maximize", study_name="genesis", pruner=ours._make())
    stopped = 0
    for number, curve in enumerate(curves):
        trial = study.ask()
        reports: list[float] = []
        state = "complete"
        for step, value in enumerate(curve, start=1):
            trial.report(value, step)
            reports.append(float(value))
            theirs = trial.should_prune()
            assert ours.decide(number, reports) == theirs
            if theirs:
                state = "pruned"
                stopped += 1
                break
        score = reports[-1] if state == "complete" else None
        ours.tell(number, reports, state, score)
        study.tell(trial, score, state=None if score is not None else optuna.trial.TrialState.PRUNED)
    assert 0 < stopped < 40


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_decisions_leave_no_trace_and_travel(name: str) -> None:
    """Deciding trials in any order, repeatedly, or in another process gives the same answers."""
    curves = _curves(30)
    pruner = make_pruner(name, KWARGS.get(name, {}))
    for number, curve in enumerate(curves[:20]):
        pruner.tell(number, curve.tolist(), "complete", float(curve[-1]))
    cases = [(20 + i, curves[20 + i][: 1 + i % 9].tolist()) for i in range(10)]
    first = [pruner.decide(*case) for case in cases]
    assert [pruner.decide(*case) for case in reversed(cases)][::-1] == first
    assert [pickle.loads(pickle.dumps(pruner)).decide(*case) for case in cases] == first  # noqa: S301


def test_unknown_names_and_arguments_are_refused() -> None:
    """The error names the nearest pruner, or the arguments there are."""
    with pytest.raises(ConfigError, match="did you mean 'median'"):
        make_pruner("medain")
    with pytest.raises(ConfigError, match="n_startup_trials"):
        make_pruner("median", {"startup": 3})
    with pytest.raises(ConfigError, match="pruner percentile"):
        make_pruner("percentile", {"percentile": 500.0})
    with pytest.raises(ConfigError, match="did you mean 'hyperband'"):
        make_pruner("patient", {"wrapped_pruner": "hyperbend", "patience": 1})


def test_none_never_stops_a_trial() -> None:
    """Without a pruner every trial runs to its end."""
    pruner = make_pruner(None)
    pruner.tell(0, [1.0], "complete", 1.0)
    assert not pruner.active
    assert not pruner.decide(1, [-1e9])
