"""The coordinator's loop: the same trials and scores whatever the workers, the stops and the kills."""

from __future__ import annotations

import faulthandler
import os
import time
from pathlib import Path

import numpy as np
import pytest

from genesis.config import load_study
from genesis.errors import RunFailedError
from genesis.run.executors import ProcessExecutor, SerialExecutor
from genesis.run.loop import Limits, Loop
from genesis.run.proposals import Proposer
from genesis.run.restored import Values, told_before
from genesis.run.resume import restore
from genesis.run.study import _plan
from genesis.run.tally import Tally
from genesis.run.worker import failed_result, run_trial
from genesis.search.samplers import make_sampler
from genesis.search.space import Space
from genesis.trials.store import RunStore, Stored
from genesis.types import TrialResult, TrialSpec

SPEC = {
    "x": {"type": "float", "low": -1.0, "high": 1.0, "step": 0.05},
    "n": {"type": "int", "low": 1, "high": 30},
    "kind": {"type": "grid", "values": ["a", "b"]},
}
SMALL = {"n": {"type": "int", "low": 1, "high": 5}, "kind": {"type": "grid", "values": ["a", "b"]}}


def score(params):
    return -((params.get("x", 0.0) - 0.3) ** 2) - (params["n"] - 7) ** 2 / 100 - (params["kind"] == "b") * 0.1


def evaluate(spec, report=None):
    value = score(spec.params)
    return TrialResult(
        number=spec.number,
        generation=spec.generation,
        key=spec.key,
        params=spec.params,
        state="complete",
        score=value,
        metrics={"loss": -value, "seed": float(spec.seed)},
    )


def unsteady(spec, report=None):
    """Slower for some trials than for others, so that workers finish out of order."""
    time.sleep(0.004 * (spec.seed % 3))
    return evaluate(spec)


def search(
    folder: Path,
    trials: int | None,
    *,
    spec=SPEC,
    sampler="tpe",
    workers=0,
    lag=1,
    prompt=0,
    run=evaluate,
    size=8,
    stop_after=None,
    enqueued=(),
    time_limit=None,
    **limits,
):
    space = Space.from_spec(spec)
    chosen = make_sampler(sampler, {}, space, seed=11, concurrency=size, budget=400)
    values, tally = Values(), Tally("test", trials, workers)
    proposer = Proposer(space, chosen, seed=11, size=size, max_streak=50, enqueued=enqueued)
    exists = (folder / "run.db").exists()
    ran = []

    def counted(spec, report=None):
        ran.append(spec.number)
        return run(spec, report)

    def stop_asked():
        return stop_after is not None and len(ran) >= stop_after

    with RunStore.open(folder) if exists else RunStore.create(folder, {"test": True}) as store:
        found = restore(store, proposer, values, tally, lag=lag, prompt=prompt, sampler_name=sampler)
        executor = ProcessExecutor(run, workers, time_limit=time_limit) if workers else SerialExecutor(counted)
        try:
            loop = Loop(
                store=store,
                proposer=proposer,
                executor=executor,
                values=values,
                tally=tally,
                limits=Limits(trials=trials, **limits),
                lag=lag,
                prompt=prompt,
                restored=found,
                progress=None,
                stop_asked=stop_asked,
            )
            reason = loop.run()
        finally:
            executor.close(kill=True)
        rows = [
            (r.number, r.generation, r.key, r.state, r.score, tuple(sorted(r.metrics.items())), r.reason)
            for r in store.results()
        ]
        repeats = sorted(
            (d.generation, d.position, d.number_of_original, d.cause, d.origin) for d in store.duplicates()
        )
    return reason, rows, repeats, loop


def test_what_is_told_when_a_generation_is_proposed():
    """All before it; from the prompt ones on all but the lag, and never less than was told before."""
    assert [told_before(n, 1, 0) for n in range(5)] == [0, 0, 1, 2, 3]
    assert [told_before(n, 1, 3) for n in range(7)] == [0, 1, 2, 2, 3, 4, 5]
    assert [told_before(n, 3, 3) for n in range(9)] == [0, 1, 2, 2, 2, 2, 3, 4, 5]
    assert [told_before(n, 0, 2) for n in range(4)] == [0, 1, 2, 3]


