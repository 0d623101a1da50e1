"""Studies built to fail: the first sentence of the verdict names the cause, and so do audit and smoke."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genesis.diagnose.audit import audit
from genesis.diagnose.findings import Finding
from genesis.diagnose.smoke import smoke
from genesis.errors import RunFailedError
from genesis.report.html import cause_of, weigh
from genesis.report.replay import luck, replay
from genesis.report.source import RunData, read_run
from genesis.report.verdict import Verdict
from genesis.run.study import optimize

SMA: dict[str, Any] = {
    "data": {"source": "sample:IBM", "end": "2008-12-31"},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
    "objective": "sharpe",
    "parameters": {"fast": {"type": "int", "low": 3, "high": 30}, "slow": {"type": "int", "low": 40, "high": 60}},
    "run": {"run_id": "failing", "max_trials": 30, "seed": 1, "max_concurrent": 4, "sampler": "random"},
}


def nan_score(params: dict[str, Any]) -> dict[str, float]:
    return {"score": float("nan")}


def no_score(params: dict[str, Any]) -> dict[str, float | None]:
    return {"score": None}


def constant_score(params: dict[str, Any]) -> dict[str, float]:
    return {"score": 2.5}


def raises(params: dict[str, Any]) -> dict[str, float]:
    raise ZeroDivisionError("division by zero in my rule")


def _changed(**changes: Any) -> dict[str, Any]:
    study = copy.deepcopy(SMA)
    for path, value in changes.items():
        node = study
        *parents, last = path.split("__")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return study


def _called(function: Callable[..., Any]) -> dict[str, Any]:
    return {
        "evaluate": function,
        "objective": "score",
        "parameters": {"x": {"type": "int", "low": 0, "high": 1_000}},
        "run": {"run_id": "failing", "max_trials": 60, "seed": 1, "max_concurrent": 4, "sampler": "random"},
    }


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("infeasible", _changed(constraints={"min_trades": 5_000}), "No trial keeps every constraint: min_trades"),
    (
        "one-point",
        _changed(parameters={"fast": {"type": "grid", "values": [5]}, "slow": 50}),
        "The search space has one point",
    ),
    ("no-score", _called(no_score), "No trial has a score"),
    ("all-failed", _called(nan_score), "Every trial failed: returned score=nan"),
    ("constant", _called(constant_score), "Every trial has the same score (2.5): the objective is constant"),
    ("all-failed", _called(raises), "Every trial failed: ZeroDivisionError: division by zero in my rule"),
    (
        "short-data",
        _changed(data__end="2000-12-31", parameters__slow={"type": "int", "low": 220, "high": 300}),
        "The data are shorter than the warm-up",
    ),
    (
        "costs",
        _changed(costs={"fee_bps": 700.0, "slippage_bps": 0.0}, parameters__side="long"),
        "Costs eat every trade",
    ),
    (
        "no-trades",
        _changed(
            strategy="fibonacci",
            parameters={"thresholds": {"entry_conf_overall": {"type": "float", "low": 0.97, "high": 0.99}}},
        ),
        "No trial traded",
    ),
]


def _run(study: dict[str, Any], folder: Path) -> RunData:
    with contextlib.suppress(RunFailedError):
        optimize(study, workers=0, runs_dir=folder)
    return read_run(folder / "failing")


def _verdict(run: RunData) -> Verdict:
    played = replay(run)
    return weigh(run, played, luck(run, played))


@pytest.mark.parametrize(("code", "study", "words"), CASES, ids=[case[2] for case in CASES])
def test_the_first_sentence_names_the_cause(code: str, study: dict[str, Any], words: str, tmp_path: Path) -> None:
    """A run without an answer says why in its first words, and how to mend it in its last."""
    run = _run(study, tmp_path)
    cause = cause_of(run)
    assert cause is not None
    assert cause.code == code
    verdict = _verdict(run)
    assert verdict.standing == "none"
    assert verdict.headline.startswith(words)
    assert verdict.reasons[-1].startswith("To mend it: ")


def _errors(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings if finding.severity == "error"]


@pytest.mark.parametrize("code", ["no-trades", "no-score", "all-failed"])
def test_smoke_refuses_to_call_it_healthy(code: str) -> None:
    """Two to five trials are enough to refuse a study that does not trade, score or run."""
    study = next(case[1] for case in CASES if case[0] == code)
    found = smoke(study)
    assert not found.healthy
    assert _errors(found.findings) == [code]


@pytest.mark.parametrize(("code", "audited"), [("one-point", "one-point"), ("short-data", "short-data")])
def test_audit_finds_it_before_the_run(code: str, audited: str) -> None:
    """What can be known before is known before."""
    study = next(case[1] for case in CASES if case[0] == code)
    assert audited in _errors(audit(study, timed=False).findings)


def test_smoke_sees_that_costs_eat_every_trade() -> None:
    """The same trials without costs gain: the costs are the cause."""
    dear = {"fee_bps": 0.0, "slippage_bps": 600.0}
    found = smoke(_changed(costs=dear, parameters__side="long", data={"source": "sample:IBM"}), trials=5)
    assert [finding.code for finding in found.findings] == ["costs"]
    assert found.findings[0].what.startswith("Costs eat every trade")
