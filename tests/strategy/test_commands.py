"""`genesis new strategy` writes files that work; `genesis backtest` gives the bits of the library and of a trial."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import genesis
from genesis.cli import app
from genesis.errors import GenesisError, StoreError, StrategyError
from genesis.strategy.fibonacci_parameters import PARAMETERS
from genesis.strategy.starting import starting_files

STUDY = """
data: {source: "sample:IBM", timeframe: 1d, start: 2003-01-01, end: 2005-12-31, warmup_bars: 120}
holdout: {start: 2006-01-01, end: 2006-12-31}
strategy: sma_cross
costs: {fee_bps: 7, slippage_bps: 3}
execution: {fill: same_close, capital: 5000}
objective: sharpe
parameters:
  slow: 60
  fast: {type: int, low: 5, high: 12}
run: {run_id: small, max_trials: 4, seed: 1}
"""


def run(*args):
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_three_starting_files_are_one_strategy(tmp_path, monkeypatch):
    """Each way is written, backtested from the command line, and trades the same fills."""
    monkeypatch.chdir(tmp_path)
    hashes = set()
    for way in ("array", "compiled", "python"):
        run("new", "strategy", f"my-{way}", "--way", way)
        ref = f"./my_{way}.py:My{way.capitalize()}"
        params = [
            "-p",
            "fast=10",
            "-p",
            "slow=40",
            "-p",
            "stop_atr=2.5",
            "--start",
            "2003-01-01",
            "--end",
            "2004-12-31",
        ]
        found = json.loads(run("backtest", ref, *params, "--json"))
        assert found["metrics"]["trades"] > 3
        hashes.add(found["fills_hash"])
    assert len(hashes) == 1
    with pytest.raises(StrategyError, match="not replaced"):
        run("new", "strategy", "my-array")


def test_the_test_that_is_written_passes_and_can_fail(tmp_path):
    """The starting test is green as written, and red when the strategy uses a mean of all bars."""
    for strategy in ("fine", "ahead"):
        for name, text in starting_files(strategy).items():
            (tmp_path / name).write_text(text)
    source = (tmp_path / "ahead.py").read_text()
    (tmp_path / "ahead.py").write_text(source.replace("above = fast > slow", "above = fast > np.nanmean(slow)"))
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "."]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "FAILED test_ahead.py::test_it_does_not_look_ahead" in shown
    assert "FAILED test_fine.py" not in shown
    assert "ERROR" not in shown


@pytest.mark.parametrize("name", ["", "9lives", "a/b", "class", "naïve!", "signals"])
def test_names_that_make_no_class_are_refused(name):
    """A name must make a Python identifier that hides nothing the file imports."""
    with pytest.raises(StrategyError, match="makes no name"):
        starting_files(name)


def test_the_command_and_the_library_agree(tmp_path):
    """The metrics printed as JSON are the library's, bit for bit, and the fills file lists every fill."""
    out = tmp_path / "fills.csv"
    span = ["--start", "2004-01-01", "--end", "2006-12-31", "--fee-bps", "3", "--slippage-bps", "1"]
    found = json.loads(
        run("backtest", "sma_cross", "--params", '{"fast": 8, "slow": 30}', *span, "--fills", str(out), "--json")
    )
    bars = genesis.load_bars("sample:IBM", start="2004-01-01", end="2006-12-31")
    bt = genesis.backtest(bars, "sma_cross", {"fast": 8, "slow": 30}, costs=genesis.Costs(fee_bps=3, slippage_bps=1))
    assert found["metrics"] == dict(bt.metrics)
    assert found["fills_hash"] == bt.fills_hash
    assert len(out.read_text().splitlines()) == len(bt.fills) + 1
    text = run("backtest", "sma_cross", "-p", "fast=8", "-p", "slow=30", *span)
    assert "sharpe" in text
    assert bt.fills_hash[:16] in text


