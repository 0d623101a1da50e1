"""The commands that search, show, list and export; what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import genesis
from genesis.cli import app, main
from genesis.errors import ConfigError, ResumeError, RunFailedError, StoreError
from genesis.trials.store import RunStore

STUDY = """
evaluate: ./objective.py:loss
objective: {metric: loss, direction: minimize}
parameters:
  x: {type: float, low: -5.0, high: 5.0, step: 0.1}
  n: {type: int, low: 0, high: 9}
run: {run_id: small, max_trials: 40, max_concurrent: 8, seed: 1, sampler: tpe}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "objective.py").write_text("def loss(params):\n    return {'loss': params['x'] ** 2 + params['n']}\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def document(*arguments):
    return json.loads(call(*arguments, "--json", "--progress", "quiet"))


def test_run_prints_a_document_and_typed_again_says_complete(folder):
    """The first time 40 trials; the second none, the same best, and how to extend it."""
    common = ("run", folder / "study.yaml", "--workers", "0", "--runs-dir", folder / "runs")
    first, again = document(*common), document(*common)
    assert (first["trials"], first["new_trials"], again["new_trials"]) == (40, 40, 0)
    assert first["best"] == again["best"]
    assert first["best"][0]["metrics"]["loss"] == -first["best"][0]["score"]
    said = call(*common, "--progress", "quiet")
    assert "Complete: all 40 trials" in said
    assert "--max-trials 80" in said


def test_flags_override_the_file(folder):
    """Budget, name, seed and any other setting can be given on the line; what is unknown is refused."""
    found = document(
        "run", folder / "study.yaml", "--workers", 0, "--runs-dir", folder / "runs", "--max-trials", 9,
        "--run-id", "other", "--seed", 5, "--set", "run.max_concurrent=3",
    )  # fmt: skip
    assert (found["run_id"], found["trials"]) == ("other", 9)
    assert genesis.open_run("other", runs_dir=folder / "runs").study["config"]["run"]["max_concurrent"] == 3
    for bad in ("run.nothing=1", "run.patience", "run.patience={"):
        with pytest.raises(ConfigError):
            call("run", folder / "study.yaml", "--runs-dir", folder / "runs", "--set", bad)


def test_resume_goes_on_from_the_runs_own_folder(folder):
    """`resume` needs no study file: to 60 trials, as if 60 had been asked for at once."""
    runs = folder / "runs"
    call("run", folder / "study.yaml", "--workers", 0, "--runs-dir", runs, "--max-trials", 21, "--progress", "quiet")
    (folder / "study.yaml").unlink()
    assert document("resume", runs / "small", "--workers", 0, "--max-trials", 60)["trials"] == 60
    with pytest.raises(StoreError, match="small"):
        call("resume", "smal", "--runs-dir", runs)


def test_another_study_under_the_same_name_is_an_error_of_its_own(folder):
    """The exit code of a study that differs is 6, and the message names the difference."""
    common = (folder / "study.yaml", "--workers", 0, "--runs-dir", folder / "runs", "--progress", "quiet")
    call("run", *common)
    with pytest.raises(ResumeError, match="seed") as caught:
        call("run", *common, "--seed", 9)
    assert caught.value.exit_code == 6


def test_show_list_and_export(folder):
    """A kept run can be shown whole or by trial, listed, and written as a table."""
    runs = folder / "runs"
    made = document("run", folder / "study.yaml", "--workers", 0, "--runs-dir", runs)
    best = made["best"][0]["number"]
    shown = json.loads(call("show", "small", "--runs-dir", runs, "--json"))
    assert shown["best"] == made["best"]
    assert json.loads(call("show", "small", "--trial", best, "--runs-dir", runs, "--json"))["number"] == best
    assert str(best) in call("show", "small", "--trial", best, "--runs-dir", runs)
    words = call("show", runs / "small", "--top", 3)
    assert "40 trials" in words
    assert "loss" in words
    assert [one["run_id"] for one in json.loads(call("list", "--runs-dir", runs, "--json"))] == ["small"]
    assert "small" in call("list", "--runs-dir", runs)
    assert "no runs" in call("list", "--runs-dir", folder / "none")
    call("export", "small", "--runs-dir", runs, "--csv", folder / "t.csv", "--parquet", folder / "t.parquet")
    assert len(pd.read_csv(folder / "t.csv")) == len(pd.read_parquet(folder / "t.parquet")) == 40
    with pytest.raises(ConfigError, match="nothing to write"):
        call("export", "small", "--runs-dir", runs)


def test_the_demo_is_a_study_that_can_be_read():
    """The bundled study asks for at least 2,000 trials on real bars, with a holdout."""
    study = genesis.load_study(Path(genesis.__file__).parent / "examples" / "demo.yaml", env={})
    assert study.run.max_trials >= 2_000
    assert study.holdout is not None
    assert study.data.source == "sample:IBM"


def test_every_command_has_help():
    """Each command of the group explains itself."""
    for name in ("run", "resume", "show", "list", "export", "demo"):
        assert len(call(name, "--help")) > 200


def test_a_run_that_cannot_be_read_is_listed_beside_those_that_can(folder):
    """One damaged store does not hide the others, in the table and in JSON."""
    runs = folder / "runs"
    document("run", folder / "study.yaml", "--workers", 0, "--runs-dir", runs, "--max-trials", 9)
    (runs / "broken").mkdir()
    (runs / "broken" / "run.db").write_bytes(b"no database at all")
    assert "cannot be read" in call("list", "--runs-dir", runs)
    listed = {one["run_id"]: one for one in json.loads(call("list", "--runs-dir", runs, "--json"))}
    assert listed["small"]["trials"] == 9
    assert "not a SQLite database" in listed["broken"]["error"]


def test_a_run_whose_trials_all_fail_says_why(folder):
    """The reason of the failures and the command that shows one whole are printed, not only their number."""
    (folder / "objective.py").write_text("def loss(params):\n    raise RuntimeError('no such column: clsoe')\n")
    arguments = ("run", folder / "study.yaml", "--workers", 0, "--runs-dir", folder / "runs", "--progress", "quiet")
    said = call(*arguments, code=7)
    assert "RuntimeError: no such column: clsoe" in " ".join(said.split())
    assert "--trial 0" in said


def test_the_next_commands_can_be_typed_as_they_are_printed(tmp_path, monkeypatch):
    """Where the shell finds no `genesis`, the next commands name the program by its path."""
    from genesis.commands.following import typed as typed_here

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [".venv/bin/genesis", "demo"])
    assert typed_here() == ".venv/bin/genesis"
    monkeypatch.setattr("sys.argv", ["pytest"])
    assert typed_here() == "genesis"