def test_the_first_trials_have_no_lag_unless_the_study_says_one():
    """Whole generations that cover 300 trials; a lag of one's own, another sampler and one at a time have none."""

    def plan(**run):
        study = {
            "evaluate": "examples.sphere:evaluate",
            "objective": "loss",
            "parameters": SPEC,
            "run": {"max_trials": 900} | run,
        }
        return _plan(load_study(study, env={}))

    for sampler in ("auto", "tpe"):
        assert plan(sampler=sampler, max_concurrent=8)[3:5] == (1, 38)
        assert plan(sampler=sampler, max_concurrent=64)[3:5] == (1, 5)
        assert plan(sampler=sampler, max_concurrent=1)[3:5] == (0, 0)
        assert plan(sampler=sampler, max_concurrent=1, lag=1)[3:5] == (1, 0)
    assert plan(sampler="auto", max_concurrent=8, lag=1).prompt == 0
    assert plan(sampler="auto", max_concurrent=8, lag=0).prompt == 0
    assert plan(sampler="auto", max_concurrent=8, mode="async").prompt == 0
    assert plan(sampler="random", max_concurrent=8)[3:5] == (0, 0)


@pytest.mark.parametrize(("lag", "prompt"), [(0, 0), (1, 0), (2, 0), (1, 9), (2, 5)])
def test_any_number_of_workers_gives_the_same_trials(tmp_path, lag, prompt):
    """One worker, two, four or none: the same trials, in the same generations, with the same scores and repeats."""
    one = search(tmp_path / "0", 150, lag=lag, prompt=prompt)
    assert one[0] == "trials"
    assert len(one[1]) == 150
    for workers in (1, 2, 4):
        other = search(tmp_path / str(workers), 150, lag=lag, prompt=prompt, workers=workers, run=unsteady)
        assert other[:3] == one[:3]


@pytest.mark.parametrize("sampler", ["tpe", "auto", "random", "grid", "brute", "cmaes", "optuna-tpe"])
@pytest.mark.parametrize("prompt", [0, 11])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, sampler, prompt, monkeypatch):
    """Stopped at odd moments and resumed, a run has the trials, scores and repeats of one that was never stopped."""
    monkeypatch.setattr("genesis.run.executors.TARGET_CHUNK_SECONDS", 0.0)  # one trial a poll: stops fall anywhere
    foreign = sampler in ("cmaes", "optuna-tpe")
    lag, trials = int(sampler in ("tpe", "auto")), 60 if foreign else 160
    lag += 2 * int(bool(prompt and lag))  # several generations come under way at once where the prompt ones end
    whole = search(tmp_path / "whole", trials, sampler=sampler, lag=lag, prompt=prompt)
    rng = np.random.default_rng(5)
    reason, sessions = "", 0
    while reason != "trials":
        reason, rows, repeats, _ = search(
            tmp_path / "cut", trials, sampler=sampler, lag=lag, prompt=prompt, stop_after=int(rng.integers(3, 40))
        )
        sessions += 1
    assert sessions > 2
    assert rows == whole[1]
    assert repeats == whole[2]


@pytest.mark.parametrize("first", [1, 37, 100])
def test_a_larger_budget_later_equals_a_larger_budget_at_once(tmp_path, first):
    """A budget that ends inside a generation leaves its other proposals for the larger budget to run."""
    whole = search(tmp_path / "whole", 120)
    assert len(search(tmp_path / "two", first)[1]) == first
    assert search(tmp_path / "two", 120)[1:3] == whole[1:3]


def test_a_finished_run_runs_nothing_more(tmp_path):
    """Typed again, a complete run evaluates nothing and stores nothing."""
    done = search(tmp_path, 64)

    def never(spec, report=None):
        raise AssertionError("a finished run evaluated a trial")

    again = search(tmp_path, 64, run=never)
    assert again[:3] == done[:3]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_an_exhausted_space_ends_the_run_with_every_point_tried_once(tmp_path, sampler):
    """A space of ten points gives ten different trials, and the run says that it is exhausted."""
    reason, rows, _, loop = search(tmp_path, 100, spec=SMALL, sampler=sampler)
    assert reason == "exhausted"
    assert len({row[2] for row in rows}) == len(rows) == 10
    assert "10 points" in loop.message or "every point" in loop.message


