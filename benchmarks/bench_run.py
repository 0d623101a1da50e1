"""Whole runs: trials a second, the coordinator's time per trial as a study grows, resume, memory; Optuna with SQLite.

The peer runs the same backtests on the same bars, proposed by Optuna's TPE and kept in its SQLite storage, in turn with
ours. Before anything is timed the answers are checked: a stored trial's metrics are those of a plain backtest.

What a trial itself takes is measured apart, so that the coordinator's row is its own work alone: propose, claim, hand
out, keep durably, tell. What a busy worker sees is the time between the end of a trial of a millisecond and the start
of its next one, as the trials themselves saw it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import genesis
from benchmarks.bench_search import SPEC
from benchmarks.timing import compare, table, unit, wall
from genesis.run.evaluate import Evaluator
from genesis.run.events import ProgressEvent
from genesis.run.executors import SerialExecutor
from genesis.trials.identity import trial_key
from genesis.trials.store import RunStore, Stored
from genesis.types import TrialResult

COSTS = {"fee_bps": 10, "slippage_bps": 5}
PARAMETERS = {
    "thresholds": {"entry_conf_overall": {"type": "float", "low": 0.2, "high": 0.5}},
    "htf_fib": {"entry": {"tolerance_atr": {"type": "float", "low": 0.5, "high": 6.0}}},
    "ltf_fib": {"entry": {"tolerance_atr": {"type": "float", "low": 0.5, "high": 6.0}}},
    "exit": {"max_hold_bars": {"type": "int", "low": 5, "high": 200}},
}
BATCH = 100


def study(trials: int, name: str = "bench") -> dict[str, Any]:
    return {
        "data": {"source": "synthetic:seed=7,bars=10000,timeframe=1h", "warmup_bars": 150},
        "strategy": "fibonacci",
        "costs": COSTS,
        "objective": "sharpe",
        "parameters": PARAMETERS,
        "run": {"run_id": name, "max_trials": trials, "max_concurrent": 8, "seed": 1, "sampler": "tpe"},
    }


def sphere(params: dict[str, Any]) -> dict[str, float]:
    return {"loss": sum(value * value for value in params.values() if not isinstance(value, str))}


def millisecond(params: dict[str, Any]) -> dict[str, float]:
    """A trial of one millisecond that says when it ran, by the wall clock and by its process's own."""
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < 1e-3:
        pass
    done = {"began": began, "cpu_began": cpu, "process": float(os.getpid())}
    return sphere(params) | done | {"cpu_ended": time.process_time(), "ended": time.perf_counter()}


def trivial(trials: int, sampler: str = "tpe", q: int = 8, evaluate: Any = sphere) -> dict[str, Any]:
    return {
        "evaluate": evaluate,
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": SPEC,
        "run": {"run_id": "trivial", "max_trials": trials, "max_concurrent": q, "seed": 1, "sampler": sampler},
    }


class Apart(SerialExecutor):
    """Runs trials in this process and knows the processor time they took."""

    cpu = 0.0

    def poll(self, timeout: float) -> list[TrialResult]:
        began = time.process_time()
        found = super().poll(timeout)
        Apart.cpu += time.process_time() - began
        return found


def check(folder: Path) -> None:
    """Also compiles, or loads, everything that is timed below."""
    run = genesis.optimize(study(120), workers=2, runs_dir=folder / "check")
    bars = genesis.load_bars("synthetic:seed=7,bars=10000,timeframe=1h")
    best = run.best
    again = genesis.backtest(bars, "fibonacci", best.params, costs=genesis.Costs(**COSTS), trade_from=150)
    assert dict(again.metrics) == best.metrics, "a stored trial differs from a plain backtest of its parameters"


def whole(folder: Path, trials: int, workers: int) -> tuple[float, float, float]:
    """Trials a second, the second half's rate over the first's, and the coordinator's milliseconds of CPU a trial."""
    events: list[ProgressEvent] = []
    before = time.process_time()
    run = genesis.optimize(
        study(trials), workers=workers, runs_dir=folder / f"whole-{workers}-{trials}", progress=events.append
    )
    cpu = time.process_time() - before
    running = [event for event in events if event.phase == "searching" and event.done]
    middle = min(running, key=lambda event: abs(event.done - trials / 2))
    first, rest = middle.done / middle.elapsed, running[-1].elapsed - middle.elapsed
    flat = (running[-1].done - middle.done) / rest / first if rest else float("nan")  # too short a run to have halves
    return trials / run.summary["elapsed"], flat, 1e3 * cpu / trials


