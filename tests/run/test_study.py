"""`optimize`: whole studies, stopped, killed, resumed, refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import genesis
from genesis.errors import ConfigError, DataError, ResumeError, RunFailedError, StoreBusyError, StoreError
from genesis.trials.store import RunStore

HERE = Path(__file__).parent
SPHERE = {
    "evaluate": f"{HERE / 'objectives.py'}:sphere",
    "objective": {"metric": "loss", "direction": "minimize"},
    "parameters": {
        "x": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.01},
        "y": {"type": "float", "low": -5.0, "high": 5.0},
        "n": {"type": "int", "low": -9, "high": 9},
    },
    "run": {"run_id": "sphere", "max_trials": 120, "max_concurrent": 8, "seed": 3},
}
MARKET = {
    "data": {"source": "synthetic:seed=7,bars=1500,timeframe=1d", "warmup_bars": 60, "end": "2003-12-31"},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 10, "slippage_bps": 5},
    "objective": "sharpe",
    "parameters": {"fast": {"type": "int", "low": 3, "high": 20}, "slow": {"type": "int", "low": 21, "high": 60}},
    "run": {"run_id": "market", "max_trials": 60, "max_concurrent": 8, "seed": 3},
}


def study(base=SPHERE, objective=None, **changes):
    made = {**base, "run": {**base["run"]}}
    if objective is not None:
        made["evaluate"] = f"{HERE / 'objectives.py'}:{objective}"
    for path, value in changes.items():
        section, _, leaf = path.partition("__")
        if leaf:
            made[section] = {**made[section], leaf: value}
        else:
            made[section] = value
    return made


def rows(path):
    """All of a run that must not depend on workers and stops."""
    with RunStore.open(path, read_only=True) as store:
        trials = [
            (r.number, r.generation, r.key, r.state, r.score, sorted(r.metrics.items()), r.reason, r.fills_hash)
            for r in store.results()
        ]
        repeats = sorted(
            (d.generation, d.position, d.number_of_original, d.cause, d.origin) for d in store.duplicates()
        )
    return trials, repeats


def test_a_study_runs_and_says_what_it_found(tmp_path):
    """The best is the smallest loss, the table has a row per trial, and the folder keeps study and results."""
    run = genesis.optimize(study(), workers=2, runs_dir=tmp_path)
    table = run.trials()
    assert len(table) == run.count == 120
    assert run.best.metrics["loss"] == table["metrics_loss"].min()
    assert run.best.score == -run.best.metrics["loss"]
    assert {"params_x", "params_y", "params_n", "metrics_loss", "state", "score"} <= set(table.columns)
    assert run.stop_reason == "trials"
    assert run.path == tmp_path / "sphere"
    assert (run.path / "study.yaml").is_file()
    assert set(run.seconds) == {"propose", "claim", "features", "backtest", "keep", "tell", "idle"}
    assert genesis.open_run("sphere", runs_dir=tmp_path).best == run.best


def test_one_process_is_never_at_two_things(tmp_path):
    """Where the coordinator runs the trials itself, its stages and its idling add up to no more than the run took."""
    run = genesis.optimize(study(), workers=0, runs_dir=tmp_path)
    assert sum(run.seconds.values()) <= run.summary["elapsed"] * 1.001


def test_workers_do_not_change_the_answer(tmp_path):
    """In this process, on one worker and on three: the same trials, scores and repeats."""
    paths = [
        genesis.optimize(study(MARKET), workers=workers, runs_dir=tmp_path / str(workers)).path for workers in (0, 1, 3)
    ]
    first = rows(paths[0])
    assert len(first[0]) == 60
    assert all(rows(path) == first for path in paths[1:])


def test_a_finished_study_typed_again_runs_nothing(tmp_path):
    """The second time nothing is evaluated, and the answer is the same."""
    first = genesis.optimize(study(), workers=0, runs_dir=tmp_path)
    again = genesis.optimize(study(), workers=0, runs_dir=tmp_path)
    assert again.summary["new_trials"] == 0
    assert again.best == first.best


@pytest.mark.parametrize("budget", [3, 61])
def test_a_larger_budget_goes_on_as_if_it_had_been_asked_for_at_once(tmp_path, budget):
    """Extending a run gives the trials of the larger run."""
    whole = genesis.optimize(study(), workers=0, runs_dir=tmp_path / "whole")
    genesis.optimize(study(run__max_trials=budget), workers=0, runs_dir=tmp_path / "two")
    extended = genesis.optimize(study(), workers=0, runs_dir=tmp_path / "two")
    assert rows(extended.path) == rows(whole.path)


def test_another_study_under_the_same_name_is_refused(tmp_path):
    """Resume names every part that differs, and changes nothing."""
    run = genesis.optimize(study(), workers=0, runs_dir=tmp_path)
    before = rows(run.path)
    with pytest.raises(ResumeError, match=r"seed: was 3, now 4") as caught:
        genesis.optimize(study(run__seed=4, run__max_trials=200), workers=0, runs_dir=tmp_path)
    assert caught.value.details["differences"]
    assert rows(run.path) == before
    with pytest.raises(ResumeError, match="allow_resume"):
        genesis.optimize(study(run__allow_resume=False), workers=0, runs_dir=tmp_path)


def test_changed_bars_are_refused(tmp_path):
    """A run on other bars is another study, even under the same source name."""
    bars = genesis.load_bars("synthetic:seed=7,bars=600,timeframe=1d")
    frame = bars.to_frame()
    file = tmp_path / "bars.csv"
    frame.to_csv(file)
    asked = study(MARKET, data={"source": str(file), "warmup_bars": 60}, run__max_trials=8)
    genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    frame.iloc[-1, frame.columns.get_loc("volume")] += 1.0
    frame.to_csv(file)
    with pytest.raises(ResumeError, match=r"bars\.fingerprint"):
        genesis.optimize(asked, workers=0, runs_dir=tmp_path)


@pytest.mark.parametrize("sampler", ["tpe", "auto", "random", "grid", "brute", "optuna-random"])
def test_no_trial_breaks_a_rule_and_a_small_space_is_tried_whole(tmp_path, sampler):
    """Of 28 points 18 satisfy x > y: those are tried, once each, and the run says that it is exhausted."""
    asked = study(
        parameters={"x": {"type": "int", "low": 0, "high": 6}, "y": {"type": "int", "low": 0, "high": 3}},
        rules=["x > y"],
        run__sampler=sampler,
    )
    run = genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    points = [(result.params["x"], result.params["y"]) for result in run.store.results()]
    assert run.stop_reason == "exhausted"
    assert len(points) == len(set(points)) == 18
    assert all(x > y for x, y in points)
    again = genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    assert (again.stop_reason, again.summary["new_trials"]) == ("exhausted", 0)


def test_a_changed_objective_is_refused(tmp_path):
    """A callable in a file that was edited is another study; the same text elsewhere in a larger budget is not."""
    file = tmp_path / "mine.py"
    file.write_text("def f(params):\n    return {'loss': params['x'] ** 2}\n")
    asked = study(evaluate=f"{file}:f", run__max_trials=8)
    genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    genesis.optimize(asked, workers=0, runs_dir=tmp_path, flags={"run.max_trials": 16})
    file.write_text("def f(params):\n    return {'loss': params['x'] ** 4}\n")
    with pytest.raises(ResumeError, match="evaluate_code"):
        genesis.optimize(asked, workers=0, runs_dir=tmp_path)


def test_a_run_that_another_process_holds_is_refused(tmp_path):
    """Two coordinators on one run cannot be: the second is told so."""
    run = genesis.optimize(study(run__max_trials=8), workers=0, runs_dir=tmp_path)
    with RunStore.open(run.path), pytest.raises(StoreBusyError):
        genesis.optimize(study(), workers=0, runs_dir=tmp_path)


def test_the_search_never_sees_the_holdout(tmp_path):
    """Trials see no bar of the holdout; finalists are judged on it, trading inside it only, and both are shown."""
    with_holdout = study(
        MARKET, data__end="2002-12-31", holdout={"start": "2003-01-01", "end": "2003-12-31", "top_n": 5}
    )
    without = study(MARKET, data__end="2002-12-31")
    a = genesis.optimize(with_holdout, workers=0, runs_dir=tmp_path / "a")
    b = genesis.optimize(without, workers=0, runs_dir=tmp_path / "b")
    assert rows(a.path) == rows(b.path)
    assert len(a.holdout) == 5
    assert b.holdout == []
    first = a.holdout[0]
    assert first["number"] == a.best.number
    assert first["metrics"] == a.best.metrics
    bars = genesis.load_bars(MARKET["data"]["source"], end="2003-12-31")
    year = bars.index.year
    start = int(np.flatnonzero(year == 2003)[0])
    window = bars.slice(start - 60, len(bars))
    costs = genesis.Costs(fee_bps=10, slippage_bps=5)
    alone = genesis.backtest(window, "sma_cross", a.best.params, costs=costs, trade_from=60)
    assert first["holdout_metrics"] == dict(alone.metrics)
    assert (alone.fills["time"] >= "2003-01-01").all()


@pytest.mark.parametrize(
    ("kind", "words"),
    [(0, "loss=nan"), (1, "loss='low'"), (2, "returned float"), (3, "returned NoneType"), (4, "empty"), (5, "name 1")],
)
def test_nonsense_is_a_failed_trial_that_says_what_came(tmp_path, kind, words):
    """NaN, text, a bare number, nothing: each fails its trial with what was returned and what is allowed."""
    points = [{"x": kind}, {"x": 6}]
    asked = study(
        objective="nonsense",
        parameters={"x": {"type": "int", "low": 0, "high": 6}},
        run__max_trials=2,
        run__enqueue=points,
        run__max_concurrent=2,
    )
    run = genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    failed, fine = run.trial(0), run.trial(1)
    assert (failed.state, fine.state) == ("failed", "complete")
    assert words in failed.reason


def test_a_callable_that_ends_the_process_fails_one_trial(tmp_path):
    """os._exit in user code costs one trial, not the run."""
    asked = study(objective="deadly", parameters={"x": {"type": "int", "low": 0, "high": 6}}, run__max_trials=7)
    run = genesis.optimize(asked, workers=2, runs_dir=tmp_path)
    states = {result.params["x"]: result.state for result in run.store.results()}
    assert len(states) == 7
    assert [x for x, state in states.items() if state == "failed"] == [3]


def test_a_run_without_a_good_trial_raises_and_keeps_what_it_has(tmp_path):
    """When every trial fails the run says why in the exception, and the failures can be read."""
    asked = study(objective="only_scores", run__max_trials=500)
    with pytest.raises(RunFailedError, match="running scores only") as caught:
        genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    assert genesis.open_run(caught.value.details["path"]).states()["failed"] >= 50


def test_a_callable_gets_the_trials_seed(tmp_path):
    """A callable that asks for `seed` gets a number that depends on the study's seed and the trial's number alone."""
    asked = study(objective="seeded", parameters={"x": {"type": "float", "low": -1.0, "high": 1.0}}, run__max_trials=20)
    run = genesis.optimize(asked, workers=2, runs_dir=tmp_path)
    seeds = [result.metrics["seed"] for result in run.store.results()]
    assert len(set(seeds)) == 20


def test_a_command_reads_json_and_prints_json(tmp_path):
    """A command in any language can be the objective; one that fails or loops fails its trial with the reason."""
    script = tmp_path / "objective.py"
    script.write_text(
        "import json, sys, time\n"
        "x = json.load(sys.stdin)['params']['x']\n"
        "if x == 1: sys.exit('no ones')\n"
        "if x == 2: time.sleep(60)\n"
        "if x == 3: print('not json'); sys.exit()\n"
        "print('working'); print(json.dumps({'loss': x * x}))\n"
    )
    asked = {
        "command": [sys.executable, str(script)],
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": {"x": {"type": "int", "low": 0, "high": 4}},
        "run": {"run_id": "command", "strategy": "grid", "max_concurrent": 5, "trial_seconds": 2.0},
    }
    run = genesis.optimize(asked, workers=2, runs_dir=tmp_path)
    found = {result.params["x"]: result for result in run.store.results()}
    assert run.stop_reason == "exhausted"
    assert found[4].metrics == {"loss": 16.0}
    assert "no ones" in found[1].reason
    assert "2 s" in found[2].reason
    assert "not json" in found[3].reason


def test_a_holdout_without_bars_is_refused_before_the_search(tmp_path):
    """A holdout beyond the data is an error at once, not after the last trial."""
    asked = study(MARKET, holdout={"start": "2031-01-01"})
    with pytest.raises(DataError, match="2031-01-01"):
        genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("base", ["strategy", "callable"])
def test_a_pruner_stops_trials_the_same_on_any_number_of_workers(tmp_path, base):
    """Pruned trials are kept with what they had, and which ones are pruned depends on the study alone."""
    if base == "strategy":
        asked = study(MARKET, run__pruner={"type": "median", "kwargs": {"n_startup_trials": 8}}, run__segments=4)
    else:
        asked = study(
            objective="running", parameters={"x": {"type": "float", "low": -3.0, "high": 3.0}}, run__pruner="median"
        )
    found = []
    for workers in (0, 2):
        run = genesis.optimize(asked, workers=workers, runs_dir=tmp_path / str(workers))
        found.append(rows(run.path))
        pruned = [result for result in run.store.results() if result.state == "pruned"]
        assert 0 < len(pruned) < run.count
        assert all(1 <= len(result.reports) <= 3 and "pruned" in result.reason for result in pruned)
        assert run.best.state == "complete"
    assert found[0] == found[1]
    first = 37 if base == "callable" else 21
    genesis.optimize(asked, workers=0, runs_dir=tmp_path / "cut", flags={"run.max_trials": first})
    assert rows(genesis.optimize(asked, workers=0, runs_dir=tmp_path / "cut").path) == found[0]


def test_async_keeps_every_trial_once_and_resumes(tmp_path):
    """Out of order, nothing is promised but this: the budget is kept, no point runs twice, and it can be stopped."""
    asked = study(objective="slow_sphere", run__mode="async")
    genesis.optimize(asked, workers=2, runs_dir=tmp_path, flags={"run.timeout_seconds": 0.1})
    run = genesis.optimize(asked, workers=2, runs_dir=tmp_path)
    results = list(run.store.results())
    assert len({result.key for result in results}) == len(results) == 120
    assert run.best.score == max(result.score for result in results)


def test_warm_start_tells_the_sampler_what_another_run_found(tmp_path):
    """A run that begins with another's results has no startup trials, and is still the same on every resume."""
    first = genesis.optimize(study(), workers=0, runs_dir=tmp_path)
    asked = study(run__run_id="warm", run__warm_start=str(first.path), run__seed=5, run__max_trials=60)
    whole = genesis.optimize(asked, workers=0, runs_dir=tmp_path / "whole")
    assert "startup" not in whole.store.history().origins
    genesis.optimize(asked, workers=0, runs_dir=tmp_path / "cut", flags={"run.max_trials": 21})
    assert rows(genesis.optimize(asked, workers=2, runs_dir=tmp_path / "cut").path) == rows(whole.path)
    with pytest.raises(ConfigError, match="no run is kept"):
        genesis.optimize(study(run__run_id="x", run__warm_start=str(tmp_path / "nothing")), runs_dir=tmp_path)


