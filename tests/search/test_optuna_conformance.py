"""Our estimator passes Optuna's own public sampler tests, and does in a plain study what its docstring says."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from genesis.samplers import TPESampler, select_optuna_sampler
from genesis.search.pareto import fronts, pareto_order


class TestDefaults(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """With no startup trials, so that the model is under test from the first trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(n_startup_trials=0, seed=1)


class TestIndependent(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Each parameter alone."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(n_startup_trials=0, multivariate=False, constant_liar=False, seed=1)


class TestGroups(BasicSamplerTestCase, RelativeSamplerTestCase):
    """Conditional spaces decomposed into groups."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(n_startup_trials=0, group=True, seed=1)


def _study(sampler: BaseSampler, **kwargs: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, **kwargs)


def _bowl(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    y = trial.suggest_float("y", 0.0, 1.0, step=0.1)
    n = trial.suggest_int("n", 1, 64, log=True)
    return (x - 0.3) ** 2 + (y - 0.6) ** 2 + abs(n - 8) / 64


@pytest.mark.parametrize("kwargs", [{}, {"multivariate": False}, {"group": True}, {"constant_liar": False}])
def test_the_same_seed_gives_the_same_study(kwargs: dict[str, Any]) -> None:
    """Two studies with one seed propose the same trials."""
    found = []
    for _ in range(2):
        study = _study(TPESampler(seed=4, **kwargs))
        study.optimize(_bowl, n_trials=40)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


def test_it_finds_the_middle_of_a_bowl() -> None:
    """Sixty trials come close on a float, a stepped float and a logarithmic int, with either direction."""
    for sign, direction in ((1.0, "minimize"), (-1.0, "maximize")):
        study = _study(TPESampler(seed=2), direction=direction)
        study.optimize(lambda trial, sign=sign: sign * _bowl(trial), n_trials=60)
        assert abs(study.best_value) < 0.1


def test_feasible_trials_come_first() -> None:
    """With the better half of the space infeasible, the search goes to the border of the feasible half."""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr("c", 0.5 - x)
        return x

    def constraints(trial: optuna.trial.FrozenTrial) -> list[float]:
        return [trial.user_attrs["c"]]

    study = _study(TPESampler(seed=3, constraints_func=constraints))
    study.optimize(objective, n_trials=80)
    late = [trial.params["x"] for trial in study.trials[40:]]
    assert np.mean([abs(x - 0.5) < 0.15 for x in late]) > 0.5
    assert min(x for x in late if x >= 0.5) < 0.52


def test_two_objectives_spread_along_the_front() -> None:
    """Minimising x² and (x - 2)², later trials are mostly on the front [0, 2] of [-10, 10], on both halves of it."""
    study = _study(TPESampler(seed=5), directions=["minimize", "minimize"])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", -10.0, 10.0)
        return x**2, (x - 2) ** 2

    study.optimize(objective, n_trials=150)
    late = np.array([trial.params["x"] for trial in study.trials[75:]])
    on_front = (late >= -0.3) & (late <= 2.3)
    assert on_front.mean() > 0.6
    assert (late[on_front] < 1).any()
    assert (late[on_front] > 1).any()


def test_pruned_failed_and_foreign_trials_are_taken_in() -> None:
    """Pruned, failed, NaN and added trials, and asks without a tell, leave the study able to go on."""
    study = _study(TPESampler(seed=6, n_startup_trials=5))
    study.add_trials(
        optuna.create_trial(
            params={"x": x}, distributions={"x": optuna.distributions.FloatDistribution(0.0, 1.0)}, value=x
        )
        for x in np.linspace(0, 1, 20).tolist()
    )
    for i in range(40):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
        if i % 8 == 1:
            trial.report(float(i), 1)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif i % 8 == 3:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif i % 8 != 5:  # those stay running
            study.tell(trial, trial.params["x"])
    assert study.best_value < 0.05
    study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
    history = study.sampler._history
    assert len(history.trials) == 20 + 30
    assert len(history.open) == 6


def test_a_sampler_survives_pickling() -> None:
    """A pickled sampler goes on with the study it is given."""
    study = _study(TPESampler(seed=7))
    study.optimize(_bowl, n_trials=15)
    study.sampler = pickle.loads(pickle.dumps(study.sampler))  # noqa: S301
    study.optimize(_bowl, n_trials=15)
    assert len(study.trials) == 30


def test_no_optuna_warning_reaches_the_user() -> None:
    """Arguments that Optuna calls experimental or deprecated are passed on in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        select_optuna_sampler("tpe", {"group": True, "gamma": lambda n: min(n, 5), "constraints_func": lambda _: [0.0]})
        for name in ("cmaes", "qmc", "nsga2", "nsga3", "random", "brute"):
            select_optuna_sampler(name, {}, seed=1)


def test_group_needs_multivariate() -> None:
    """A contradiction is refused."""
    with pytest.raises(ValueError, match="multivariate"):
        TPESampler(multivariate=False, group=True)


def test_fronts_and_crowding_by_hand() -> None:
    """Six points: three fronts, ends of a front first, then the lonelier one."""
    losses = np.array([[1.0, 5.0], [2.0, 2.0], [5.0, 1.0], [4.9, 1.2], [6.0, 6.0], [3.0, 3.0]])
    assert fronts(losses).tolist() == [0, 0, 0, 0, 2, 1]
    assert pareto_order(losses).tolist() == [0, 2, 1, 3, 5, 4]


def test_a_thread_that_lags_behind_counts_no_trial_twice() -> None:
    """Optuna caches trials per thread: a list shorter than one seen before takes nothing away and adds nothing."""
    sampler = TPESampler(seed=1)
    study = _study(sampler)
    study.optimize(_bowl, n_trials=4)
    study.ask()
    history = sampler._sync(study)
    whole = study._get_trials(deepcopy=False, use_cache=False)
    for seen in (whole[:2], whole[:4], whole):

        def lagging(*_: Any, seen: list[Any] = seen, **__: Any) -> list[Any]:
            return seen

        study._get_trials = lagging  # type: ignore[method-assign]
        history.sync(study)
        assert [trial.number for trial in history.trials] == [0, 1, 2, 3]
        assert list(history.open) == [4]
