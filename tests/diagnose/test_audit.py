"""The audit: each fault is found with the edit that mends it, and a sound study is left in peace."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis.config import load_study
from genesis.diagnose.audit import Audit, audit, brief_audit, crossings, random_vectors, sample_points
from genesis.search.space import Space

SOUND: dict[str, Any] = {
    "data": {"source": "sample:IBM", "start": "2002-01-01", "end": "2009-12-31", "warmup_bars": 60},
    "holdout": {"start": "2010-01-01"},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
    "objective": "sharpe",
    "parameters": {"fast": {"type": "int", "low": 3, "high": 30}, "slow": {"type": "int", "low": 31, "high": 60}},
    "run": {"run_id": "sound", "max_trials": 300, "seed": 1, "sampler": "tpe", "max_concurrent": 2},
}


def _audited(timed: bool = False, **changes: Any) -> Audit:
    study = copy.deepcopy(SOUND)
    for path, value in changes.items():
        node = study
        *parents, last = path.split("__")
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return audit(study, timed=timed)


def _found(result: Audit, code: str) -> Any:
    return next(finding for finding in result.findings if finding.code == code)


def test_a_sound_study_has_no_warning() -> None:
    """Nothing but information, and the facts are exact."""
    found = _audited(timed=True)
    assert found.ok
    assert [finding.code for finding in found.findings if finding.severity != "info"] == []
    assert found.facts["size"] == 28 * 30
    assert found.facts["seconds_per_trial"] > 0.0
    assert found.facts["estimated_seconds"] > 300 * found.facts["seconds_per_proposal"]


def test_arguments_that_only_fail_at_a_proposal_are_an_error_of_the_timed_audit() -> None:
    """Optuna makes a sampler with `sigma0: big` and breaks when it proposes; the audit does not break with it."""
    found = _audited(timed=True, run__sampler={"type": "cmaes", "kwargs": {"sigma0": "big"}})
    assert "sigma0='big'" in _found(found, "sampler").what


@pytest.mark.parametrize(
    ("changes", "code", "severity", "edit"),
    [
        ({"costs": {"fee_bps": 0.0, "slippage_bps": 0.0}}, "zero-costs", "warning", "fee_bps: 10"),
        ({"holdout": None}, "no-holdout", "warning", "add holdout"),
        ({"holdout__start": "2013-01-15"}, "short-holdout", "warning", "a fifth to a third"),
        ({"parameters__slow__low": 20}, "crossing", "warning", 'rules: ["fast < slow"]'),
        ({"parameters__fast": {"type": "int", "low": 3, "high": 4}}, "few-choices", "warning", "widen fast"),
        ({"run__max_trials": 900}, "budget", "warning", "run.strategy: grid"),
        ({"run__max_concurrent": 64}, "concurrency", "warning", "max_concurrent: 2"),
        ({"run__max_trials": 40}, "startup", "warning", "raise run.max_trials"),
        ({"data__source": "sample:NOPE"}, "data", "error", ""),
        ({"strategy": "no_such"}, "strategy", "error", ""),
        ({"data__end": "2002-03-31", "data__warmup_bars": 0}, "short-data", "error", "more bars"),
        ({"data__end": "2002-08-31"}, "few-bars", "warning", "start data.start earlier"),
        ({"data__warmup_bars": 10}, "warmup", "info", "warmup_bars: 60"),
        ({"constraints": {"min_trades": 1500}}, "min-trades", "warning", "lower constraints.min_trades"),
        ({"run__sampler": {"type": "tpe", "kwargs": {"n_candidates": 4}}}, "sampler", "error", "n_ei_candidates"),
        ({"run__sampler": {"type": "auto", "kwargs": {"multivariate": "no"}}}, "sampler", "error", "true"),
        ({"run__sampler": {"type": "cmaes", "kwargs": {"n_candidates": 4}}}, "sampler", "error", "sigma0"),
        ({"run__sampler": {"type": "optuna-tpe", "kwargs": {"n_startup_trials": "x"}}}, "sampler", "error", "kwargs"),
        ({"run__pruner": {"type": "median", "kwargs": {"patience": 4}}}, "sampler", "error", "n_startup_trials"),
        ({"data__start": "2001-01-02"}, "gaps", "warning", "genesis data check"),
    ],
)
def test_every_fault_is_found(changes: dict[str, Any], code: str, severity: str, edit: str) -> None:
    """What, how bad, and the edit."""
    finding = _found(_audited(**changes), code)
    assert finding.severity == severity
    assert edit in finding.edit
    assert finding.what
    assert finding.why


def test_a_step_that_does_not_divide_is_an_error_with_its_edit() -> None:
    """The range is not repaired silently: the audit says which high or step divides."""
    found = _audited(parameters__stop={"type": "float", "low": 1.0, "high": 2.0, "step": 0.3})
    assert not found.ok
    (finding,) = [one for one in found.findings if "stop" in one.what]
    assert finding.severity == "error"
    assert "1.9" in finding.edit


def test_windows_that_overlap_are_an_error() -> None:
    """A search that sees its holdout is refused."""
    found = _audited(holdout__start="2009-06-01")
    assert not found.ok
    assert "holdout" in found.findings[0].what


def test_a_missing_file_does_not_raise(tmp_path: Path) -> None:
    """An audit of nothing is an audit with an error."""
    assert not audit(tmp_path / "none.yaml").ok


def test_errors_come_first() -> None:
    """Findings are in the order of their weight."""
    found = _audited(costs={"fee_bps": 0.0, "slippage_bps": 0.0}, data__end="2002-03-31", data__warmup_bars=0)
    order = [finding.severity for finding in found.findings]
    assert order == sorted(order, key=["error", "warning", "info"].index)


def test_a_rule_settles_a_crossing() -> None:
    """With the rule offered, the finding is gone."""
    spec = {
        "ma": {"fast_len": {"type": "int", "low": 2, "high": 50}, "slow_len": {"type": "int", "low": 20, "high": 90}}
    }
    (finding,) = crossings(Space.from_spec(spec))
    assert 'rules: ["ma.fast_len < ma.slow_len"]' in finding.edit
    assert crossings(Space.from_spec(spec, rules=["ma.fast_len < ma.slow_len"])) == []


def test_sampled_points_keep_rules_and_differ() -> None:
    """Points are on the grid, allowed, different, and the same for the same seed."""
    space = load_study(copy.deepcopy(SOUND), env={}).space
    ruled = Space.from_spec(space.spec(), rules=["fast * 2 < slow"])
    points = sample_points(ruled, 5, seed=3)
    assert len(np.unique(points, axis=0)) == 5
    assert ruled.allowed(points).all()
    np.testing.assert_array_equal(points, sample_points(ruled, 5, seed=3))
    assert len(random_vectors(ruled, 7, seed=0)) == 7


def test_rules_that_exclude_everything_are_an_error() -> None:
    """A contradiction between rules and ranges is found before the run."""
    found = audit(copy.deepcopy(SOUND) | {"rules": ["fast > slow"]})
    assert _found(found, "rules").severity == "error"


def test_the_brief_audit_is_warnings_in_one_line_each() -> None:
    """What a run says before it starts: no information, no line break, the edit at the end."""
    study = copy.deepcopy(SOUND) | {"costs": {"fee_bps": 0.0, "slippage_bps": 0.0}}
    (line,) = brief_audit(load_study(study, env={}))
    assert line.startswith("warning: Trading is free")
    assert "\n" not in line
    assert brief_audit(load_study(copy.deepcopy(SOUND), env={})) == []
    assert brief_audit(load_study(study | {"strategy": "no_such"}, env={})) == [line]


@pytest.mark.parametrize("timed", [False, True])
def test_rules_that_contradict_each_other_are_an_error(timed: bool) -> None:
    """Also without timing, so that a run which can propose nothing says why when it starts."""
    study = copy.deepcopy(SOUND) | {"rules": ["fast < slow", "fast > slow"]}
    assert "'fast < slow', 'fast > slow'" in _found(audit(study, timed=timed), "rules").what
    assert "contradict" in brief_audit(load_study(study, env={}))[-1]
