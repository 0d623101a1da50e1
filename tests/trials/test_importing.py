"""A folder of an older optimizer becomes a run: every usable trial once, every other file named with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from genesis.cli import app
from genesis.errors import StoreError
from genesis.run.result import Run
from genesis.trials.importing import import_folder
from genesis.trials.store import RunStore
from genesis.types import Violation

GOOD: dict[str, dict[str, Any]] = {
    "trial_1.json": {"parameters": {"a": {"b": 1.5}, "mode": "x", "k": 3}, "score": 2.5, "metrics": {"sharpe": 1.0}},
    "trial_2.json": {
        "params": {"a": {"b": 2.5}, "mode": "y", "k": 3},
        "score": {"score": -1.0, "metrics": {"trades": 7, "note": "x", "pf": None}, "hard_failures": ["min_trades"]},
    },
    "trial_3.json": {"parameters": {"a": {"b": 3.0}, "mode": "x", "k": 4}, "error": "it broke", "traceback": "Trace"},
    "trial_4.json": {"parameters": {"a": {"b": 4.0}, "k": 4}, "value": 1},
}
BAD: dict[str, tuple[str, str]] = {
    "trial_5.json": (
        '{"parameters": {"k": 3, "mode": "x", "a": {"b": 1.5}}, "score": 9}',
        "the parameters of trial_1.json",
    ),
    "trial_6.json": ('{"parameters": {"a": {"b": 9}}}', "its score is None"),
    "trial_7.json": ('{"parameters": {"a": {"b": 8.0}}, "score": "high"}', "its score is 'high'"),
    "trial_8.json": ('{"parameters": {"a": {"b": 7.0}}, "score": 1, "metrics": [1]}', "its metrics are list"),
    "trial_9.json": ("{", "is not JSON"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "old"
    path.mkdir()
    for name, trial in GOOD.items():
        (path / name).write_text(json.dumps(trial))
    for name, (text, _) in BAD.items():
        (path / name).write_text(text)
    return path


def test_every_usable_file_is_a_trial(folder: Path, tmp_path: Path) -> None:
    """Parameters, scores, metrics and failures as the files have them; the rest is refused by name and reason."""
    report = import_folder(folder, tmp_path / "runs" / "old")
    assert report.imported == 4
    assert [each.name for each in report.refused] == sorted(BAD)
    for each in report.refused:
        assert BAD[each.name][1] in each.reason
    with RunStore.open(report.run_dir, read_only=True) as store:
        results = list(store.results())
        assert store.integrity().ok
    assert [result.score for result in results] == [2.5, -1.0, None, 1.0]
    assert [result.state for result in results] == ["complete", "complete", "failed", "complete"]
    assert results[0].params == GOOD["trial_1.json"]["parameters"]
    assert results[1].metrics == {"trades": 7.0, "pf": None}
    assert results[1].violations == (Violation("min_trades", 0.0, None, 1.0),)
    assert (results[2].reason, results[2].traceback) == ("it broke", "Trace")


BESIDE = {"trial_0.json": {"fast": 2}, "trial_1.json": {"fast": 3}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"parameters": {"fast": {"a": 1}}, "score": 1}', "has 'fast' as a group of parameters, unlike trial_0.json"),
        ('{"parameters": {"fast": 4, "fast.b": 3}, "score": 1}', "has 'fast' both as a parameter and as a group"),
        ('{"parameters": {"g.b": 3, "g": {"b": 4}, "fast": 8}, "score": 1}', "says 'g.b' twice"),
        ('{"parameters": {"": 9}, "score": 1}', "has '' as a parameter, which is no name"),
        ('{"parameters": {"fast": 1000000000000000000000000000000}, "score": 1}', "a parameter that no space can hold"),
        ('{"parameters": {"fast": 9}, "score": {"score": 1, "hard_failures": 3}}', "its hard_failures are int"),
        ('{"parameters": {"fast": 9}, "score": 1%s}' % ("0" * 400), "its score is beyond what a float can hold"),
    ],
)
@pytest.mark.parametrize("name", ["trial_2.json", "trial_.json"])
def test_one_file_that_cannot_be_used_refuses_no_other(tmp_path: Path, text: str, reason: str, name: str) -> None:
    """First or last in the folder: it is named with its reason, and the sound ones are imported."""
    (tmp_path / name).write_text(text)
    for other, params in BESIDE.items():
        (tmp_path / other).write_text(json.dumps({"parameters": params, "score": 1}))
    report = import_folder(tmp_path, tmp_path / "r")
    assert report.imported == 2
    assert [each.name for each in report.refused] == [name]
    assert reason in report.refused[0].reason


def test_files_that_contradict_each_other_are_both_named(tmp_path: Path) -> None:
    """The first stays, whatever the scores are; the same said twice is no contradiction."""
    for index, score in enumerate((1.5, 9, 1.5)):
        (tmp_path / f"trial_{index}.json").write_text(json.dumps({"parameters": {"k": 3}, "score": score}))
    report = import_folder(tmp_path, tmp_path / "r")
    assert [each.name for each in report.refused] == ["trial_1.json", "trial_2.json"]
    assert "the parameters of trial_0.json and contradicts it (score 9.0, there score 1.5)" in report.refused[0].reason
    assert "delete the one that is wrong" in report.refused[0].reason
    assert report.refused[1].reason == "has the parameters of trial_0.json and says the same"
    assert Run(report.run_dir).best.score == 1.5


def test_numbers_too_far_apart_for_a_range_are_choices(tmp_path: Path) -> None:
    """Integers beyond 2**53 and floats whose difference is infinite are kept as they are."""
    values = [1, 2**60, -(2**60)]
    for index, value in enumerate(values):
        trial = {"parameters": {"k": value, "x": 9e307 * (index - 1)}, "score": index}
        (tmp_path / f"trial_{index}.json").write_text(json.dumps(trial))
    run = Run(import_folder(tmp_path, tmp_path / "r").run_dir)
    assert [run.trial(number).params["k"] for number in range(3)] == values
    assert [run.space.decode(vector)["k"] for vector in run.store.history().vectors] == values
    run.close()


def test_an_imported_run_is_read_like_any_other(folder: Path, tmp_path: Path) -> None:
    """Its best trial, its table, and a space that decodes each stored point to the parameters of the file."""
    report = import_folder(folder, tmp_path / "r")
    run = Run(report.run_dir)
    assert run.best.params == GOOD["trial_1.json"]["parameters"]
    assert run.trials()["params_a.b"].tolist() == [1.5, 2.5, 3.0, 4.0]
    history = run.store.history()
    for vector, result in zip(history.vectors[:3], run.store.results(), strict=False):
        assert run.space.decode(vector) == result.params
    run.close()


def test_a_folder_without_a_usable_trial_makes_no_run(tmp_path: Path) -> None:
    """Nothing, or nothing usable: an error with examples, and no run."""
    (tmp_path / "old").mkdir()
    with pytest.raises(StoreError, match="there are no such files"):
        import_folder(tmp_path / "old", tmp_path / "r")
    (tmp_path / "old" / "trial_1.json").write_text("{")
    with pytest.raises(StoreError, match=r"trial_1\.json is not JSON"):
        import_folder(tmp_path / "old", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_the_command_reports_what_it_did(folder: Path, tmp_path: Path) -> None:
    """`genesis import`, as text and as JSON; a second import into the same run is refused."""
    runner = CliRunner()
    said = runner.invoke(app, ["import", str(folder), "--runs-dir", str(tmp_path / "runs"), "--json"])
    assert said.exit_code == 0, said.output
    document = json.loads(said.output)
    assert (document["imported"], len(document["refused"])) == (4, 5)
    assert (Path(document["run"]) / "run.db").is_file()
    said = runner.invoke(app, ["import", str(folder), "--runs", str(tmp_path / "runs"), "--run-id", "two"])
    assert "4 trials imported" in said.output
    assert "trial_9.json: is not JSON" in said.output
    again = runner.invoke(app, ["import", str(folder), "--runs", str(tmp_path / "runs"), "--run-id", "two"])
    assert isinstance(again.exception, StoreError)
    assert "holds a run already" in str(again.exception)
    assert "--runs " not in runner.invoke(app, ["import", "--help"]).output  # its former name, which still works


def test_the_bench_command_measures() -> None:
    """`genesis bench --json`: every figure is a positive number."""
    said = CliRunner().invoke(app, ["bench", "--trials", "200", "--json"])
    assert said.exit_code == 0, said.output
    figures = json.loads(said.output)
    assert {"keys_per_sec_cold", "guard_adds_per_sec", "trials_kept_per_sec_by_8", "reopen_ms"} <= figures.keys()
    guide = figures.pop("guide")
    assert all(value > 0 for value in figures.values() if not isinstance(value, str))
    assert [title.split(" (")[0] for title in guide] == [
        "Trial Key Generation",
        "Parameter Signature",
        "SQLite Deduplication",
        "Trial Loading",
    ]
    assert all(value > 0 for fields in guide.values() for value in fields.values())
    assert "cold_cache_ms" in CliRunner().invoke(app, ["bench", "--trials", "200"]).output
