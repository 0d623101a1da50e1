"""The guide's promises about speed, as facts that a busy machine cannot change: how much work is done, not how long.

Times are the business of `scripts/benchmark_optuna_performance.py`, which compares with the guide's own algorithm.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.optimizer import runner
from core.optimizer.runner import (
    _TRIAL_KEY_CACHE,
    OPTUNA_AVAILABLE,
    _load_existing_trials,
    _select_optuna_sampler,
    _trial_key,
)
from core.utils import optuna_helpers
from core.utils.optuna_helpers import _PARAM_SIG_CACHE, NoDupeGuard, param_signature

ROOT = Path(__file__).parents[1]


def calls(work: Callable[[], Any]) -> int:
    """How many Python and C functions `work` calls: a measure of work that does not depend on the machine."""
    count = 0

    def count_call(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture(autouse=True)
def _cold() -> None:
    _TRIAL_KEY_CACHE.clear()
    _PARAM_SIG_CACHE.clear()


def test_every_name_of_the_guide_is_where_it_says() -> None:
    """The two modules export the documented names, and Optuna is there."""
    for name in runner.__all__:
        assert hasattr(runner, name)
    assert set(runner.__all__) >= {
        "OPTUNA_AVAILABLE",
        "_TRIAL_KEY_CACHE",
        "_deep_merge",
        "_expand_value",
        "_json_loads",
        "_load_existing_trials",
        "_select_optuna_sampler",
        "_suggest_parameters",
        "_trial_key",
    }
    assert set(optuna_helpers.__all__) == {"NoDupeGuard", "_PARAM_SIG_CACHE", "param_signature"}
    assert OPTUNA_AVAILABLE is True


def test_the_doors_do_not_load_optuna() -> None:
    """Importing the doors costs no import of Optuna; a key needs none."""
    script = (
        "import sys, core.optimizer.runner as r, core.utils.optuna_helpers as h\n"
        "r._trial_key({'a': 1}); h.param_signature({'a': 1.0})\nprint('optuna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("function", "cache"), [(_trial_key, _TRIAL_KEY_CACHE), (param_signature, _PARAM_SIG_CACHE)])
def test_a_warm_call_does_less_than_a_cold_one(
    function: Callable[[dict[str, Any]], str], cache: dict[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache pays: found parameters are not hashed again, as counted in the Python code."""
    function = getattr(function, "__wrapped__", function)
    params = {"a": 1, "b": {"c": 0.5, "d": [1, 2, 3]}}
    hashed: list[bytes] = []
    sha256 = __import__("hashlib").sha256
    monkeypatch.setattr("genesis.trials.identity.sha256", lambda raw: hashed.append(raw) or sha256(raw))
    cold = calls(lambda: function(params))
    assert (len(hashed), len(cache)) == (1, 1)
    warm = calls(lambda: function(dict(reversed(params.items()))))
    assert (len(hashed), len(cache)) == (1, 1)
    assert warm < cold


def test_the_fast_path_does_not_canonicalise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain parameters never reach the slow writer; a set, which orjson cannot say, does."""
    reached: list[Any] = []
    write = __import__("genesis.trials.canonical", fromlist=["write"]).write
    monkeypatch.setattr("genesis.trials.identity.write", lambda *args: reached.append(args) or write(*args))
    plain = {"a": 1, "b": 2.5, "c": {"d": [True, "x", None, -0.5, -3]}}
    _trial_key(plain)
    param_signature(plain)
    assert reached == []
    _trial_key({"a": {1, 2}})
    assert len(reached) == 1


def test_a_batch_is_one_statement_and_one_transaction(tmp_path: Path) -> None:
    """A thousand signatures: the statements sent to SQLite do not grow with the batch."""
    with NoDupeGuard(sqlite_path=tmp_path / "d.db") as guard:
        guard.add("warm")
        sent: list[str] = []
        guard._database.connection().set_trace_callback(sent.append)
        guard.add_batch([f"{n:064x}" for n in range(1_000)])
        written = [statement.split()[0] for statement in sent]
        sent.clear()
        guard.seen_batch([f"{n:064x}" for n in range(1_000)])
        assert written == ["BEGIN", "INSERT", "COMMIT"]
        assert len(sent) == 1


def test_the_guard_opens_one_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection per operation was the guide's cost; here one serves all of a thread's."""
    opened: list[Any] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: opened.append(args) or connect(*args, **kwargs))
    guard = NoDupeGuard(sqlite_path=tmp_path / "d.db")
    for n in range(50):
        guard.add(str(n))
        assert guard.seen(str(n))
        guard.remove(str(n))
    assert len(opened) == 1
    guard.close()


def test_loading_grows_with_the_files_alone(tmp_path: Path) -> None:
    """Twice the files, twice the work: nothing quadratic in loading a folder."""

    def folder(count: int) -> Path:
        path = tmp_path / str(count)
        path.mkdir()
        for n in range(count):
            (path / f"trial_{n:04d}.json").write_text(json.dumps({"parameters": {"n": n}, "score": n}))
        return path

    small, large = folder(100), folder(200)
    _load_existing_trials(small)
    done = []
    for path in (small, large):
        _TRIAL_KEY_CACHE.clear()
        done.append(calls(lambda path=path: _load_existing_trials(path)))
    assert 1.8 < done[1] / done[0] < 2.2


def test_startup_trials_scale_with_concurrency() -> None:
    """max(25, 5 x concurrency), the guide's formula."""
    assert [
        _select_optuna_sampler("tpe", {}, concurrency=concurrency)._n_startup_trials for concurrency in (1, 5, 8, 16)
    ] == [25, 25, 40, 80]


def test_the_benchmark_runs_as_the_guide_says() -> None:
    """Small sizes: equal answers are checked, the guide's fields are printed, and `--json` holds a ratio for each."""
    script = ROOT / "scripts" / "benchmark_optuna_performance.py"
    done = subprocess.run(
        [sys.executable, str(script), "--sizes", "50", "--rounds", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    document = json.loads(done.stdout)
    rows = {row["title"]: row for row in document["rows"]}
    assert {"Trial Key Generation", "Parameter Signature", "SQLite Deduplication", "Trial Loading"} <= rows.keys()
    assert {"cold_cache_ms", "ops_per_sec_cold", "speedup"} <= rows["Trial Key Generation"].keys()
    assert {"speedup", "ops_per_sec_batch"} <= rows["SQLite Deduplication"].keys()
    assert {"load_time_ms", "trials_per_sec"} <= rows["Trial Loading"].keys()
    assert rows["Reopen a Run"]["memory_mb"] >= 0
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["trial keys"].startswith(("compiled", "Python"))
