"""How fast this machine identifies trials, refuses duplicates, keeps results and opens them again."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from genesis.trials.codec import json_dumps
from genesis.trials.files import load_existing_trials
from genesis.trials.guard import NoDupeGuard
from genesis.trials.identity import clear_caches, param_signature, trial_key
from genesis.trials.store import RunStore, Stored
from genesis.types import TrialResult

_GENERATION = 8


def measure(trials: int) -> dict[str, float | int | str]:
    """Rates per second for `trials` parameter sets of ten leaves, in a temporary folder; one pass each, cold first."""
    sets = [_parameters(number) for number in range(trials)]
    clear_caches()
    figures: dict[str, float | int | str] = {
        "python": platform.python_version(),
        "cores": os.cpu_count() or 1,
        "trials": trials,
        "keys_per_sec_cold": _rate(trials, lambda: [trial_key(params) for params in sets]),
    }
    recent = sets[-min(trials, 5_000) :]
    figures["keys_per_sec_warm"] = _rate(len(recent), lambda: [trial_key(params) for params in recent])
    figures["signatures_per_sec_cold"] = _rate(trials, lambda: [param_signature(params) for params in sets])
    keys = [trial_key(params) for params in sets]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures.update(_guard(keys, folder))
        figures.update(_store(sets, keys, folder))
    return figures


def guide_figures() -> dict[str, dict[str, float]]:
    """The guide's benchmark on this machine: its four parts, its fields, its sizes (1,000 operations, 100 files).

    `speedup` is a warm call over a cold one, and a batch over single adds; ratios against the guide's own algorithm
    are in `scripts/benchmark_optuna_performance.py`.
    """
    sets = [_parameters(number) for number in range(1_000)]
    clear_caches()
    found = {
        "Trial Key Generation (1000 ops)": _cold_and_warm(lambda: [trial_key(params) for params in sets]),
        "Parameter Signature (1000 ops)": _cold_and_warm(lambda: [param_signature(params) for params in sets]),
    }
    keys = [trial_key(params) for params in sets]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with NoDupeGuard(folder / "one.db") as one, NoDupeGuard(folder / "batch.db") as batch:
            single = _rate(len(keys), lambda: [one.add(key) for key in keys])
            together = _rate(len(keys), lambda: batch.add_batch(keys))
        found["SQLite Deduplication (1000 ops)"] = {
            "speedup": round(together / single, 1),
            "ops_per_sec_individual": round(single),
            "ops_per_sec_batch": round(together),
        }
        for number, params in enumerate(sets[:100]):
            (folder / f"trial_{number:03d}.json").write_bytes(json_dumps({"parameters": params, "score": number}))
        rate = _rate(100, lambda: load_existing_trials(folder))
        found["Trial Loading (100 files)"] = {"load_time_ms": round(1e5 / rate, 2), "trials_per_sec": round(rate)}
    return found


def _cold_and_warm(work: Callable[[], object]) -> dict[str, float]:
    cold, warm = _rate(1_000, work), _rate(1_000, work)
    return {
        "cold_cache_ms": round(1e6 / cold, 2),
        "warm_cache_ms": round(1e6 / warm, 2),
        "ops_per_sec_cold": round(cold),
        "ops_per_sec_warm": round(warm),
        "speedup": round(warm / cold, 2),
    }


def _guard(keys: list[str], folder: Path) -> dict[str, float | int | str]:
    single = keys[:2_000]
    with NoDupeGuard(folder / "seen.db") as guard:
        return {
            "guard_adds_per_sec": _rate(len(single), lambda: [guard.add(key) for key in single]),
            "guard_batch_adds_per_sec": _rate(len(keys), lambda: guard.add_batch(keys)),
            "guard_looks_per_sec": _rate(len(single), lambda: [guard.seen(key) for key in single]),
            "guard_batch_looks_per_sec": _rate(len(keys), lambda: guard.seen_batch(keys)),
        }


def _store(sets: list[dict[str, Any]], keys: list[str], folder: Path) -> dict[str, float | int | str]:
    vector = np.arange(10.0)
    stored = [Stored(_result(number, keys[number], sets[number]), vector, "tpe") for number in range(len(sets))]
    with RunStore.create(folder / "run", {"name": "bench"}) as store:

        def append() -> None:
            for start in range(0, len(stored), _GENERATION):
                store.append(stored[start : start + _GENERATION])

        appended = _rate(len(stored), append)
    begun = perf_counter()
    with RunStore.open(folder / "run", read_only=True) as store:
        known = store.history().index
        opened = perf_counter() - begun
        assert len(known) == len(keys)
    return {f"trials_kept_per_sec_by_{_GENERATION}": appended, "reopen_ms": round(opened * 1e3, 1)}


def _result(number: int, key: str, params: dict[str, Any]) -> TrialResult:
    metrics = dict.fromkeys(("sharpe", "cagr", "max_drawdown", "trades", "profit_factor", "win_rate"), number * 0.5)
    return TrialResult(
        number=number,
        generation=number // _GENERATION,
        key=key,
        params=params,
        state="complete",
        score=number * 0.5,
        metrics=dict(metrics),
    )


def _parameters(number: int) -> dict[str, Any]:
    return {
        "thresholds": {"entry_conf_overall": 0.25 + number / 1_048_576, "exit_conf": 0.5},
        "htf_fib": {"entry": {"tolerance_atr": 0.5 * number, "enabled": True}, "exit": {"buffer_atr": 0.25}},
        "exit": {"max_hold_bars": number, "stop_loss_pct": 0.02, "mode": "trail"},
        "ma": {"fast": number % 50, "slow": 50 + number % 150},
    }


def _rate(count: int, work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return count / (perf_counter() - begun)