def test_a_run_of_failures_is_no_success(folder):
    """Every trial failed: the exit code says so, whatever their number, and where to look."""
    (folder / "objective.py").write_text("def loss(params):\n    return None\n")
    arguments = ("run", folder / "study.yaml", "--workers", 0, "--runs-dir", folder / "runs", "--progress", "quiet")
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 7
    assert "all 40 trials failed" in result.stderr


def test_a_run_that_cannot_begin_says_only_why(tmp_path, monkeypatch, capsys):
    """Advice about the study comes with its first event; an error before that stands alone, and names the remedy."""
    study = tmp_path / "study.yaml"
    text = (
        "data: {source: 'sample:IBM', start: '2030-01-01'}\nstrategy: sma_cross\nobjective: sharpe\n"
        "costs: {fee_bps: 0, slippage_bps: 0}\nparameters: {fast: {type: grid, values: [5]}, slow: 50}\n"
        "run: {run_id: early, max_trials: 5}\n"
    )
    study.write_text(text)
    code, _, err = typed(monkeypatch, capsys, "run", str(study), "--runs-dir", str(tmp_path / "runs"))
    assert code == 3
    assert err.count("\n") == 1
    assert "between 2030-01-01" in err
    assert "choose a window inside" in err
    study.write_text(text.replace(", start: '2030-01-01'", ""))
    code, _, err = typed(monkeypatch, capsys, "run", str(study), "--runs-dir", str(tmp_path / "runs"))
    assert code == 0
    assert "warning: The search space has one point" in err
    assert "error:" not in err


def typed(monkeypatch, capsys, *words):
    """What `main` does with a command line: its exit code, and what it printed."""
    monkeypatch.setattr("sys.argv", ["genesis", *words])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_cannot_be_written_is_said_in_one_line(folder, monkeypatch, capsys, kind):
    """A folder that is not there is a message with the remedy and no traceback."""
    monkeypatch.chdir(folder)
    assert typed(monkeypatch, capsys, "run", "study.yaml", "--max-trials", "5")[0] == 0
    code, _, err = typed(monkeypatch, capsys, "export", "small", f"--{kind}", "missing/table")
    assert code == 5
    assert err.count("\n") == 1
    assert "name a file in a folder that is there" in err


def test_a_table_takes_all_trials_and_says_so(folder, monkeypatch):
    """`--best` without Optuna is refused: it would not be honoured."""
    monkeypatch.chdir(folder)
    call("run", "study.yaml", "--progress", "quiet")
    with pytest.raises(ConfigError, match="--best"):
        call("export", "small", "--csv", "a.csv", "--best", "5")
    assert not Path("a.csv").exists()


def run_small(folder, *words, code=0, progress="quiet", study="study.yaml"):
    common = ("--workers", 0, "--runs-dir", folder / "runs", "--progress", progress)
    return call("run", folder / study, *common, *words, code=code)


def test_a_budget_below_what_is_kept_runs_nothing_and_says_so(folder):
    """The words name both numbers, the counts never go beyond the total, and the next budget is a larger one."""
    run_small(folder)
    said = call("resume", folder / "runs" / "small", "--max-trials", 21, "--workers", 0, "--progress", "json")
    assert "21 trials or more are kept already: 40 of them. Nothing was run." in said
    assert "--max-trials 80" in said
    events = [json.loads(line) for line in said.splitlines() if line.startswith('{"kind":"progress"')]
    assert events
    assert {(one["done"], one["total"]) for one in events} == {(40, 40)}


