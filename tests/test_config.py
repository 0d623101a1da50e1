"""A study is read whole: every problem by its path, one precedence of settings, one signature of what decides."""

from __future__ import annotations

import copy
import datetime as dt
import importlib.util
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genesis.sections
from genesis.config import StudyConfig, concurrency_for, load_study
from genesis.errors import ConfigError
from genesis.search.pruners import PRUNERS as PRUNERS_MADE
from genesis.search.samplers import SAMPLERS as SAMPLERS_MADE
from genesis.search.space import Space
from genesis.sections import PRUNERS, SAMPLERS, Section
from genesis.study_raw import set_path
from genesis.study_yaml import dump_yaml, parse_yaml
from genesis.types import Costs, Execution

ROOT = Path(__file__).parents[1]

FLOAT, INT = {"type": "float", "low": 0.0, "high": 1.0}, {"type": "int", "low": 1, "high": 10}

BASE: dict[str, Any] = {
    "data": {"source": "sample:IBM", "timeframe": "1d", "start": "2003-01-01", "end": "2010-12-31", "warmup_bars": 50},
    "holdout": {"start": "2011-01-01", "end": "2012-12-31"},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 10, "slippage_bps": 5},
    "objective": "sharpe",
    "constraints": {"min_trades": 30, "max_drawdown": 0.35},
    "parameters": {"fast": {"type": "int", "low": 5, "high": 20}, "slow": {"type": "int", "low": 10, "high": 50}},
    "rules": ["fast < slow"],
    "run": {"run_id": "ibm", "max_trials": 200, "max_concurrent": 8, "sampler": "tpe"},
}


def changed(**paths: Any) -> dict[str, Any]:
    """The base study with values replaced by path (`__` for a dot); `...` removes."""
    study = copy.deepcopy(BASE)
    for path, value in paths.items():
        *above, leaf = path.split("__")
        at = study
        for part in above:
            at = at[part]
        if value is ...:
            del at[leaf]
        else:
            at[leaf] = value
    return study


def load(study: Any = BASE, **given: Any) -> StudyConfig:
    return load_study(study, **{"env": {}, **given})


