"""Whole runs: trials a second, the coordinator's time per trial as a study grows, resume, memory; Optuna with SQLite.

The peer runs the same backtests on the same bars, proposed by Optuna's TPE and kept in its SQLite storage, in turn with
ours. Before anything is timed the answers are checked: a stored trial's metrics are those of a plain backtest.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

import genesis
from benchmarks.timing import table
from genesis.run.events import ProgressEvent

COSTS = {"fee_bps": 10, "slippage_bps": 5}
PARAMETERS = {
    "thresholds": {"entry_conf_overall": {"type": "float", "low": 0.2, "high": 0.5}},
    "htf_fib": {"entry": {"tolerance_atr": {"type": "float", "low": 0.5, "high": 6.0}}},
    "ltf_fib": {"entry": {"tolerance_atr": {"type": "float", "low": 0.5, "high": 6.0}}},
    "exit": {"max_hold_bars": {"type": "int", "low": 5, "high": 200}},
}
TRIVIAL = {f"x{i}": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.01} for i in range(20)}


def study(trials: int, name: str = "bench") -> dict[str, Any]:
    return {
        "data": {"source": "synthetic:seed=7,bars=10000,timeframe=1h", "warmup_bars": 150},
        "strategy": "fibonacci",
        "costs": COSTS,
        "objective": "sharpe",
        "parameters": PARAMETERS,
        "run": {"run_id": name, "max_trials": trials, "max_concurrent": 8, "seed": 1, "sampler": "tpe"},
    }


def sphere(params: dict[str, float]) -> dict[str, float]:
    return {"loss": sum(value * value for value in params.values())}


def trivial(trials: int) -> dict[str, Any]:
    return {
        "evaluate": sphere,
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": TRIVIAL,
        "run": {"run_id": "trivial", "max_trials": trials, "max_concurrent": 8, "seed": 1, "sampler": "tpe"},
    }


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


def growth(folder: Path, sizes: list[int]) -> list[list[object]]:
    """Coordinator CPU a trial, memory and resume, 20 parameters and a trivial objective in this process."""
    rows: list[list[object]] = []
    for size in sizes:
        at = folder / f"growth-{size}"
        memory = psutil.Process().memory_info().rss
        before = time.process_time()
        genesis.optimize(trivial(size), workers=0, runs_dir=at)
        cpu = 1e3 * (time.process_time() - before) / size
        grown = (psutil.Process().memory_info().rss - memory) / 1e6
        before = time.process_time()
        genesis.optimize(trivial(size + 8), workers=0, runs_dir=at)
        rows.append([f"{size:,}", f"{cpu:.3f} ms", f"{grown:.0f} MB", f"{time.process_time() - before:.2f} s"])
    return rows


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
        print("\n20 parameters, trivial objective, one process")
        sizes = [300, 1_000, 3_000] if quick else [1_000, 10_000, 100_000]
        print(table(growth(folder, sizes), ["trials", "CPU a trial", "memory grown", "CPU to resume and add 8"]))
