"""Every sampler by name proposes points of the space, repeats itself, and stops when a finite space is used up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import genesis
from genesis.errors import ConfigError, MissingExtraError
from genesis.samplers import TPESampler
from genesis.search.proposals import rank_classes
from genesis.search.samplers import make_sampler, select_optuna_sampler, startup_trials
from genesis.search.space import Space

SPEC = {
    "kind": {"type": "categorical", "choices": ["a", "b"]},
    "x": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": "a"}},
    "fast": {"type": "int", "low": 1, "high": 100, "log": True},
    "slow": {"type": "int", "low": 0, "high": 1000},
    "stop": {"type": "float", "low": 0.001, "high": 1.0, "log": True},
    "step": {"type": "float", "low": 0.1, "high": 0.9, "step": 0.1},
}


def _space() -> Space:
    return Space.from_spec(SPEC, rules=["fast < slow"])


def _score(space: Space, vectors: np.ndarray) -> np.ndarray:
    at = {path: vectors[:, j] for j, path in enumerate(space.paths)}
    return -((np.nan_to_num(at["x"], nan=0.7) - 0.3) ** 2) - np.log(at["stop"] * 10) ** 2 - (at["step"] - 0.5) ** 2


def _run(name: str, space: Space, generations: int, *, size: int = 4) -> np.ndarray:
    sampler = make_sampler(name, {}, space, seed=11, concurrency=size, budget=1000)
    seen = []
    for generation in range(generations):
        proposals = sampler.ask(size, generation)
        vectors = proposals.vectors
        states = np.zeros(len(vectors), np.int8)
        sampler.tell(vectors, _score(space, vectors), np.zeros(len(vectors)), states, proposals.origins)
        seen.append(vectors)
    return np.concatenate(seen)


@pytest.mark.parametrize(
    "name", ["auto", "tpe", "random", "optuna-tpe", "cmaes", "qmc", "nsga2", "nsga3", "rustuna-tpe"]
)
def test_points_are_in_the_space_and_the_same_twice(name: str) -> None:
    """A sampler proposes allowed points on the grid, and the same ones for the same seed."""
    space = _space()
    first = _run(name, space, 10)
    assert np.array_equal(first, space.snap(first), equal_nan=True)
    assert space.allowed(first).all()
    assert np.array_equal(first, _run(name, space, 10), equal_nan=True)


@pytest.mark.parametrize("name", ["grid", "brute"])
def test_a_finite_space_is_walked_once(name: str) -> None:
    """Grid and brute propose every allowed point exactly once, whatever was told before, then nothing."""
    space = Space.from_spec(
        {"k": {"type": "categorical", "choices": ["a", "b"]}, "z": {"type": "int", "low": 0, "high": 6}}
    )
    sampler = make_sampler(name, {}, space, seed=3, concurrency=4, budget=100)
    known = np.array([[0.0, 3.0]])
    sampler.tell(known, np.zeros(1), np.zeros(1), np.zeros(1, np.int8), ["warm"])
    seen = [sampler.ask(4, g).vectors for g in range(5)]
    points = {tuple(v) for batch in seen for v in batch}
    assert len(points) == sum(len(batch) for batch in seen) == space.size - 1
    assert (0.0, 3.0) not in points


def test_a_grid_over_a_continuous_space_is_refused() -> None:
    """A grid needs a finite space and says what to do."""
    with pytest.raises(ConfigError, match="give every float a step"):
        make_sampler("grid", {}, _space(), seed=1, concurrency=1, budget=10)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """The error names the nearest sampler and all of them."""
    with pytest.raises(ConfigError, match="did you mean 'cmaes'") as caught:
        make_sampler("cmaess", {}, _space(), seed=1, concurrency=1, budget=10)
    assert "nsga2" in caught.value.message


def test_an_unknown_argument_is_refused() -> None:
    """Arguments are checked before a study starts."""
    with pytest.raises(ConfigError, match="n_candidates"):
        make_sampler("tpe", {"n_candidates": 3}, _space(), seed=1, concurrency=1, budget=10)
    with pytest.raises(ConfigError, match="n_candidates"):
        select_optuna_sampler("tpe", {"n_candidates": 3})


def test_one_at_a_time_has_more_kernels_unless_told_otherwise() -> None:
    """1,024 of them asked one at a time and in a plain Optuna study, 256 in generations and within the portfolio."""
    for name, concurrency, kernels in [("tpe", 1, 1_024), ("tpe", 2, 256), ("tpe", 8, 256), ("auto", 1, 256)]:
        sampler: Any = make_sampler(name, {}, _space(), seed=1, concurrency=concurrency, budget=10)
        assert sampler.options.bad_kernels == kernels
        sampler = make_sampler(name, {"bad_kernels": 77}, _space(), seed=1, concurrency=concurrency, budget=10)
        assert sampler.options.bad_kernels == 77
    assert TPESampler()._options.bad_kernels == 1_024


@pytest.mark.parametrize(("concurrency", "expected"), [(1, 25), (5, 25), (6, 30), (16, 80)])
def test_startup_trials_grow_with_concurrency(concurrency: int, expected: int) -> None:
    """Five per concurrent trial and at least 25, for Optuna's estimator too."""
    assert startup_trials(concurrency) == expected
    sampler = select_optuna_sampler("tpe", concurrency=concurrency, seed=1)
    assert sampler._n_startup_trials == expected
    assert sampler._n_ei_candidates == 48
    assert sampler._constant_liar is True
    assert sampler._multivariate is True