def test_repeats_are_counted_and_never_run(tmp_path):
    """What the sampler proposes again is recorded with its cause and the trial whose value it was told."""
    _, rows, repeats, loop = search(tmp_path, 100, spec=SMALL, sampler="tpe")
    assert repeats
    assert sum(loop.tally.duplicates.values()) == len(repeats)
    numbers = {row[0] for row in rows}
    assert all(original in numbers for _, _, original, _, _ in repeats)
    assert {cause for _, _, _, cause, _ in repeats} <= {"same_generation", "snapped", "claimed", "stored"}


def test_enqueued_points_come_first_in_their_order(tmp_path):
    """Points to try first are trials 0, 1, …, also when there are more of them than one generation holds."""
    points = [{"x": round(0.05 * i, 2), "n": 3 + i, "kind": "a"} for i in range(11)]
    search(tmp_path / "a", 40, enqueued=points)
    with RunStore.open(tmp_path / "a", read_only=True) as store:
        assert [store.result(i).params["n"] for i in range(8)] == [3 + i for i in range(8)]
        assert store.history().origins[:8] == ["enqueued"] * 8
        assert {store.result(i).params["n"] for i in range(8, 11)} == {11, 12, 13}


def test_a_trial_that_fails_is_kept_and_the_run_goes_on(tmp_path):
    """A raise in one trial of three is a failed result with its words; the others are complete."""

    def shaky(spec, report=None):
        if spec.number % 3 == 0:
            raise ValueError(f"no luck with {spec.number}")
        return evaluate(spec)

    reason, rows, _, _ = search(tmp_path, 60, run=shaky, workers=2)
    assert reason == "trials"
    assert [row[3] for row in rows] == ["failed" if row[0] % 3 == 0 else "complete" for row in rows]
    assert rows[3][6] == "ValueError: no luck with 3"


def test_a_run_whose_trials_all_fail_stops_early(tmp_path):
    """After the first 50 trials failed without exception, the run stops and says why."""

    def broken(spec, report=None):
        return failed_result(spec, "always")

    reason, rows, _, loop = search(tmp_path, 1_000, run=broken, workers=1)
    assert reason == "failures"
    assert 50 <= len(rows) < 100
    assert "always" in loop.message


def test_max_failures_is_a_number_of_failed_trials(tmp_path):
    """With max_failures 5 the sixth failure ends the run."""
    reason, rows, _, _ = search(tmp_path, 200, run=lambda spec, report=None: failed_result(spec, "no"), failures=5)
    assert reason == "failures"
    assert len(rows) < 50


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_a_worker_that_dies_fails_its_trial_and_no_other(tmp_path, how):
    """The trial whose code ends the process is failed after a second try; the pool goes on with the rest."""

    def deadly(spec, report=None):
        if spec.number == 13:
            if how == "exit":
                os._exit(3)
            faulthandler.disable()  # pytest's dump of the stack is not what is tested
            os.kill(os.getpid(), 11)
        return evaluate(spec)

    reason, rows, _, _ = search(tmp_path, 48, run=deadly, workers=2)
    assert reason == "trials"
    assert [row[0] for row in rows if row[3] == "failed"] == [13]
    assert ("exit code 3" if how == "exit" else "SIGSEGV") in rows[13][6]


def test_a_worker_killed_from_outside_costs_nothing(tmp_path):
    """A worker that dies once has its trial run again: the results are those of an undisturbed run."""
    marker = tmp_path / "died"

    def once(spec, report=None):
        if spec.number == 9 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        return evaluate(spec)

    disturbed = search(tmp_path / "a", 40, run=once, workers=2)
    assert marker.exists()
    assert disturbed[:3] == search(tmp_path / "b", 40)[:3]


def test_a_trial_that_loops_is_stopped_at_its_limit(tmp_path):
    """An endless trial is killed with its worker, fails with the limit in its reason, and the run goes on."""

    def endless(spec, report=None):
        while spec.number == 5:
            time.sleep(0.01)
        return evaluate(spec)

    reason, rows, _, _ = search(tmp_path, 24, run=endless, workers=2, time_limit=0.3)
    assert reason == "trials"
    assert rows[5][3] == "failed"
    assert "0.3 s" in rows[5][6]
    assert all(row[3] == "complete" for row in rows if row[0] != 5)