def problems(study: Any, **given: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(study, **given)
    found: list[str] = caught.value.details["problems"]
    assert all(one.split(":")[0] in str(caught.value) for one in found)
    return found


def test_a_study_arrives_in_the_types_that_run_it() -> None:
    study = load()
    assert study.costs == Costs(fee_bps=10, slippage_bps=5)
    assert study.execution == Execution()
    assert study.data is not None
    assert (study.data.start, study.concurrency, study.run.sampler.type) == ("2003-01-01", 8, "tpe")
    assert study.space == Space.from_spec(BASE["parameters"], rules=BASE["rules"])
    assert study.notes == ()


def test_the_mapping_given_is_not_changed() -> None:
    before = copy.deepcopy(BASE)
    load(BASE, flags={"max_trials": 5, "run.sampler.type": "random"})
    assert before == BASE


@pytest.mark.parametrize(
    ("study", "says"),
    [
        (changed(data__timeframe="1dd"), "data.timeframe: '1dd' is not a timeframe; write a number and"),
        (changed(data__timeframe=60), "data.timeframe: 60 is not a timeframe; write a number and s, m, h, d, w or M"),
        (changed(data__timeframe="2 hours"), "such as timeframe: 2h"),
        (changed(data__timeframe=["daily"]), "such as timeframe: 1d"),
        (changed(data__source=dt.date(2000, 1, 1)), "data.source: the date 2000-01-01 is not text"),
        (changed(data__start="yesterday"), "data.start: 'yesterday' is not a date; write it as 2010-12-31"),
        (changed(data__start=20030101), "data.start: 20030101 is not a date"),
        (changed(data__start="2011-01-01"), "data.end: 2010-12-31 is before data.start 2011-01-01; swap them"),
        (changed(data__warmup_bars=-1), "data.warmup_bars: -1 is not 0 or more; write warmup_bars: 150"),
        (changed(data__warmup_bars=True), "data.warmup_bars: True is not a whole number"),
        (changed(data__source=""), "data.source: '' is not text of at least one character"),
        (changed(data__sorce="x"), "data.sorce: is not a key here (did you mean 'source'?)"),
        (changed(data=...), "data: is missing; a strategy needs bars"),
        (changed(holdout__start="2010-12-31"), "holdout.start: 2010-12-31 is not after data.end 2010-12-31"),
        (changed(data__end=...), "holdout.start: 2011-01-01 lies in the data, which have no end; write data.end"),
        (changed(costs=...), "costs: is missing, and costs change every score; write costs: {fee_bps: 10"),
        (changed(costs={"fee_bps": 1}), "costs.slippage_bps: is missing; write slippage_bps: 5"),
        (changed(costs__fee_bps="10"), "costs.fee_bps: '10' is not a number; write fee_bps: 10"),
        (changed(costs__fee_bps="10"), "write fee_bps: 10, without quotes"),
        (changed(costs__fee_bps="0.1 %"), "costs.fee_bps: '0.1 %' is not a number; write fee_bps: 10, for 0.1 %"),
        (changed(run__allow_resume="no"), "'no' is not true or false; write allow_resume: false, without quotes"),
        (changed(costs__fee_bps=-1), "costs.fee_bps: -1 is not 0 or more"),
        (changed(costs__fee_bps=float("nan")), "costs.fee_bps: nan is not a finite number"),
        (changed(costs=3), "costs: 3 is not a mapping; write costs: {fee_bps: 10, slippage_bps: 5}"),
        (changed(execution={"fill": "now"}), "execution.fill: 'now' is not one of 'next_open' or 'same_close'"),
        (changed(objective=...), "objective: is missing; write objective: sharpe"),
        (changed(objective="sharp"), "objective: 'sharp' is no metric (did you mean 'sharpe'?)"),
        (changed(objective={"sharpe": 1.0, "drawdown": -1.0}), "objective: 'drawdown' is no metric"),
        (changed(objective={"sharpe": 1.0, "max_drawdown": 0.5}), "and less is better; write max_drawdown: -0.5"),
        (changed(objective={"max_drawdown": 1.0}), "write {metric: max_drawdown, direction: minimize}"),
        (changed(objective={"metric": "sharpe", "direction": "up"}), "objective.direction: 'up' is unknown"),
        (changed(objective=[1]), "objective: [1] names no metric"),
        (changed(constraints={"trades": 3}), "constraints.trades: begins with neither min_ nor max_"),
        (changed(constraints={"min_trade": 3}), "'trade' is no metric (did you mean 'min_trades'?)"),
        (changed(constraints={"min_trades": "3"}), "constraints.min_trades: '3' is not a finite number"),
        (changed(constraints={"max_drawdown": 35}), "is a fraction; write max_drawdown: 0.35 for 35 %"),
        (
            changed(constraints={"min_trades": 9, "max_trades": 5}),
            "min_trades: 9 is above max_trades 5, so no trial",
        ),
        (changed(constraints=3), "constraints: 3 is not a mapping"),
        (changed(strategy=...), "strategy: is missing; write strategy: sma_cross"),
        (changed(evaluate="a:b"), "evaluate: excludes strategy; keep one of strategy, evaluate"),
        (changed(strategy=7), "strategy: 7 is not a reference; write strategy: sma_cross"),
        (changed(parameters__fast={"type": "flot"}), "parameters.fast: type='flot' is unknown (did you mean 'float'?)"),
        (changed(parameters__slwo=INT), "parameters.slwo: sma_cross has no parameter 'slwo' (did you mean 'slow'?)"),
        (
            changed(parameters__fast={"type": "int", "low": 0, "high": 9}),
            "parameters.fast: 0 is not allowed; give a whole",
        ),
        (changed(parameters__side="up"), "parameters.side: 'up' is not allowed; give one of both, long, short"),
        (changed(parameters={}, rules=["fast < slow"]), "parameters: is empty; write parameters: {fast: {type: int"),
        (changed(parameters=[1]), "parameters: [1] is not a mapping"),
        (changed(rules=["fast < slo"]), "rules: 'fast < slo' reads slo, which no parameter has (did you mean 'slow'?)"),
        (
            changed(rules=["fast < slow", "fast == 'x' + 1"]),
            "rules: \"fast == 'x' + 1\" computes with values that are not",
        ),
        (changed(rules=["1 + " * 300]), "rules: an expression has 1200 characters"),
        (changed(rules="fast < slow"), "is not a list of expressions; write rules: ['fast < slow']"),
        (changed(run__max_trials=...), "run.max_trials: is missing; say how many trials"),
        (changed(run__max_trials=2000.0), "run.max_trials: 2000.0 is not a whole number; write max_trials: 2000"),
        (changed(run__max_trials="2000"), "run.max_trials: '2000' is not a whole number"),
        (changed(run__max_trials=0), "run.max_trials: 0 is not 1 or more"),
        (changed(run__max_concurrent="many"), "run.max_concurrent: 'many' is not auto or a whole number from 1 to"),
        (changed(run__max_concurrent=True), "run.max_concurrent: True is not auto or a whole number"),
        (changed(run__seed=2**32), "run.seed: 4294967296 is not 4294967295 or less"),
        (changed(run__run_id=7), "run.run_id: 7 is not text; write run_id: '7', with the quotes"),
        (changed(run__run_id=dt.date(2000, 1, 1)), "the date 2000-01-01 is not text; write run_id: '2000-01-01', with"),
        (changed(run__run_id="ibm/first try"), "the first a letter or digit; write run_id: ibm-first-try"),
        (changed(run__run_id="../x"), "run.run_id: '../x' is not a name of at most 100 letters"),
        (changed(run__run_id="x" * 101), "is not a name of at most 100 letters"),
        (changed(run__sampler="tpee"), "run.sampler.type: 'tpee' is unknown (did you mean 'tpe'?)"),
        (changed(run__sampler={"type": "tpe", "kwarg": {}}), "run.sampler.kwarg: is not a key here (did you mean"),
        (changed(run__pruner="medain"), "run.pruner.type: 'medain' is unknown (did you mean 'median'?)"),
        (changed(run__strategy="grid"), "run.sampler.type: 'tpe' excludes run.strategy: grid"),
        (changed(run__trial_seconds=0), "run.trial_seconds: 0 is not above 0"),
        (changed(run__enqueue=[{"fast": 3, "slow": 10}]), "run.enqueue[0].fast: 3 is outside [5, 20]; use 5"),
        (changed(run__enqueue=[{"fast": 12, "slow": 11}]), "run.enqueue[0]: breaks the rule 'fast < slow'"),
        (changed(run=[1]), "run: [1] is not a mapping"),
        ({**BASE, "max_trials": 5}, "max_trials: is not a key here (it belongs under run)"),
        ({**BASE, "contraints": {}}, "contraints: is not a key here (did you mean 'constraints'?)"),
        ({**BASE, 5: 1}, "is not a key here; keys are text"),
    ],
)
def test_a_study_that_cannot_run_is_refused_by_path_with_the_edit(study: Any, says: str) -> None:
    assert [one for one in problems(study) if says in one] != []


def test_every_problem_is_named_at_once() -> None:
    study = changed(data__timeframe="x", costs=..., objective="sharp", run__max_trials=0, constraints={"min_x": 1})
    study["parameters"]["fast"]["type"] = "innt"
    assert sorted(one.split(":")[0] for one in problems(study)) == [
        "constraints.min_x", "costs", "data.timeframe", "objective", "parameters.fast", "run.max_trials",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["evaluate", "command"])
def test_a_study_without_a_strategy_names_its_own_metrics_and_has_no_costs(kind: str) -> None:
    target = "my.module:function" if kind == "evaluate" else ["python", "trial.py"]
    study = {kind: target, "objective": {"metric": "loss", "direction": "minimize"}, "constraints": {"max_seconds": 3}}
    study |= {"parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}}, "run": {"max_trials": 9}}
    assert load(study).costs is None
    assert load(load(study).to_dict()) == load(study)
    assert [
        one for one in problems({**study, "costs": BASE["costs"]}) if f"costs: belongs to a strategy; {kind}" in one
    ]


def test_a_callable_from_python_is_kept_and_named_in_the_signature() -> None:
    study = load({"evaluate": changed, "objective": "x", "parameters": {"x": 1}, "run": {"max_trials": 1}})
    assert study.evaluate is changed
    assert study.signature()["evaluate"].endswith("test_config:changed")
    assert load(study, flags={"max_trials": 2}).evaluate is changed


def test_dates_come_as_text_dates_or_moments() -> None:
    study = changed(data__start=dt.date(2003, 1, 1), data__end=dt.datetime(2010, 12, 31, 16, 0, tzinfo=dt.UTC))
    data = load(study).data
    assert data is not None
    assert (data.start, data.end) == ("2003-01-01", "2010-12-31T16:00:00+00:00")


def test_a_holdout_may_lie_before_the_data() -> None:
    load(changed(holdout={"start": "2001-01-01", "end": "2002-12-31"}))
    found = problems(changed(holdout={"start": "2001-01-01", "end": "2003-01-01"}))
    assert "holdout.start: 2001-01-01 is not after data.end" in found[0]


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default() -> None:
    env = {"GENESIS_MAX_CONCURRENT": "4", "GENESIS_RANDOM_SEED": "7"}
    assert (load().run.seed, load().concurrency) == (42, 8)
    study = load(env=env)
    assert (study.run.seed, study.concurrency) == (7, 4)
    assert "run.max_concurrent: 4 from GENESIS_MAX_CONCURRENT (the file says 8)" in study.notes
    flagged = load(env=env, flags={"max_concurrent": 2, "run.seed": 1, "max_trials": None})
    assert (flagged.run.seed, flagged.concurrency, flagged.run.max_trials) == (1, 2, 200)
    assert load(flags={"sampler": "random"}).run.sampler.type == "random"
    assert load(flags={"run.sampler.type": "random"}).run.sampler.type == "random"
    assert load(flags={"objective": "sortino"}).objective == "sortino"


def test_the_process_environment_is_read_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENESIS_RANDOM_SEED", "99")
    assert load_study(BASE).run.seed == 99
    assert load_study(BASE, env={}).run.seed == 42
    monkeypatch.setenv("GENESIS_RANDOM_SEED", "minus one")
    with pytest.raises(ConfigError, match="GENESIS_RANDOM_SEED: 'minus one' is not"):
        load_study(BASE)


@pytest.mark.parametrize(("max_trials", "sampler"), [(1, "tpe"), (500, "tpe"), (501, "auto"), (100_000, "auto")])
def test_a_study_that_names_no_sampler_gets_one_by_its_budget_and_is_told(max_trials: int, sampler: str) -> None:
    study = load(changed(run__sampler=..., run__max_trials=max_trials))
    assert study.run.sampler.type == sampler
    assert any(note.startswith(f"run.sampler.type: {sampler}, chosen for") for note in study.notes)


@pytest.mark.parametrize(
    ("spec", "concurrency", "kind"),
    [
        ({"a": INT}, 2, "discrete"),
        ({f"p{i}": INT for i in range(4)}, 3, "discrete"),
        ({f"p{i}": INT for i in range(7)}, 4, "discrete"),
        ({"a": FLOAT}, 4, "continuous"),
        ({"a": FLOAT, **{f"p{i}": INT for i in range(5)}}, 6, "continuous"),
        ({f"p{i}": FLOAT for i in range(9)}, 8, "continuous"),
        ({f"p{i}": INT for i in range(16)}, 16, "very large"),
        ({f"p{i}": FLOAT for i in range(21)}, 16, "very large"),
    ],
)
def test_auto_concurrency_goes_by_the_kind_of_space_and_says_so(spec: Any, concurrency: int, kind: str) -> None:
    assert concurrency_for(Space.from_spec(spec))[0] == concurrency
    study = load(changed(strategy="my:Own", parameters=spec, rules=[], run__max_concurrent="auto"))
    assert study.concurrency == concurrency
    assert any(f"run.max_concurrent: {concurrency}, chosen for a {kind} space" in note for note in study.notes)


def test_a_grid_needs_no_budget_and_a_finite_space() -> None:
    run = {"run_id": "g", "strategy": "grid"}
    assert load(changed(run=run)).run.sampler.type == "grid"
    found = problems(changed(strategy="my:Own", run=run, parameters={"x": FLOAT}, rules=[]))
    assert found == ["parameters: grid needs a finite space, and x is continuous; give it a step"]


def test_parameters_left_out_are_those_the_strategy_declares() -> None:
    study = load(changed(parameters=..., rules=...))
    assert set(study.space.paths) == {"fast", "slow"}
    assert "parameters: the space that sma_cross declares" in study.notes
    assert load(study.to_dict()) == study


def test_a_study_goes_to_yaml_and_back_unchanged() -> None:
    study = load(changed(run__enqueue=[{"fast": 5, "slow": 10}], run__target_score=1e-5))
    assert load(parse_yaml(study.to_yaml())) == study
    assert load(study.to_dict()) == study
    assert load(study) is study
    assert pickle.loads(pickle.dumps(study)) == study  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"data__end": "2009-12-31"}, "data"),
        ({"costs__fee_bps": 11}, "costs"),
        ({"execution": {"fill": "same_close"}}, "execution"),
        ({"objective": "sortino"}, "objective"),
        ({"constraints": {}}, "constraints"),
        ({"rules": []}, "space"),
        ({"parameters__fast__high": 21}, "space"),
        ({"strategy": "my:Own"}, "strategy"),
        ({"run__seed": 1}, "seed"),
        ({"run__sampler": "random"}, "sampler"),
        ({"run__pruner": "median"}, "pruner"),
        ({"run__max_concurrent": 7}, "max_concurrent"),
        ({"run__lag": 2}, "lag"),
        ({"run__mode": "async"}, "mode"),
        ({"run__enqueue": [{"fast": 5, "slow": 20}]}, "enqueue"),
        ({"run__warm_start": "runs/x"}, "warm_start"),
    ],
)
def test_what_decides_the_outcome_is_in_the_signature_under_its_name(change: dict[str, Any], part: str) -> None:
    before, after = load().signature(), load(changed(**change)).signature()
    assert [name for name in before if before[name] != after[name]] == [part]