def test_results_are_ordered_feasible_pruned_infeasible_undefined_failed() -> None:
    """Each class of result ranks below the one before it, whatever its number says."""
    scores = np.array([np.nan, 5.0, 9.0, 1.0, 2.0, 99.0, 7.0])
    violations = np.array([0.0, 0.5, 0.1, 0.0, 0.0, 0.0, 0.0])
    states = np.array([0, 0, 0, 0, 0, 1, 2], np.int8)
    classes, losses = rank_classes(scores, violations, states)
    assert np.lexsort((losses, classes)).tolist() == [4, 3, 6, 2, 1, 0, 5]


def test_the_guides_selector_takes_no_name_any_case_and_a_grid() -> None:
    """`_select_optuna_sampler(None, None, 2)` is TPE with the guide's defaults; names are read in any case."""
    assert type(select_optuna_sampler(None, None, 2)).__name__ == "TPESampler"
    assert type(select_optuna_sampler("CmaES")).__name__ == "CmaEsSampler"
    assert type(select_optuna_sampler("grid", {"search_space": {"x": [1, 2]}})).__name__ == "GridSampler"
    with pytest.raises(ConfigError, match="search_space"):
        select_optuna_sampler("grid")


def test_an_argument_that_an_optuna_sampler_only_minds_when_it_proposes_is_refused_in_words():
    """Optuna takes `sigma0="big"` and breaks at the first model; the message names the sampler and the argument."""
    space = Space.from_spec({"x": {"type": "float", "low": 0, "high": 1}, "y": {"type": "float", "low": 0, "high": 1}})
    sampler = make_sampler("cmaes", {"sigma0": "big", "n_startup_trials": 1}, space, seed=1, concurrency=2, budget=10)
    first = sampler.ask(2, 0)
    sampler.tell(first.vectors, np.zeros(2), np.zeros(2), np.zeros(2, np.int8), first.origins)
    with pytest.raises(ConfigError, match=r"sampler cmaes: cannot propose with sigma0='big'"):
        sampler.ask(2, 1)


def test_a_sampler_whose_package_is_missing_says_which_before_the_run(monkeypatch):
    """Optuna's Gaussian process wants PyTorch at its first proposal only; the message comes at once, with the line."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'gp' needs the package torch: pip install torch"):
        select_optuna_sampler("gp")


def test_the_gaussian_process_proposes(tmp_path):
    """A short run with `gp` proposes points of the space, none twice."""
    pytest.importorskip("torch", reason="type: pip install torch")
    study = {
        "evaluate": lambda params: {"loss": params["x"] ** 2 + params["n"]},
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": {"x": {"type": "float", "low": -5.0, "high": 5.0}, "n": {"type": "int", "low": 0, "high": 9}},
        "run": {"run_id": "gp", "max_trials": 16, "max_concurrent": 2, "seed": 1, "sampler": "gp"},
    }
    run = genesis.optimize(study, workers=0, runs_dir=tmp_path)
    assert run.states()["complete"] == 16
