"""A study in the older layout runs, and everything guessed, adjusted or without a place is said."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from genesis.config import StudyConfig, load_study
from genesis.errors import ConfigError
from genesis.study_yaml import dump_yaml

OLDER: dict[str, Any] = {
    "meta": {
        "symbol": "IBM",
        "timeframe": "1d",
        "warmup_bars": 150,
        "runs": {
            "run_id": "old",
            "strategy": "optuna",
            "max_trials": 100,
            "max_concurrent": 2,
            "resume": False,
            "sample_start": "2003-01-01",
            "sample_end": "2008-12-31",
            "optuna": {
                "sampler": {"type": "TPESampler", "kwargs": {"multivariate": True}},
                "pruner": {"type": "none"},
                "timeout_seconds": 600,
                "bootstrap_random_trials": 30,
                "bootstrap_seed": 7,
            },
            "validation": {"enabled": True, "sample_start": "2009-01-01", "sample_end": "2010-12-31", "top_n": 5},
        },
    },
    "constraints": {"min_trades": 10},
    "parameters": {
        "thresholds": {"entry_conf_overall": {"type": "float", "low": 0.25, "high": 0.45, "step": 0.01}},
        "exit": {
            "opposite": {"type": "fixed", "value": "exit"},
            "max_hold_bars": {"type": "int", "low": 5, "high": 60},
        },
    },
}


def load(study: Any = OLDER) -> StudyConfig:
    return load_study(study, env={})


def changed(path: str, value: Any) -> dict[str, Any]:
    study = copy.deepcopy(OLDER)
    *above, leaf = path.split(".")
    at = study
    for part in above:
        at = at[part]
    if value is ...:
        del at[leaf]
    else:
        at[leaf] = value
    return study


def test_every_key_that_has_a_place_gets_there() -> None:
    study = load()
    assert study.data is not None
    assert study.data.model_dump() == {
        "source": "sample:IBM", "timeframe": "1d", "start": "2003-01-01", "end": "2008-12-31", "warmup_bars": 150,
    }  # fmt: skip
    assert study.holdout is not None
    assert study.holdout.model_dump() == {"start": "2009-01-01", "end": "2010-12-31", "top_n": 5}
    run = study.run
    assert (run.run_id, run.strategy, run.max_trials, run.max_concurrent) == ("old", "optuna", 100, 2)
    assert (run.allow_resume, run.timeout_seconds, run.seed, run.pruner.type) == (False, 600.0, 7, "none")
    assert (run.sampler.type, run.sampler.kwargs) == ("tpe", {"multivariate": True, "n_startup_trials": 30})
    assert study.constraints == {"min_trades": 10}
    assert study.space.paths == ("exit.max_hold_bars", "thresholds.entry_conf_overall")
    assert study.space.fixed == {"exit.opposite": "exit"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("NopPruner", "none"),
        ({"name": "MedianPruner"}, "median"),
        ("SuccessiveHalvingPruner", "successive_halving"),
        ({"type": "hyperband", "kwargs": {"min_resource": 1}}, "hyperband"),
    ],
)
def test_a_pruner_keeps_its_name(given: Any, name: str) -> None:
    assert load(changed("meta.runs.optuna.pruner", given)).run.pruner.type == name


def test_what_the_layout_does_not_say_is_assumed_aloud() -> None:
    study = load()
    assert study.strategy == "fibonacci"
    assert study.objective == "sharpe"
    assert study.costs is not None
    assert (study.costs.fee_bps, study.costs.slippage_bps) == (20.0, 5.0)
    said = [note.split(":")[0] for note in study.notes]
    assert {"strategy", "costs", "objective", "data.source"} <= set(said)


def test_keys_of_today_beside_meta_win_without_a_note() -> None:
    study = copy.deepcopy(OLDER) | {
        "strategy": "sma_cross",
        "costs": {"fee_bps": 1, "slippage_bps": 2},
        "objective": "sortino",
    }
    study["parameters"] = {"fast": {"type": "int", "low": 5, "high": 9}}
    study["run"] = {"seed": 3}
    found = load(study)
    assert (found.strategy, found.objective, found.run.seed, found.run.max_trials) == ("sma_cross", "sortino", 3, 100)
    assert not {"strategy", "costs", "objective"} & {note.split(":")[0] for note in found.notes}


@pytest.mark.parametrize(
    ("path", "value", "note"),
    [
        ("meta.snapshot_id", "s1", "meta.snapshot_id: 's1' has no place here and is not used"),
        ("meta.runs.promotion", {"a": 1}, "meta.runs.promotion: {'a': 1} has no place here"),
        ("meta.runs.optuna.storage", "sqlite:///x", "meta.runs.optuna.storage: 'sqlite:///x' has no place"),
        ("meta.runs.validation.constraints", {"min_trades": 5}, "meta.runs.validation.constraints: "),
        ("meta.runs.validation.sample_start", ..., "meta.runs.validation: has no sample_start"),
        ("meta.runs.strategy", "bayes", "meta.runs.strategy: 'bayes' has no place here; optuna is used"),
        ("meta.runs.strategy", "random", "meta.runs.strategy: random is the sampler random here"),
        ("meta.runs.optuna.sampler", "annealing", "meta.runs.optuna.sampler: 'annealing' is unknown here; tpe is used"),
        (
            "meta.runs.optuna.pruner",
            {"type": "Magic"},
            "meta.runs.optuna.pruner: 'magic' is unknown here; none is used",
        ),
        ("meta.runs.optuna.sampler", "cmaes", "bootstrap_random_trials: 30 has no place with this sampler"),
        ("meta.runs.seed", 5, "meta.runs.optuna.bootstrap_seed: is not used; run.seed decides every trial"),
        ("meta.runs.use_sample_range", False, "meta.runs.sample_start: is not used, since use_sample_range is false"),
        ("constraints.include_scoring_failures", False, "constraints.include_scoring_failures: False has no place"),
        ("constraints.min_score", 1.0, "constraints.min_score: 1.0 has no place"),
        ("meta.runs.optuna.direction", "minimize", "meta.runs.optuna.direction: 'minimize' has no place here"),
        ("meta.runs.optuna.study_name", "x", "meta.runs.optuna.study_name: 'x' is not used as run.run_id"),
        ("parameters.exit.enabled", True, "parameters: fibonacci has no exit.enabled; not used"),
        ("meta.symbol", "tBTCUSD", "data.source: no bars were found for the symbol tBTCUSD; genesis data import FILE"),
        (
            "parameters.thresholds.entry_conf_overall.step",
            0.03,
            "parameters.thresholds.entry_conf_overall: step=0.03 does not divide [0.25, 0.45]: high lowered to 0.43",
        ),
        ("parameters.exit.max_hold_bars.low", 5.0, "parameters.exit.max_hold_bars: low=5.0 was read as 5"),
        (
            "parameters.exit.max_hold_bars.low",
            60,
            "parameters.exit.max_hold_bars: low and high are both 60: fixed to it",
        ),
    ],
)
def test_what_has_no_place_or_needs_adjusting_is_noted(path: str, value: Any, note: str) -> None:
    study = changed(path, value)
    if path in ("meta.runs.use_sample_range", "meta.runs.validation.sample_start"):
        del study["meta"]["runs"]["validation"]
        if path.startswith("meta.runs.validation"):
            study["meta"]["runs"]["validation"] = {"enabled": True}
    found = load(study)
    assert [one for one in found.notes if note in one]
    assert load(found.to_dict()) == found


def test_a_parameter_that_hangs_on_one_the_strategy_has_not_goes_with_it() -> None:
    study = changed("parameters.mystery", {"type": "grid", "values": ["a", "b"]})
    study["parameters"]["exit"]["max_hold_bars"]["when"] = {"mystery": "a"}
    found = load(study)
    assert found.space.paths == ("thresholds.entry_conf_overall",)
    assert "parameters: fibonacci has no exit.max_hold_bars, mystery; not used" in found.notes


def test_the_study_name_of_optuna_names_the_run() -> None:
    study = changed("meta.runs.optuna.study_name", "btc-1h")
    del study["meta"]["runs"]["run_id"]
    assert load(study).run.run_id == "btc-1h"


def test_a_strategy_of_ones_own_keeps_every_parameter() -> None:
    study = changed("parameters.mystery", {"type": "grid", "values": ["a", "b"]}) | {"strategy": "my:Own"}
    assert "mystery" in load(study).space.paths


def test_an_adjusted_space_is_the_one_that_is_kept() -> None:
    study = load(changed("parameters.thresholds.entry_conf_overall.step", 0.03))
    assert study.space.column("thresholds.entry_conf_overall").high == 0.43
    assert parameters_of(load(study.to_dict())) == parameters_of(study)


def parameters_of(study: StudyConfig) -> dict[str, Any]:
    return study.space.signature()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("meta", [1], r"meta: \[1\] is not a mapping"),
        ("meta.runs.optuna", "tpe", "meta.runs.optuna: 'tpe' is not a mapping"),
        ("meta.symbol", ..., "meta.symbol: None names no market; write symbol: tBTCUSD"),
        ("meta.timeframe", "1dd", "data.timeframe: '1dd' is not a timeframe"),
        ("meta.runs.max_trials", "many", "run.max_trials: 'many' is not a whole number"),
        ("parameters.exit.max_hold_bars.type", "itn", "parameters.exit.max_hold_bars: type='itn' is unknown"),
        ("parametres", {"a": 1}, None),
    ],
)
def test_what_is_wrong_is_refused_or_said(path: str, value: Any, says: str | None) -> None:
    study = changed(path, value)
    if says is None:
        assert "parametres: {'a': 1} has no place here and is not used" in load(study).notes
        return
    with pytest.raises(ConfigError, match=says):
        load(study)


@pytest.mark.parametrize("name", ["tBTCUSD_1d.csv", "data/tBTCUSD_1d.parquet", "tBTCUSD.feather"])
def test_the_bars_of_a_symbol_are_found_beside_the_study(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "study.yaml").write_text(dump_yaml(changed("meta.symbol", "tBTCUSD")), encoding="utf-8")
    study = load(tmp_path / "study.yaml")
    assert study.data is not None
    assert study.data.source == str(tmp_path / name)
    assert any(str(tmp_path / name) in note for note in study.notes)