def test_a_trial_of_a_run_is_repeated_to_the_bit(tmp_path, monkeypatch):
    """`genesis backtest RUN --trial N` gives the metrics and fills that the trial was kept with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    made = genesis.optimize("study.yaml", workers=0)
    for number in range(4):
        kept = made.trial(number)
        found = json.loads(run("backtest", "small", "--trial", str(number), "--json"))
        assert found["metrics"] == kept.metrics
        assert found["fills_hash"] == kept.fills_hash
    best = json.loads(run("backtest", "runs/small", "--json"))
    assert best["metrics"] == made.best.metrics
    fixed = json.loads(run("backtest", "study.yaml", "-p", f"fast={made.best.params['fast']}", "--json"))
    assert fixed["fills_hash"] == best["fills_hash"]
    later = json.loads(run("backtest", "study.yaml", "-p", "fast=9", "--window", "holdout", "--json"))
    assert later["params"] == {"slow": 60, "fast": 9}
    assert later["data"]["trade_from"] == 120


def failing(*args, code):
    """What a command that is refused says: one line, no traceback."""
    result = CliRunner().invoke(app, list(args))
    assert isinstance(result.exception, GenesisError), result.exception
    assert result.exception.exit_code == code
    return str(result.exception)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "return Signals(entry=np.zeros(features.n, dtype=np.int8) + params['slow'])",
            r"KeyError: 'slow'.*line 7.*-p NAME",
        ),
        ("raise ValueError('odd')", r"ValueError: odd .*own\.py, line 7\); mend the strategy"),
        ("return np.stack([])", r"ValueError: .*own\.py, line 7\); mend"),
        ("import sys; sys.exit(3)", r"called sys\.exit\(3\)"),
        ("return np.ones(3)", r"shape \(3,\)"),
    ],
)
def test_what_an_authors_code_does_wrong_is_one_line(tmp_path, monkeypatch, body, said):
    """A strategy that raises, exits or returns nonsense: what, where and what to do, with exit code 4."""
    monkeypatch.chdir(tmp_path)
    head = "import numpy as np\nfrom genesis import Signals\n\n\nclass Own:\n    def signals(self, params, features):\n"
    (tmp_path / "own.py").write_text(f"{head}        {body}\n")
    told = failing("backtest", "./own.py:Own", "-p", "fast=3", code=StrategyError.exit_code)
    assert re.search(said, told), told
    assert "\n" not in told


def test_a_run_is_found_by_its_name_and_counts_are_whole(tmp_path):
    """By run_id as by folder; trades are counted, not measured; a strategy of the same name comes first."""
    study = tmp_path / "study.yaml"
    for name in ("small", "sma_cross"):
        study.write_text(STUDY.replace("run_id: small", f"run_id: {name}"))
        genesis.optimize(study, workers=0, runs_dir=tmp_path)
    said = run("backtest", "small", "--runs-dir", str(tmp_path))
    assert said.splitlines()[1:] == run("backtest", str(tmp_path / "small")).splitlines()[1:]
    assert re.search(r"^  trades +\d+$", said, re.MULTILINE)
    assert re.search(r"^  max_drawdown_duration +[\d,]+$", said, re.MULTILINE)
    plain = ("backtest", "sma_cross", "--runs-dir", str(tmp_path))
    assert "parameters: the defaults" in run(*plain)
    assert "parameters: the defaults" not in run(*plain, "--trial", "0")
    with pytest.raises(StrategyError, match="'smal' is unknown"):
        run("backtest", "smal", "--runs-dir", str(tmp_path))


def test_a_range_without_its_type_is_told_so():
    """`low` beside a parameter's name is a range that lacks its type, not a parameter of the strategy."""
    with pytest.raises(StrategyError, match=r"exit\.max_hold_bars is to be searched.* type: int"):
        PARAMETERS.read({"exit.max_hold_bars.low": 5, "exit.max_hold_bars.high": 60})


def test_files_that_cannot_be_written_are_one_line(tmp_path):
    """A folder that is a file, for a new strategy and for fills."""
    (tmp_path / "file").write_text("")
    told = failing("new", "strategy", "mine", "--folder", str(tmp_path / "file" / "x"), code=StoreError.exit_code)
    assert "cannot be written" in told
    fills = str(tmp_path / "file" / "fills.csv")
    told = failing("backtest", "sma_cross", "--fills", fills, code=StoreError.exit_code)
    assert "cannot be written" in told


@pytest.mark.parametrize("name", ["numpy", "json", "Pytest"])
def test_a_name_that_would_hide_a_module_is_refused(tmp_path, name):
    """A numpy.py beside a strategy would be imported in NumPy's place."""
    told = failing("new", "strategy", name, "--folder", str(tmp_path), code=StrategyError.exit_code)
    assert "choose another name" in told
    assert not list(tmp_path.iterdir())


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch):
    """A fault in a built-in strategy is not the user's to mend, and is not made to look so."""
    from genesis.strategy.sma_cross import SmaCross

    def broken(self, params, features):
        raise IndexError("ours")

    monkeypatch.setattr(SmaCross, "signals", broken)
    result = CliRunner().invoke(app, ["backtest", "sma_cross"])
    assert isinstance(result.exception, IndexError)
