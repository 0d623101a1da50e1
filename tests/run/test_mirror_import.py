"""An Optuna study becomes a run: every usable trial once, the rest named with its reason, the storage only read."""

from __future__ import annotations

import json

import optuna
import pytest
from typer.testing import CliRunner

import genesis
from genesis.cli import app, main
from genesis.errors import ConfigError
from genesis.run.mirror import export_optuna, opened
from genesis.run.mirror_import import import_study, split_source
from genesis.run.result import Run

FORMS = ("sqlite:///{}/optuna.db", "journal:{}/optuna.log")


@pytest.fixture(params=FORMS)
def url(request, tmp_path):
    return request.param.format(tmp_path)


def objective(trial):
    kind = trial.suggest_categorical("kind", ["ema", "sma"])
    x = trial.suggest_float("deep.x", -5.0, 5.0)
    n = trial.suggest_int("n", 1, 9, log=True)
    extra = trial.suggest_float("deep.extra", 0.0, 1.0, step=0.1) if kind == "ema" else 0.0
    if trial.number == 3:
        raise ValueError("edge")
    trial.report(x, 1)
    if trial.number == 5:
        raise optuna.TrialPruned
    trial.set_user_attr("trades", 12)
    trial.set_user_attr("note", "text is no metric")
    return x * x + n + extra


@pytest.fixture
def study(url):
    with opened(url) as storage:
        made = optuna.create_study(
            storage=storage, study_name="theirs", direction="minimize", sampler=optuna.samplers.RandomSampler(seed=1)
        )
        made.optimize(objective, n_trials=30, catch=ValueError)
        made.enqueue_trial({"kind": "sma", "deep.x": 1.0, "n": 2})
        made.add_trial(made.trials[0])
        yield made


def test_every_finished_trial_becomes_ours(study, url, tmp_path):
    """Scores with the sign of a minimized value, states, parameters, running scores; what is left out is named."""
    report = import_study(f"{url}#theirs", tmp_path / "runs" / "theirs")
    assert report.imported == 30
    assert [(one.name, one.reason) for one in report.refused] == [
        ("trial 30", "is not finished (waiting)"),
        ("trial 31", "has the parameters of trial 0"),
    ]
    run = Run(report.run_dir)
    for trial, result in zip(study.trials, run.store.results(), strict=False):
        flat = {"kind": result.params["kind"], "n": result.params["n"], "deep.x": result.params["deep"]["x"]}
        assert {name: trial.params[name] for name in flat} == flat
        assert result.params["deep"].get("extra") == trial.params.get("deep.extra")
        assert result.state == {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
        if result.state == "complete":
            assert result.score == -trial.value
            assert result.metrics == {"trades": 12.0, "value": trial.value}
            assert result.reports == (-trial.intermediate_values[1],)
    assert -run.best.score == study.best_value
    assert {one.path for one in run.space.columns} == {"kind", "deep.x", "n", "deep.extra"}
    assert len(study.get_trials()) == 32


def test_a_run_that_went_out_comes_back(url, tmp_path):
    """Exported and imported again, a run has the same trials, scores, metrics and states."""
    asked = {
        "evaluate": lambda params: {"loss": params["x"] ** 2 if params["x"] > -4.0 else None, "n": 3.0},
        "objective": {"metric": "loss", "direction": "minimize"},
        "constraints": {"min_loss": 0.5},
        "parameters": {
            "x": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.5},
            "k": {"type": "grid", "values": [1, 2]},
        },
        "run": {"run_id": "mine", "max_trials": 25, "seed": 3, "sampler": "random"},
    }
    mine = genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    export_optuna(mine, url)
    again = Run(import_study(f"optuna:{url}#mine", tmp_path / "again").run_dir)
    assert again.count == mine.count == 25
    for one, other in zip(mine.store.results(), again.store.results(), strict=True):
        assert (one.params, one.score, one.key) == (other.params, other.score, other.key)
        assert one.feasible == other.feasible
        known = {name: value for name, value in one.metrics.items() if value is not None}
        assert known == {name: value for name, value in other.metrics.items() if name != "value"}