def test_bad_flags_and_missing_runs_are_said_before_anything_runs(tmp_path):
    """A setting that does not exist and a run that is not there are errors of their own kind."""
    with pytest.raises(ConfigError, match="patiense"):
        genesis.optimize(study(), workers=0, runs_dir=tmp_path, flags={"run.patiense": 3})
    with pytest.raises(ResumeError, match="no run to resume"):
        genesis.optimize(study(), workers=0, runs_dir=tmp_path, resume=True)
    with pytest.raises(StoreError, match="no run is kept"):
        genesis.open_run("nothing", runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_progress_sees_the_run_grow_and_end(tmp_path):
    """Events never go back, and the last says why the run stopped."""
    events = []
    genesis.optimize(study(objective="slow_sphere"), workers=2, runs_dir=tmp_path, progress=events.append)
    assert events[0].phase == "starting"
    assert events[-1].phase == "finished"
    assert events[-1].stop_reason == "trials"
    assert events[-1].done == 120
    counts = [event.done for event in events]
    assert counts == sorted(counts)


def _start(folder, objective="slow_sphere", trials=120):
    script = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import genesis\n"
        f"from test_study import study\n"
        f"asked = study(objective={objective!r}, run__max_trials={trials})\n"
        f"genesis.optimize(asked, workers=2, runs_dir={str(folder)!r})\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _count(folder):
    try:
        with RunStore.open(folder, read_only=True) as store:
            return store.count
    except StoreError:
        return 0


def test_kill_nine_at_random_moments_loses_and_doubles_nothing(tmp_path):
    """SIGKILL of the coordinator wherever it happens to be, then resume: trial by trial the undisturbed run."""
    whole = genesis.optimize(study(objective="slow_sphere"), workers=0, runs_dir=tmp_path / "whole")
    rng = np.random.default_rng()
    kills = 0
    for _ in range(2):
        process = _start(tmp_path / "killed")
        before = _count(tmp_path / "killed" / "sphere")
        target = before + int(rng.integers(1, 40))
        while process.poll() is None and _count(tmp_path / "killed" / "sphere") < target:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 1
    end = genesis.optimize(study(objective="slow_sphere"), workers=2, runs_dir=tmp_path / "killed")
    assert rows(end.path) == rows(whole.path)
    with RunStore.open(end.path, read_only=True) as store:
        assert store.integrity().ok


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_and_resumes(tmp_path, number):
    """An interrupt leaves no worker behind, keeps what finished, exits 130 with the line to resume; resume is exact."""
    file = tmp_path / "study.yaml"
    config = genesis.load_study(study(objective="slow_sphere", run__max_trials=400))
    file.write_text(config.to_yaml())
    command = [sys.executable, "-c", "from genesis.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "run", str(file), "--workers", "2", "--runs-dir", str(tmp_path / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and _count(tmp_path / "runs" / "sphere") < 20:
        time.sleep(0.005)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "genesis resume" in out
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    kept = rows(tmp_path / "runs" / "sphere")[0]
    assert 20 <= len(kept) < 400
    end = genesis.optimize(config, workers=2, runs_dir=tmp_path / "runs", flags={"run.max_trials": 160})
    whole = genesis.optimize(config, workers=0, runs_dir=tmp_path / "whole", flags={"run.max_trials": 160})
    assert rows(end.path) == rows(whole.path)


def test_the_finalists_trade_differently(tmp_path):
    """A trial that trades exactly like a better one gives its place among the finalists to the next."""
    study_of_likes = study(
        MARKET,
        data={"source": "sample:IBM", "start": "2003-01-01", "end": "2006-12-31", "warmup_bars": 150},
        holdout={"start": "2007-01-01", "end": "2007-12-31"},
        strategy="fibonacci",
        parameters={
            "ltf_fib.entry.tolerance_atr": {"type": "float", "low": 4.0, "high": 6.0, "step": 0.05},
            "thresholds.entry_conf_overall": {"type": "float", "low": 0.3, "high": 0.4, "step": 0.05},
        },
    )
    run = genesis.optimize(study_of_likes, workers=0, runs_dir=tmp_path)
    assert run.behaviours < run.count
    hashes = [run.trial(row["number"]).fills_hash for row in run.holdout]
    assert len(hashes) == len(set(hashes)) > 1
    assert run.holdout[0]["number"] == run.best.number
    assert [one.number for one in run.top(len(hashes), distinct=True)] == [row["number"] for row in run.holdout]


def test_a_callable_that_writes_into_its_parameters_changes_no_stored_trial(tmp_path):
    """The store keeps what was proposed, in the coordinator's own process as in workers."""
    space = {"x": {"type": "float", "low": -1.0, "high": 1.0}, "deep.y": {"type": "fixed", "value": [3]}}
    for workers in (0, 1):
        asked = study(objective="greedy", parameters=space, run__max_trials=6, run__run_id=f"w{workers}")
        for result in genesis.optimize(asked, workers=workers, runs_dir=tmp_path).store.results():
            assert result.metrics["loss"] == result.params["x"] ** 2
            assert result.params["deep"] == {"y": [3]}


def test_a_metric_too_large_for_a_float_is_named(tmp_path):
    """An integer of 400 digits is nonsense like infinity is, and is said in the same words."""
    asked = study(objective="huge", run__max_trials=2, run__max_failures=9)
    run = genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    assert run.trial(0).reason.startswith("returned loss=1000")


def test_a_complete_run_typed_again_runs_nothing_at_all(tmp_path, monkeypatch):
    """No sampler, no warming up, no workers; other limits, more trials or a killed session do not count as complete."""
    study = {
        "evaluate": f"{Path(__file__).parent / 'objectives.py'}:sphere",
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": {"x": {"type": "float", "low": -5.0, "high": 5.0}},
        "run": {"run_id": "again", "max_trials": 20, "max_concurrent": 4, "sampler": "tpe"},
    }
    first = genesis.optimize(study, workers=0, runs_dir=tmp_path)
    events = []
    with monkeypatch.context() as patched:
        patched.setattr("genesis.run.study.make_sampler", None)
        patched.setattr("genesis.run.study.Loop", None)
        again = genesis.optimize(study, workers=0, runs_dir=tmp_path, progress=events.append)
    assert again.summary == {**first.summary, "new_trials": 0}
    assert again.best == first.best
    assert [(one.phase, one.done, one.resumed, one.stop_reason) for one in events] == [("finished", 20, 20, "trials")]
    assert events[0].best_score == first.best.score
    more = genesis.optimize(study, workers=0, runs_dir=tmp_path, flags={"run.max_trials": 24})
    assert more.summary["new_trials"] == 4
    back = genesis.optimize(study, workers=0, runs_dir=tmp_path)
    assert (back.stop_reason, back.count, back.summary["new_trials"]) == ("trials", 24, 0)


def test_a_study_that_cannot_be_searched_leaves_no_run_behind(tmp_path):
    """What is refused before the first trial makes no folder, so the corrected study may use its name."""
    asked = {
        "evaluate": f"{HERE / 'objectives.py'}:sphere",
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": {"x": {"type": "float", "low": -5.0, "high": 5.0}},
        "run": {"run_id": "early", "max_trials": 4, "mode": "async", "pruner": "median"},
    }
    with pytest.raises(ConfigError, match="async cannot be used with a pruner"):
        genesis.optimize(asked, workers=0, runs_dir=tmp_path)
    assert not (tmp_path / "early").exists()
    mended = {**asked, "run": {**asked["run"], "pruner": "none"}}
    assert genesis.optimize(mended, workers=0, runs_dir=tmp_path).count == 4