@pytest.mark.parametrize(
    "change",
    [
        {"run__max_trials": 900}, {"run__timeout_seconds": 5}, {"run__target_score": 1}, {"run__patience": 3},
        {"run__max_failures": 1}, {"run__run_id": "other"}, {"run__allow_resume": False}, {"holdout": ...},
        {"parameters": dict(reversed(BASE["parameters"].items()))}, {"costs__fee_bps": 10.0},
    ],
)  # fmt: skip
def test_a_budget_a_name_or_the_order_of_keys_is_not(change: dict[str, Any]) -> None:
    assert load(changed(**change)).signature() == load().signature()


def test_a_resumed_run_keeps_what_was_decided_when_it_began() -> None:
    first = load(changed(run__sampler=..., run__max_concurrent="auto"))
    longer = load(changed(run__sampler=..., run__max_concurrent="auto", run__max_trials=5_000))
    assert longer.run.sampler.type == "auto"
    again = longer.adopting(first.to_dict())
    assert again.signature() == first.signature()
    assert again.run.max_trials == 5_000
    explicit = load(changed(run__sampler="auto"))
    assert explicit.adopting(first.to_dict()) == explicit


def test_files_named_in_a_study_are_looked_for_beside_it_and_may_move(tmp_path: Path) -> None:
    def write(folder: Path) -> Path:
        folder.mkdir()
        (folder / "bars.csv").write_text("x", encoding="utf-8")
        (folder / "mine.py").write_text("x = 1", encoding="utf-8")
        study = changed(data__source="bars.csv", strategy="./mine.py:Mine", run__run_id=...)
        (folder / "my study!.yaml").write_text(dump_yaml(study), encoding="utf-8")
        return folder / "my study!.yaml"

    first, second = load(write(tmp_path / "a")), load(str(write(tmp_path / "b")))
    assert first.data is not None
    assert first.data.source == str(tmp_path / "a" / "bars.csv")
    assert first.strategy == f"{tmp_path / 'a' / 'mine.py'}:Mine"
    assert first.signature() == second.signature()
    assert first.run.run_id == "my-study"


