"""`genesis audit`, `smoke`, `report`, `compare` and `doctor`: words, JSON and exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from genesis.cli import app
from genesis.commands.guarded import guarded
from genesis.errors import ConfigError, StrategyError
from genesis.run.study import optimize

STUDY: dict[str, Any] = {
    "data": {"source": "sample:IBM", "start": "2002-01-01", "end": "2009-12-31", "warmup_bars": 60},
    "holdout": {"start": "2010-01-01"},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
    "objective": "sharpe",
    "parameters": {"fast": {"type": "int", "low": 3, "high": 30}, "slow": {"type": "int", "low": 31, "high": 60}},
    "run": {"run_id": "sound", "max_trials": 40, "seed": 1, "max_concurrent": 2},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    optimize(STUDY, workers=0, runs_dir=folder)
    return folder


def _study(folder: Path, **changes: Any) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes), encoding="utf-8")
    return str(path)


def _call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_audit_exits_by_its_findings(tmp_path: Path) -> None:
    """0 with warnings, 1 with an error; JSON says the same."""
    assert _call("audit", _study(tmp_path), "--quick").exit_code == 0
    free = _call("audit", _study(tmp_path, costs={"fee_bps": 0, "slippage_bps": 0}), "--quick")
    assert free.exit_code == 0
    assert "Trading is free" in free.stdout
    broken = _call("audit", _study(tmp_path, data={"source": "sample:NOPE", "end": "2009-12-31"}), "--json")
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["ok"] is False


def test_smoke_exits_with_one_when_nothing_trades(tmp_path: Path) -> None:
    """Healthy is 0; a study that does not trade is 1, with the cause on the screen."""
    assert _call("smoke", _study(tmp_path), "--trials", "2").exit_code == 0
    silent = {"thresholds": {"entry_conf_overall": {"type": "float", "low": 0.97, "high": 0.99}}}
    found = _call("smoke", _study(tmp_path, strategy="fibonacci", parameters=silent))
    assert found.exit_code == 1
    assert "No trial traded" in found.stdout
    assert json.loads(_call("smoke", _study(tmp_path), "--json").stdout)["healthy"] is True


def test_report_by_name(runs: Path, tmp_path: Path) -> None:
    """A run is found by name; the path is printed."""
    found = _call("report", "sound", "--runs-dir", str(runs))
    assert found.exit_code == 0
    assert Path(found.stdout.strip()) == runs / "sound" / "report.html"
    other = tmp_path / "other.html"
    made = _call("report", str(runs / "sound"), "-o", str(other), "--json")
    assert json.loads(made.stdout)["bytes"] == other.stat().st_size


def test_watch_ends_with_the_run(runs: Path) -> None:
    """A finished run is written once more and left; the last page does not reload itself."""
    found = _call("report", "sound", "--runs-dir", str(runs), "--watch", "--every", "1")
    assert found.exit_code == 0
    page = (runs / "sound" / "report.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in page


def test_compare_and_doctor(runs: Path) -> None:
    """Both print tables and JSON; a folder without a run fails the doctor."""
    folder = str(runs / "sound")
    assert "Outcomes" in _call("compare", folder, folder).stdout
    assert json.loads(_call("compare", folder, folder, "--json").stdout)["differences"] == {}
    assert _call("doctor", folder).exit_code == 0
    assert json.loads(_call("doctor", "--json").stdout)["healthy"] is True
    assert _call("doctor", str(runs)).exit_code == 1


LEAVES = """
import os
class Leaves:
    id, version, defaults = "leaves", "1", {"fast": 3}
    def signals(self, params, features):
        os._exit(0)
"""


@pytest.fixture
def leaving(tmp_path: Path) -> str:
    (tmp_path / "leaves.py").write_text(LEAVES)
    parameters = {"fast": {"type": "int", "low": 3, "high": 9}}
    return _study(tmp_path, strategy=f"{tmp_path}/leaves.py:Leaves", parameters=parameters)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize(
    "words", [["smoke"], ["audit"], ["run", "--workers", "0"], ["run", "--workers", "0", "--json"]]
)
def test_a_strategy_that_ends_the_process_is_named(leaving: str, tmp_path: Path, words: list[str]) -> None:
    """`os._exit(0)` ends neither the command nor its exit code: who did it and what to look for is said."""
    where = ["--runs-dir", str(tmp_path / "runs"), "--progress", "quiet"] if words[0] == "run" else []
    found = _call(words[0], leaving, *words[1:], *where)
    assert isinstance(found.exception, StrategyError)
    assert "its code ended the process (exit code 0)" in str(found.exception)
    assert "os._exit" in str(found.exception)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_workers_go_on_without_a_trial_that_ends_them(leaving: str, tmp_path: Path) -> None:
    """The run warns at its start, each trial fails with the reason, and the exit code says that all did."""
    words = ("--workers", "1", "--max-trials", "2", "--runs-dir", str(tmp_path / "runs"), "--progress", "quiet")
    found = _call("run", leaving, *words)
    assert found.exit_code == 7
    assert "its code ended the process" in found.stderr
    assert "its worker process died twice: exit code 0" in " ".join(found.stdout.split())


def test_what_a_guarded_function_raises_is_raised() -> None:
    """An error of ours as it is; any other with its traceback; one that cannot be pickled as words."""
    assert guarded(lambda: 7, "x") == 7
    for raised, expected in (
        (ConfigError("no"), ConfigError),
        (KeyError("gone"), KeyError),
        (type("Local", (Exception,), {})("odd"), RuntimeError if sys.platform == "linux" else Exception),
    ):
        with pytest.raises(expected, match=r"no|gone|odd"):
            guarded(lambda error=raised: _raise(error), "x")


def _raise(error: Exception) -> None:
    raise error
