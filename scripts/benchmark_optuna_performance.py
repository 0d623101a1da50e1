"""Genesis beside the guide's own algorithm: equal answers first, then both in turn, at three sizes.

    python scripts/benchmark_optuna_performance.py [--json] [--sizes 1000 10000 100000] [--rounds 5]

The `guide_*` functions are the guide's algorithms written plainly (standard `json`, SHA-256, a cache looked up by the
hash, a connection per operation, `read_text` and `json.loads`, recursion). Every row first checks that both give equal
answers, then times them A B A B; `ratio` is the guide's best round over ours, beside it the quartiles of the ratios of
the rounds. Times are the best round. Nothing is read from earlier runs.
"""

from __future__ import annotations

import argparse
import copy
import gc
import hashlib
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

Params = dict[str, Any]
Row = dict[str, Any]
SHORT_SECONDS = 0.4

# ---------------------------------------------------------------------------------------------- the guide's algorithms

_guide_keys: dict[str, str] = {}
_guide_signatures: dict[str, str] = {}


def guide_trial_key(params: Params) -> str:
    """Serialize directly, hash, look the hash up: the cache saves nothing but the copy of the text."""
    text = json.dumps(params, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if digest in _guide_keys:
        return _guide_keys[digest]
    if len(_guide_keys) >= 10_000:
        for old in list(_guide_keys)[: len(_guide_keys) - 8_000]:
            del _guide_keys[old]
    _guide_keys[digest] = digest
    return digest


def guide_param_signature(params: Params, precision: int = 10) -> str:
    """Round every float recursively, serialize, hash; the cache is keyed by the unrounded text."""
    text = json.dumps(params, sort_keys=True)
    if text in _guide_signatures:
        return _guide_signatures[text]

    def normalized(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: normalized(value[key]) for key in sorted(value)}
        if isinstance(value, (list, tuple)):
            return [normalized(each) for each in value]
        return round(value, precision) if isinstance(value, float) else value

    canonical = json.dumps(normalized(params), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    if len(_guide_signatures) >= 5_000:
        for old in list(_guide_signatures)[: len(_guide_signatures) - 4_000]:
            del _guide_signatures[old]
    _guide_signatures[text] = digest
    return digest


def guide_deep_merge(base: Params, override: Params) -> Params:
    """A recursive copy of the base with the override laid over it."""
    merged = copy.deepcopy(base)
    for key, value in override.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = guide_deep_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def guide_load(folder: Path) -> dict[str, Params]:
    """Every file in turn: `read_text`, `json.loads`, the key of its parameters."""
    trials = {}
    for path in sorted(folder.glob("trial_*.json")):
        trial = json.loads(path.read_text())
        trials[guide_trial_key(trial["parameters"])] = trial
    return trials


class GuideGuard:
    """A connection per operation; WAL is set once, the other pragmas only for the first connection."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        db = sqlite3.connect(self.path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("CREATE TABLE IF NOT EXISTS seen (sig TEXT PRIMARY KEY)")
        db.commit()
        db.close()

    def add(self, sig: str) -> bool:
        """One insert."""
        db = sqlite3.connect(self.path, check_same_thread=False)
        try:
            added = db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (sig,)).rowcount == 1
            db.commit()
            return added
        finally:
            db.close()

    def seen(self, sig: str) -> bool:
        """One look."""
        db = sqlite3.connect(self.path, check_same_thread=False)
        try:
            return db.execute("SELECT 1 FROM seen WHERE sig=?", (sig,)).fetchone() is not None
        finally:
            db.close()

    def add_batch(self, sigs: list[str]) -> int:
        """One connection and one transaction for all."""
        db = sqlite3.connect(self.path, check_same_thread=False)
        try:
            before = db.total_changes
            db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(sig,) for sig in sigs])
            db.commit()
            return db.total_changes - before
        finally:
            db.close()

    def seen_batch(self, sigs: list[str]) -> dict[str, bool]:
        """One connection, a look for each."""
        db = sqlite3.connect(self.path, check_same_thread=False)
        try:
            return {sig: db.execute("SELECT 1 FROM seen WHERE sig=?", (sig,)).fetchone() is not None for sig in sigs}
        finally:
            db.close()


# ---------------------------------------------------------------------------------------------------------- measuring


def guide_sets(count: int) -> list[Params]:
    """The guide's parameter sets: a few numbers, one level of nesting."""
    return [{"alpha": n, "beta": n * 0.5, "gamma": {"fast": n * 3, "tolerance": n * 0.25}} for n in range(count)]


def nested_sets(count: int) -> list[Params]:
    """Fifteen leaves on three levels, as the fibonacci strategy has them."""
    return [
        {
            "thresholds": {"entry_conf_overall": 0.25 + n / 1024, "exit_conf": 0.5, "min_rr": 1.5, "regime": "trend"},
            "htf_fib": {
                "entry": {"tolerance_atr": 0.5 * n, "enabled": True, "levels": 3, "lookback": n % 97},
                "exit": {"fib_level": 0.618, "buffer_atr": 0.25},
            },
            "exit": {"max_hold_bars": n, "stop_loss_pct": 0.02, "trail": {"start": 1.5, "step": 0.25}},
            "risk": {"size": 0.125},
        }
        for n in range(count)
    ]


def seconds(clock: Callable[[], float], work: Callable[..., Any], *given: Any) -> float:
    """Time of one call by the clock."""
    begun = clock()
    work(*given)
    return clock() - begun


def in_turn(
    guide: Callable[..., Any],
    ours: Callable[..., Any],
    rounds: int,
    *,
    prepare: Callable[[], Any] | None = None,
    most: int = 40,
    clock: Callable[[], float] = perf_counter,
) -> tuple[float, float, Row]:
    """(best guide, best ours, their ratio with the quartiles of the rounds), timed A B A B after one warm-up of each.

    The best rounds are compared, since a busy machine only ever adds time; rows that only compute are timed by the
    processor's clock, rows that use the disk by the wall's. From three rounds on, short work is repeated up to `most`
    times: fewer for work that leaves something behind. What `prepare` does and gives is not timed.
    """

    def given() -> tuple[Any, ...]:
        return () if prepare is None else (prepare(),)

    guide(*given())
    ours(*given())
    pairs: list[tuple[float, float]] = []
    most = max(rounds, most) if rounds >= 3 else rounds
    gc.collect()
    gc.disable()  # as `timeit` does; a collection before each call would empty the processor's caches instead
    try:
        while len(pairs) < rounds or (len(pairs) < most and sum(map(sum, pairs)) < SHORT_SECONDS):
            pairs.append((seconds(clock, guide, *given()), seconds(clock, ours, *given())))
    finally:
        gc.enable()
    best_guide, best = (min(column) for column in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    spread = {
        "ratio": round(best_guide / best, 2),
        "ratio_low": round(ratios[len(ratios) // 4], 2),
        "ratio_high": round(ratios[(3 * len(ratios)) // 4], 2),
        "rounds": len(pairs),
    }
    return best_guide, best, spread


def hashing(
    title: str,
    ours: Callable[[Params], str],
    guide: Callable[[Params], str],
    caches: tuple[Any, dict[str, str]],
    sets: list[Params],
    rounds: int,
) -> Row:
    """Cold (both caches emptied) and warm (asked again) for one function."""
    agree(len({ours(each) for each in sets}), len({guide(each) for each in sets}), title)

    def run(function: Callable[[Params], str]) -> Callable[..., None]:
        def work(*_: Any) -> None:
            for each in sets:
                function(each)

        return work

    def empty() -> None:
        for cache in caches:
            cache.clear()

    count = len(sets)
    cold_guide, cold, cold_spread = in_turn(run(guide), run(ours), rounds, prepare=empty, clock=process_time)
    warm_guide, warm, warm_spread = in_turn(run(guide), run(ours), rounds, clock=process_time)
    return {
        "title": title,
        "ops": count,
        "cold_cache_ms": cold * 1e3,
        "warm_cache_ms": warm * 1e3,
        "ops_per_sec_cold": count / cold,
        "ops_per_sec_warm": count / warm,
        "speedup": cold / warm,
        "guide_ops_per_sec_cold": count / cold_guide,
        "guide_ops_per_sec_warm": count / warm_guide,
        "cold": cold_spread,
        "warm": warm_spread,
    }


def deduplication(rows: int, rounds: int, folder: Path) -> Row:
    """Single and batch operations on a table that held `rows` signatures before (each round adds its own).

    `seen_batch` is asked while nobody else writes, `seen_batch_written` after a commit of somebody else each time.
    """
    from core.utils.optuna_helpers import NoDupeGuard

    have = [hashlib.sha256(f"have {n}".encode()).hexdigest() for n in range(rows)]
    fresh = (hashlib.sha256(f"new {rows} {n}".encode()).hexdigest() for n in range(10**9))
    guard, guide = NoDupeGuard(sqlite_path=folder / f"ours{rows}.db"), GuideGuard(folder / f"guide{rows}.db")
    agree(guard.add_batch(have), guide.add_batch(have), "add_batch")
    probe = have[:: max(1, rows // 500)][:500] + [next(fresh) for _ in range(500)]
    agree(guard.seen_batch(probe), guide.seen_batch(probe), "seen_batch")
    agree([guard.seen(sig) for sig in probe], [guide.seen(sig) for sig in probe], "seen")
    agree([guard.add(sig) for sig in probe[:3]], [guide.add(sig) for sig in probe[:3]], "add")

    def new(count: int) -> Callable[[], list[str]]:
        return lambda: [next(fresh) for _ in range(count)]

    def each(method: Callable[[str], Any]) -> Callable[[list[str]], None]:
        def work(sigs: list[str]) -> None:
            for sig in sigs:
                method(sig)

        return work

    add_guide, add, add_spread = in_turn(each(guide.add), each(guard.add), rounds, prepare=new(200), most=10)
    seen_guide, seen, seen_spread = in_turn(each(guide.seen), each(guard.seen), rounds, prepare=lambda: probe)
    batch_guide, batched, batch_spread = in_turn(guide.add_batch, guard.add_batch, rounds, prepare=new(1000), most=10)
    all_guide, all_seen, all_spread = in_turn(lambda: guide.seen_batch(probe), lambda: guard.seen_batch(probe), rounds)
    other = NoDupeGuard(sqlite_path=folder / f"ours{rows}.db")

    def written() -> list[str]:
        """Somebody else has just written: what was kept in memory is worth nothing."""
        other.add(next(fresh))
        return probe

    file_guide, file_seen, file_spread = in_turn(guide.seen_batch, guard.seen_batch, rounds, prepare=written)
    other.close()
    guard.close()
    return {
        "title": "SQLite Deduplication",
        "ops": rows,
        "ops_per_sec_individual": 200 / add,
        "ops_per_sec_seen": 1000 / seen,
        "ops_per_sec_batch": 1000 / batched,
        "ops_per_sec_seen_batch": 1000 / all_seen,
        "ops_per_sec_seen_batch_written": 1000 / file_seen,
        "speedup": (add / 200) / (batched / 1000),
        "guide_ops_per_sec_individual": 200 / add_guide,
        "guide_ops_per_sec_seen": 1000 / seen_guide,
        "guide_ops_per_sec_batch": 1000 / batch_guide,
        "guide_ops_per_sec_seen_batch": 1000 / all_guide,
        "guide_ops_per_sec_seen_batch_written": 1000 / file_guide,
        "add": add_spread,
        "seen": seen_spread,
        "add_batch": batch_spread,
        "seen_batch": all_spread,
        "seen_batch_written": file_spread,
    }


def loading(files: int, rounds: int, folder: Path) -> Row:
    """A folder of `trial_*.json` to {key: trial}."""
    from core.optimizer.runner import _load_existing_trials

    folder.mkdir()
    for n, params in enumerate(nested_sets(files)):
        trial = {
            "trial_id": f"trial_{n:06d}",
            "parameters": params,
            "score": {"score": n * 0.01, "metrics": {"sharpe": n * 0.001, "trades": n}, "hard_failures": []},
            "results_path": f"results_{n:06d}.json",
        }
        (folder / f"trial_{n:06d}.json").write_text(json.dumps(trial, indent=2))
    agree(
        [trial["trial_id"] for trial in _load_existing_trials(folder).values()],
        [trial["trial_id"] for trial in guide_load(folder).values()],
        "loading",
    )
    guide, ours, spread = in_turn(lambda: guide_load(folder), lambda: _load_existing_trials(folder), rounds)
    return {
        "title": "Trial Loading",
        "ops": files,
        "load_time_ms": ours * 1e3,
        "trials_per_sec": files / ours,
        "guide_trials_per_sec": files / guide,
        "load": spread,
    }


def merging(rounds: int) -> list[Row]:
    """Twenty levels, and a flat configuration of 200 keys."""
    from core.optimizer.runner import _deep_merge

    deep_base: Params = {"leaf": 1, "kept": [1, 2]}
    deep_over: Params = {"leaf": 2}
    for level in range(20):
        deep_base = {"next": deep_base, "a": level, "b": {"c": 1}}
        deep_over = {"next": deep_over, "a": -level}
    wide_base = {f"key{n}": {"value": n, "step": 0.1} if n % 4 == 0 else n for n in range(200)}
    wide_over = {f"key{n}": {"value": -n} if n % 4 == 0 else -n for n in range(0, 200, 2)}
    rows = []
    for title, base, over in (("20 levels", deep_base, deep_over), ("200 keys", wide_base, wide_over)):
        agree(_deep_merge(base, over), guide_deep_merge(base, over), title)
        guide, ours, spread = in_turn(
            lambda base=base, over=over: [guide_deep_merge(base, over) for _ in range(200)],
            lambda base=base, over=over: [_deep_merge(base, over) for _ in range(200)],
            rounds,
            clock=process_time,
        )
        rows.append(
            {
                "title": f"Deep Merge, {title}",
                "ops": 200,
                "ops_per_sec": 200 / ours,
                "guide_ops_per_sec": 200 / guide,
                "merge": spread,
            }
        )
    return rows


_REOPEN = """
import json, sys, time
from pathlib import Path
import numpy, genesis.trials.store
from genesis.trials.store import RunStore
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
keys = Path(sys.argv[2]).read_text().split()
before = peak()
begun = time.perf_counter()
store = RunStore.open(sys.argv[1])
history = store.history()
found = sum(history.number_of(key) is not None for key in keys)
taken = time.perf_counter() - begun
print(json.dumps([len(history), found, taken, peak() - before, peak()]))
"""


def reopening(trials: int, folder: Path) -> Row:
    """A new process opens a run of `trials` stored trials and answers `seen` for every key."""
    import numpy as np

    from genesis.trials.identity import trial_key
    from genesis.trials.store import RunStore, Stored
    from genesis.types import TrialResult

    run = folder / f"run{trials}"
    metrics = dict.fromkeys(("sharpe", "sortino", "cagr", "max_drawdown", "trades", "profit_factor"), 0.5)
    keys = []
    sets = nested_sets(trials)
    begun = perf_counter()
    with RunStore.create(run, {"name": "benchmark"}) as store:
        for start in range(0, trials, 1000):
            batch = []
            for number, params in enumerate(sets[start : start + 1000], start):
                keys.append(trial_key(params))
                result = TrialResult(
                    number=number,
                    generation=number // 8,
                    key=keys[-1],
                    params=params,
                    state="complete",
                    score=number * 0.5,
                    metrics=metrics,
                )
                batch.append(Stored(result, np.arange(15.0), "tpe"))
            store.append(batch)
    stored = perf_counter() - begun
    asked = folder / "keys.txt"
    asked.write_text("\n".join(keys))
    said = subprocess.run(
        [sys.executable, "-c", _REOPEN, str(run), str(asked)], capture_output=True, check=True, text=True
    )
    count, found, taken, grown, peak = json.loads(said.stdout)
    agree((count, found), (trials, trials), "reopening")
    return {
        "title": "Reopen a Run",
        "ops": trials,
        "reopen_ms": taken * 1e3,
        "memory_mb": grown,
        "peak_process_mb": peak,
        "stored_per_sec": trials / stored,
    }


def agree(ours: Any, guide: Any, what: str) -> None:
    """Stop the benchmark if the two do not give the same answer."""
    if ours != guide:
        raise SystemExit(f"{what}: the answers differ, so there is nothing to time")


def machine() -> Row:
    """Where this was measured, and with which code behind the trial keys."""
    from genesis.trials.compiled import DESCRIPTION

    cpu = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": commit or "unknown",
        "trial keys": DESCRIPTION,
    }


def report(row: Row) -> str:
    """The row in the guide's layout: one `name: value` a line, ratios against the guide's algorithm last."""
    unit = {"Trial Loading": "files", "Reopen a Run": "trials", "SQLite Deduplication": "stored"}.get(
        row["title"], "ops"
    )
    lines = [f"{row['title']} ({row['ops']} {unit}):"]
    for name, value in row.items():
        if name in ("title", "ops"):
            continue
        if isinstance(value, dict):
            lines.append(
                f"  ratio {name}: {value['ratio']:.2f}x  ({value['ratio_low']:.2f} to {value['ratio_high']:.2f})"
            )
        elif "per_sec" in name:
            lines.append(f"  {name}: {value:,.0f} ops/s")
        elif name == "speedup":
            lines.append(f"  speedup: {value:.2f}x")
        else:
            lines.append(f"  {name}: {value:.2f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run every row and print it, as text or as one JSON document."""
    from core.optimizer.runner import _TRIAL_KEY_CACHE, _trial_key
    from core.utils.optuna_helpers import _PARAM_SIG_CACHE, param_signature

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each pair is timed")
    options = parser.parse_args(arguments)
    if min(options.sizes) < 1 or options.rounds < 1:
        parser.error("sizes and rounds are positive whole numbers")
    os.environ.pop("GENESIS_OPTIMIZER_JSON_CACHE", None)
    where = machine()
    rows: list[Row] = []

    def say(row: Row) -> None:
        rows.append(row)
        if not options.json:
            print(report(row) + "\n", flush=True)

    if not options.json:
        print(", ".join(f"{name} {value}" for name, value in where.items() if name != "trial keys"))
        print(f"trial keys: {where['trial keys']}\n")
    key_caches, signature_caches = (_TRIAL_KEY_CACHE, _guide_keys), (_PARAM_SIG_CACHE, _guide_signatures)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in options.sizes:
            flat, nested = guide_sets(size), nested_sets(size)
            say(hashing("Trial Key Generation", _trial_key, guide_trial_key, key_caches, flat, options.rounds))
            say(hashing("Trial Key, 15 Leaves", _trial_key, guide_trial_key, key_caches, nested, options.rounds))
            say(
                hashing(
                    "Parameter Signature",
                    param_signature,
                    guide_param_signature,
                    signature_caches,
                    flat,
                    options.rounds,
                )
            )
            say(deduplication(size, options.rounds, folder))
            say(loading(size, min(options.rounds, 3 if size < 50_000 else 1), folder / f"files{size}"))
            say(reopening(size, folder))
        say(loading(100, options.rounds, folder / "guide_files"))
        for row in merging(options.rounds):
            say(row)
    if options.json:
        print(json.dumps({"machine": where, "rows": rows}, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