def test_a_run_without_a_name_is_named_by_its_study() -> None:
    study = load(changed(run__run_id=...))
    assert study.run.run_id.startswith("sma_cross-")
    assert load(changed(run__run_id=..., run__max_trials=9)).run.run_id == study.run.run_id
    assert load(changed(run__run_id=..., run__seed=9)).run.run_id != study.run.run_id


def test_the_samplers_a_study_may_name_are_those_that_are_made() -> None:
    assert set(SAMPLERS) == set(SAMPLERS_MADE)


def test_the_pruners_a_study_may_name_are_those_that_are_made() -> None:
    assert set(PRUNERS) == set(PRUNERS_MADE)


@pytest.mark.parametrize("source", [5, None, ["a"]])
def test_what_is_no_study_is_refused(source: Any) -> None:
    with pytest.raises(ConfigError, match="is not a study"):
        load(source)


@pytest.mark.parametrize(
    "path", ["execution", "constraints", "rules", "data.warmup_bars", "costs.fee_fixed", "run.sampler", "run.pruner",
             "run.enqueue", "run.sampler.kwargs", "run.pruner.type", "run.lag", "run.run_id"],
)  # fmt: skip
def test_a_key_left_empty_counts_as_left_out(path: str) -> None:
    study, without = changed(), changed()
    study["run"].update(sampler={"type": "tpe"}, pruner={})
    without["run"].update(sampler={"type": "tpe"}, pruner={})
    set_path(study, path, None)
    parts = path.split(".")
    at = without
    for part in parts[:-1]:
        at = at[part]
    at.pop(parts[-1], None)
    assert load(study) == load(without)