def test_a_resumed_run_counts_from_what_is_kept(folder):
    """From the first event on: the trials of an earlier session are done, and of the larger total."""
    run_small(folder, "--max-trials", 21)
    said = call("resume", folder / "runs" / "small", "--max-trials", 40, "--workers", 0, "--progress", "json")
    events = [json.loads(line) for line in said.splitlines() if line.startswith('{"kind":"progress"')]
    assert (events[0]["done"], events[0]["total"], events[0]["resumed"]) == (21, 40, 21)
    assert [one["done"] for one in events] == sorted(one["done"] for one in events)
    assert "last session  19 trials in" in call("show", folder / "runs" / "small")


def test_a_run_typed_again_shows_the_session_that_ran(folder):
    """The times are those of the last session that ran trials, with their number."""
    run_small(folder)
    assert "last session  40 trials in" in run_small(folder)


def test_trials_that_break_a_constraint_are_counted(tmp_path):
    """Beside those without a trade; neither failed trials nor these are behaviours of their own."""
    study = tmp_path / "study.yaml"
    study.write_text(
        "data: {source: 'sample:IBM', start: '2002-01-01', end: '2004-12-31', warmup_bars: 60}\nstrategy: sma_cross\n"
        "costs: {fee_bps: 5, slippage_bps: 2}\nobjective: sharpe\nconstraints: {min_trades: 60}\n"
        "parameters: {fast: {type: grid, values: [3, 20]}, slow: {type: grid, values: [21, 40, 900]}}\n"
        "run: {run_id: broken, strategy: grid, max_trials: 6, seed: 1}\n"
    )
    made = document("run", study, "--workers", 0, "--runs-dir", tmp_path)
    assert made["no_trades"] == 2
    assert made["infeasible"] == sum(
        bool(one.violations) for one in genesis.open_run(tmp_path / "broken").store.results()
    )
    assert made["infeasible"] >= 2
    assert made["behaviours"] == 4
    said = call("show", "broken", "--runs-dir", tmp_path)
    assert f"broke a constraint {made['infeasible']}, no trades 2" in said
    assert "4 behaviours among the 4 trials that traded" in said


def test_after_failures_the_next_commands_look_for_the_fault(folder):
    """More trials would fail as well: the trial and a smoke test are offered instead."""
    (folder / "objective.py").write_text("def loss(params):\n    return None\n")
    said = run_small(folder, code=7)
    offered = said.partition("next:")[2]
    assert "small --trial 0" in offered
    assert f"smoke {folder / 'study.yaml'}" in offered
    assert "--max-trials" not in offered


def test_a_run_that_failures_stop_says_where_to_look(folder):
    """Its error names a failed trial and the smoke test of the very study."""
    (folder / "objective.py").write_text("def loss(params):\n    return None\n")
    with pytest.raises(RunFailedError, match=r"small --trial \d+` shows .*genesis smoke .*study.yaml` tries"):
        run_small(folder, "--set", "run.max_failures=3")


def test_a_killed_run_says_that_it_did_not_end(folder):
    """Trials that no session's end speaks of: `show`, `list` and `--json` say so, and how to go on."""
    run_small(folder, "--max-trials", 21)
    runs = folder / "runs"
    store = RunStore.open(runs / "small")
    summary = store.meta("summary")
    store.set_meta("summary", summary | {"trials": 15})  # as an earlier session left it, before one that was killed
    store.close()
    said = call("show", runs / "small")
    assert "no end is recorded" in said
    assert f"genesis resume {runs / 'small'}" in " ".join(said.split())
    assert "last session" not in said
    assert json.loads(call("show", runs / "small", "--json"))["ended"] is False
    assert "no end recorded" in call("list", "--runs-dir", runs)


def test_an_imported_run_says_what_can_be_done_with_it(folder):
    """It has no study: not to be resumed or backtested, but shown, reported and a beginning for another search."""
    (folder / "old").mkdir()
    for x in (1, 2):
        (folder / "old" / f"trial_{x}.json").write_text(json.dumps({"parameters": {"x": x}, "score": x}))
    runs = folder / "runs"
    call("import", folder / "old", "--runs-dir", runs)
    run = ("run", folder / "study.yaml", "--run-id", "old", "--runs-dir", runs)
    for words in (("resume", "old", "--runs-dir", runs), ("backtest", runs / "old"), run):
        with pytest.raises(ConfigError, match=rf"{words[0]}: .*imported from .*old, .*run.warm_start: .*old") as caught:
            call(*words)
        assert "\n" not in str(caught.value)
    why = call("show", "old", "--why", "--runs-dir", runs)
    assert "was imported from" in why
    assert "run.warm_start" in why
    assert "resume" not in why
    said = call("show", "old", "--runs-dir", runs)
    assert "imported  from" in said
    assert "no end" not in said


def test_a_storage_without_a_study_is_no_folder():
    """`genesis import URL` says what is missing from the URL."""
    with pytest.raises(ConfigError, match="#STUDY"):
        call("import", "sqlite:///o.db")