def test_workers_that_cannot_start_a_trial_end_the_run(tmp_path, monkeypatch):
    """Workers that end before their first trial, time after time, are an error and not an endless loop."""
    monkeypatch.setattr("genesis.run.executors.work", lambda *arguments: None)
    with pytest.raises(RunFailedError, match="workers die"):
        search(tmp_path, 24, workers=1)


def test_a_target_and_a_plateau_end_the_run(tmp_path):
    """The run ends when a feasible score reaches the target, or when nothing improved for `patience` trials."""
    assert search(tmp_path / "t", 400, target=-0.5)[0] == "target"
    reason, rows, _, loop = search(tmp_path / "p", 1_000, patience=60)
    assert reason == "plateau"
    assert loop.message == "no improvement in 60 trials"
    scores = [row[4] for row in rows]
    assert any(max(scores[:end]) == max(scores[: end - 60]) for end in range(61, len(rows) + 1))


def test_seconds_end_the_run_and_keep_what_finished(tmp_path):
    """A budget in seconds stops between trials; the rest goes on in the next session, with the same answer."""
    whole = search(tmp_path / "whole", 60)

    def slow(spec, report=None):
        time.sleep(0.01)
        return evaluate(spec)

    reason, rows, _, _ = search(tmp_path / "cut", 60, run=slow, seconds=0.1)
    assert reason == "seconds"
    assert len(rows) < 60
    assert search(tmp_path / "cut", 60)[1:3] == whole[1:3]


def test_the_best_is_feasible_first_then_largest_then_earliest():
    """An infeasible trial never beats a feasible one, and a tie does not move the best."""
    tally = Tally("test", None, 1)
    base = evaluate_spec(0, 1.0)
    assert tally.add(base, "a")
    assert not tally.add(evaluate_spec(1, 1.0), "a")
    assert tally.add(evaluate_spec(2, 1.5), "a")
    assert not tally.add(evaluate_spec(3, 0.5), "a")
    assert tally.best.number == 2


def evaluate_spec(number, value):
    return TrialResult(number=number, generation=0, key="k", params={}, state="complete", score=value, metrics={})


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize("error", [RuntimeError("lone \udcff half"), UnprintableError(), SystemExit(3)])
def test_whatever_a_trial_raises_becomes_a_result_that_can_be_kept(error, tmp_path):
    """A message of odd characters, or none that can be made, is that trial's failure and never the run's."""

    def raises(spec, report=None):
        raise error

    spec = TrialSpec(number=0, generation=0, key="00" * 32, params={"n": 1}, seed=1)
    result = run_trial(raises, spec, None)
    assert result.state == "failed"
    with RunStore.create(tmp_path / "run", {}) as store:
        store.append([Stored(result, np.zeros(1), "tpe")])
        assert type(error).__name__ in store.result(0).traceback


@pytest.mark.parametrize("limit", [{"target": -0.5}, {"patience": 40}])
def test_a_run_that_a_result_ends_has_the_same_trials_on_any_number_of_workers(tmp_path, limit):
    """What was under way when the target or the plateau was reached is finished, however fast the workers are."""
    one = search(tmp_path / "0", 400, **limit)
    assert len(one[1]) < 400
    for workers in (1, 2):
        other = search(tmp_path / str(workers), 400, workers=workers, run=unsteady, **limit)
        assert other[:3] == one[:3]


def test_rules_that_nothing_keeps_end_the_run_with_that_reason(tmp_path):
    """A contradiction between rules and ranges is named, not reported as a space that was tried to its end."""
    spec = {"a": {"type": "int", "low": 1, "high": 5}, "b": {"type": "int", "low": 6, "high": 9}}
    space = Space.from_spec(spec, rules=["a > b"])
    sampler = make_sampler("tpe", {}, space, seed=1, concurrency=4, budget=20)
    proposer = Proposer(space, sampler, seed=1, size=4, max_streak=50)
    assert proposer.propose(0, 0).specs == []
    assert "no point of the space keeps the rules" in proposer.why