def test_ranges_that_changed_are_taken_as_seen(url, tmp_path):
    """A study whose ranges moved has no one range of its own; that of the values is used."""
    with opened(url) as storage:
        made = optuna.create_study(storage=storage, study_name="moved", direction="maximize")
        for high in (1.0, 2.0, 3.0):
            kind = {"x": optuna.distributions.FloatDistribution(0.0, high)}
            made.add_trial(optuna.trial.create_trial(value=high, params={"x": high / 2}, distributions=kind))
    run = Run(import_study(f"{url}#moved", tmp_path / "moved").run_dir)
    assert run.study["config"]["parameters"] == {"x": {"type": "float", "low": 0.5, "high": 1.5}}
    assert run.best.params == {"x": 1.5}


def test_what_cannot_be_read_is_said(study, url, tmp_path):
    """No such study, no such file, several objectives, no study named: each a message with the remedy; no file made."""
    with pytest.raises(ConfigError, match=r"no study 'other'.*there is 'theirs'"):
        import_study(f"{url}#other", tmp_path / "r")
    with pytest.raises(ConfigError, match="names no study"):
        import_study(url, tmp_path / "r")
    for missing in (f"sqlite:///{tmp_path}/none.db", f"journal:{tmp_path}/none.log"):
        with pytest.raises(ConfigError, match="no file"):
            import_study(f"{missing}#x", tmp_path / "r")
    assert not list(tmp_path.glob("none.*"))
    with opened(url) as storage:
        optuna.create_study(storage=storage, study_name="two", directions=["minimize", "maximize"])
    with pytest.raises(ConfigError, match="2 objectives"):
        import_study(f"{url}#two", tmp_path / "r")


def test_the_command(study, url, tmp_path, monkeypatch, capsys):
    """`genesis import URL#STUDY` makes a run that the other commands know, and says what it left out."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["import", f"{url}#theirs", "--json"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["imported"], len(said["refused"])) == (30, 2)
    assert CliRunner().invoke(app, ["show", "theirs"]).exit_code == 0
    assert CliRunner().invoke(app, ["import", f"{url}#theirs", "--run-id", "b"]).stdout.startswith("30 trials imported")
    monkeypatch.setattr("sys.argv", ["genesis", "import", f"{url}#theirs", "--run-id", "../up"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--run-id NAME" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["optuna.db", "first#2.db"])
def test_a_study_whose_name_holds_the_mark_comes_back(tmp_path, file):
    """`URL#STUDY` is cut behind the file, whatever the names of file and study are."""
    made = genesis.optimize(
        {
            "evaluate": lambda params: {"loss": params["x"]},
            "objective": "loss",
            "parameters": {"x": {"type": "float", "low": -5.0, "high": 5.0}},
            "run": {"run_id": "mine", "max_trials": 3, "seed": 3, "sampler": "random"},
        },
        workers=0,
        runs_dir=tmp_path,
    )
    url = f"sqlite:///{tmp_path}/{file}"
    export_optuna(made, url, "try #2#b")
    assert import_study(f"{url}#try #2#b", tmp_path / "again").imported == 3


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("postgresql://me:a#b@host/db#one#two", ("postgresql://me:a#b@host/db", "one#two")),
        ("optuna:postgresql://host/db#one", ("postgresql://host/db", "one")),
        ("mysql://host#one", ("mysql://host", "one")),
        ("sqlite:///nowhere.db#one", ("sqlite:///nowhere.db", "one")),
        ("journal:nowhere#1#one", ("journal:nowhere#1", "one")),
    ],
)
def test_where_a_source_is_cut(source, parts):
    """Behind the server, never in its password; at the last mark where nothing tells."""
    assert split_source(source) == parts