def peer(folder: Path, trials: int) -> float:
    """Milliseconds a trial: Optuna's TPE, its SQLite storage, our backtest."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bars = genesis.load_bars("synthetic:seed=7,bars=10000,timeframe=1h")
    space = genesis.Space.from_spec(PARAMETERS)
    features = genesis.Features(bars)
    costs = genesis.Costs(**COSTS)

    def objective(trial: optuna.Trial) -> float:
        done = genesis.backtest(bars, "fibonacci", space.suggest(trial), costs=costs, features=features, trade_from=150)
        return done.metrics["sharpe"] or -10.0

    sampler = optuna.samplers.TPESampler(seed=1, n_startup_trials=40, n_ei_candidates=48)
    made = optuna.create_study(storage=f"sqlite:///{folder}/peer-{trials}.db", sampler=sampler, direction="maximize")
    begin = time.perf_counter()
    made.optimize(objective, n_trials=trials)
    return 1e3 * (time.perf_counter() - begin) / trials


def growth(folder: Path, sizes: list[int], sampler: str) -> Iterator[list[object]]:
    """The coordinator's CPU a trial, memory and resume, 20 parameters and a trivial objective in this process."""

    def apart(evaluator: Evaluator) -> Apart:
        return Apart(evaluator)

    genesis.optimize(trivial(200, sampler), runs_dir=folder / f"growth-{sampler}", executor=apart)
    for size in sizes:
        at = folder / f"growth-{sampler}-{size}"
        memory = psutil.Process().memory_info().rss
        before, Apart.cpu = time.process_time(), 0.0
        genesis.optimize(trivial(size, sampler), runs_dir=at, executor=apart)
        cpu = 1e3 * (time.process_time() - before - Apart.cpu) / size
        own = 1e3 * Apart.cpu / size
        grown = (psutil.Process().memory_info().rss - memory) / 1e6
        before = time.process_time()
        genesis.optimize(trivial(size + 8, sampler), runs_dir=at, executor=apart)
        resumed = time.process_time() - before
        yield [sampler, f"{size:,}", f"{cpu:.3f} ms", f"{own:.3f} ms", f"{grown:.0f} MB", f"{resumed:.2f} s"]


def keep(folder: Path, rounds: int) -> str:
    """Keeping alone, durably, in batches of 100: ours against Optuna's `add_trials` on SQLite, in turn."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = genesis.Space.from_spec(SPEC)
    calls = 10
    rng = np.random.default_rng(1)
    vectors = space.snap(rng.random((BATCH * (calls * rounds + 1), len(space))) * 20.0)
    vectors[:, 0] = rng.random(len(vectors))  # a continuous column: no two points are the same
    results = [
        TrialResult(
            number=i, generation=i // 8, key=trial_key(params), params=params, state="complete", score=-1.0 / (i + 1),
            metrics={"loss": 1.0 / (i + 1)}, seconds={"backtest": 1e-5},
        )
        for i, params in enumerate(space.params_of(vectors))
    ]  # fmt: skip
    stored = [Stored(result, vector, "tpe") for result, vector in zip(results, vectors, strict=True)]
    distributions = space.distributions()
    trials = [
        optuna.trial.create_trial(params=result.params, distributions=distributions, value=result.score)
        for result in results[:BATCH]
    ]
    theirs = optuna.create_study(storage=f"sqlite:///{folder}/keep.db")
    with RunStore.create(folder / "keep", {}) as store:
        fresh = iter(range(0, len(stored), BATCH))

        def ours(_: int) -> None:
            at = next(fresh)
            store.append(stored[at : at + BATCH])

        timed = compare(ours, lambda _: theirs.add_trials(trials), rounds=rounds, our_calls=calls, clock=wall)
        assert store.count == len(stored)
    ratio = np.median(timed.ratios)
    return f"{unit(timed.ours.median / BATCH)} a trial, Optuna {unit(timed.peer.median / BATCH)} ({ratio:,.0f}x)"


def gaps(folder: Path, workers: int, q: int, trials: int) -> list[object]:
    """What workers see between trials of a millisecond: wall clock, median and mean, and their own CPU."""
    run = genesis.optimize(
        trivial(trials, q=q, evaluate=millisecond), workers=workers, runs_dir=folder / f"gaps-{workers}-{q}"
    )
    found = run.trials().sort_values("metrics_began")
    walls, cpus = [], []
    for _, own in found.groupby("metrics_process"):
        walls += list(own["metrics_began"].values[1:] - own["metrics_ended"].values[:-1])
        cpus += list(own["metrics_cpu_began"].values[1:] - own["metrics_cpu_ended"].values[:-1])
    cells = [np.median(walls), np.mean(walls), np.mean(cpus)]
    return [workers, q, *(f"{1e3 * one:.3f} ms" for one in cells)]


def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check(folder)
        trials = 1_000 if quick else 10_000
        rows: list[list[object]] = []
        for workers in (1, 2):
            rate, flat, cpu = whole(folder, trials, workers)
            rows.append([workers, f"{rate:,.0f}", f"{flat:.2f}", f"{cpu:.3f} ms"])
        print(f"fibonacci, 10,000 bars, tpe, {trials:,} trials, durable")
        print(table(rows, ["workers", "trials/s", "second half / first", "coordinator CPU a trial"]))
        few = 60 if quick else 300
        rate, _, _ = whole(folder, few, 1)
        theirs = peer(folder, few)
        print(f"{few} trials on one core: ours {1e3 / rate:.2f} ms a trial, Optuna TPE with SQLite {theirs:.1f} ms")
        print(f"\nkept durably in batches of {BATCH}, 20 parameters: {keep(folder, 3 if quick else 9)}")
        print("\n20 parameters, trials of a millisecond: what a worker sees between two of them")
        rows = [gaps(folder, workers, q, 500 if quick else 4_000) for workers, q in ((1, 8), (1, 16), (2, 16))]
        print(table(rows, ["workers", "q", "median", "mean", "of it the worker's CPU, mean"]))
        print("\n20 parameters, trivial objective, one process")
        sizes = [300, 1_000, 3_000] if quick else [1_000, 10_000, 100_000]
        grown = [row for sampler in ("tpe", "auto") for row in growth(folder, sizes, sampler)]
        heads = [
            "sampler",
            "trials",
            "coordinator's CPU a trial",
            "the trial's own",
            "memory grown",
            "resume and add 8",
        ]
        print(table(grown, heads))