def test_numpy_values_and_paths_from_python_are_plain(tmp_path: Path) -> None:
    spec = {
        "a": {"type": "int", "low": np.int64(1), "high": np.int64(5)},
        "b": {"type": "grid", "values": np.arange(3)},
    }
    study = load(
        changed(
            strategy="my:Own", parameters=spec, rules=[], run__max_trials=np.int64(7), data__source=tmp_path / "x.csv"
        )
    )
    assert (study.run.max_trials, study.space.size) == (7, 15)
    assert load(parse_yaml(study.to_yaml())) == study
    assert Space.from_spec(spec) == study.space


def test_a_study_that_contains_itself_is_refused() -> None:
    study = changed()
    study["parameters"]["loop"] = study["parameters"]
    with pytest.raises(ConfigError, match="contains itself"):
        load(study)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_load_and_read_back(path: Path) -> None:
    study = load(path)
    assert load(parse_yaml(study.to_yaml())) == study
    assert study.space.size is None or study.space.size > 500 or study.run.strategy == "grid"


def test_the_reference_page_is_what_the_models_say() -> None:
    spec = importlib.util.spec_from_file_location("study_reference", ROOT / "scripts" / "study_reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = reference.PAGE.read_text(encoding="utf-8")
    assert reference.render(page) == page, "run python scripts/study_reference.py"
    for model in reference.SECTIONS.values():
        for name, info in model.model_fields.items():
            assert info.description, name
            assert info.examples, name
    sections = [one for one in vars(genesis.sections).values() if inspect.isclass(one) and issubclass(one, Section)]
    assert set(sections) - {Section} == set(reference.SECTIONS.values())
    for name in (*SAMPLERS, *PRUNERS):
        assert f"`{name}`" in page


def test_every_study_on_the_page_loads() -> None:
    page = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 3
    assert load(parse_yaml(blocks[0])).space.size == 46 * 37
    assert Space.from_spec(parse_yaml(blocks[1])).size == 32


@pytest.mark.parametrize("path", ["constraints__min_trades", "parameters__fast__low", "parameters__fast", "objective"])
def test_a_number_too_large_for_a_float_is_refused_by_its_path(path):
    """An integer of 400 digits is a problem of the study, not an OverflowError."""
    value = {"sharpe": 10**400} if path == "objective" else 10**400
    with pytest.raises(ConfigError, match=path.split("__")[-1]):
        load_study(changed(**{path: value}))


@pytest.mark.parametrize("rules", [[[]], [None], [1], (1,)])
def test_rules_that_are_not_text_are_refused(rules):
    """A rule that YAML read as a number, a list or nothing is named, whatever else is checked."""
    with pytest.raises(ConfigError, match="is not a list of expressions"):
        load_study(changed(rules=rules))


@pytest.mark.parametrize("path", ["max_trails", "run__max_trails", "run__sampler", "execution"])
def test_a_misspelt_key_is_refused_even_if_it_is_empty(path):
    """`max_trails:` without a value is as much a typing error as with one; only known keys count as left out."""
    value = {"kind": None} if path in ("run__sampler", "execution") else None
    with pytest.raises(ConfigError, match="is not a key here"):
        load_study(changed(**{path: value}))
