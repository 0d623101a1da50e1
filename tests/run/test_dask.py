"""Trials on a Dask cluster: the same answers as on worker processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import genesis
from genesis.run.dask import DaskExecutor, _limited, _TooLongError
from genesis.run.executors import SerialExecutor
from genesis.trials.store import RunStore

HERE = Path(__file__).parent / "objectives.py"
STUDY = {
    "data": {"source": "synthetic:seed=7,bars=600,timeframe=1d", "warmup_bars": 60},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 10, "slippage_bps": 5},
    "objective": "sharpe",
    "parameters": {"fast": {"type": "int", "low": 3, "high": 20}, "slow": {"type": "int", "low": 21, "high": 60}},
    "run": {"run_id": "market", "max_trials": 40, "max_concurrent": 8, "seed": 3},
}


def trials(path):
    with RunStore.open(path, read_only=True) as store:
        return [(r.number, r.key, r.state, r.score, r.fills_hash, sorted(r.metrics.items())) for r in store.results()]


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed", reason="type: pip install 'genesis-core[dask]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cluster's own threads and sockets
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
            ) as made,
            distributed.Client(made) as client,
        ):
            yield client


def test_a_cluster_gives_the_answers_of_worker_processes(tmp_path, cluster):
    """The same study on Dask: the same trials, scores and fills."""
    here = genesis.optimize(STUDY, workers=0, runs_dir=tmp_path / "here")
    there = genesis.optimize(STUDY, runs_dir=tmp_path / "there", executor=lambda one: DaskExecutor(one, cluster))
    assert len(trials(there.path)) == 40
    assert trials(there.path) == trials(here.path)


def pruned(trials, pruner):
    """A study whose trials report nine running scores each."""
    return {
        "evaluate": f"{HERE}:reporting",
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": {"x": {"type": "float", "low": -5.0, "high": 5.0}},
        "run": {"run_id": "p", "max_trials": trials, "max_concurrent": 8, "seed": 3, "pruner": pruner},
    }


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_cluster_prunes_what_worker_processes_prune(tmp_path, cluster, pruner, monkeypatch):
    """The same trials are stopped at the same step, also when what is told comes in several blocks."""
    monkeypatch.setattr("genesis.run.dask.BLOCK", 16)
    here = genesis.optimize(pruned(72, pruner), workers=0, runs_dir=tmp_path / "here")
    there = genesis.optimize(
        pruned(72, pruner), runs_dir=tmp_path / "there", executor=lambda one: DaskExecutor(one, cluster)
    )
    assert here.states()["pruned"] > 5
    assert here.states()["complete"] > 5
    assert trials(there.path) == trials(here.path)
    assert [one.reports for one in there.store.results()] == [one.reports for one in here.store.results()]


def test_a_trial_that_takes_too_long_fails_on_a_cluster_too(tmp_path, cluster):
    """It is stopped with the words of the built-in workers, whatever it catches, and the others are not harmed."""
    asked = pruned(16, "none")
    asked = {**asked, "evaluate": f"{HERE}:stuck", "run": {**asked["run"], "trial_seconds": 0.3}}
    run = genesis.optimize(asked, runs_dir=tmp_path, executor=lambda one: DaskExecutor(one, cluster))
    states = run.states()
    assert states["failed"] > 0
    assert states["complete"] > 0
    for one in run.store.results():
        assert (one.state == "failed") == (one.params["x"] > 2.0)
        assert one.reason == ("took longer than its limit of 0.3 s and was stopped" if one.state == "failed" else None)


def test_a_trial_that_raises_on_a_cluster_keeps_its_reason(tmp_path, cluster):
    """Whatever user code raises is a failed result with its traceback, as on the built-in workers."""
    asked = {**pruned(8, "none"), "evaluate": f"{HERE}:raising"}
    run = genesis.optimize(asked, runs_dir=tmp_path, executor=lambda one: DaskExecutor(one, cluster))
    failed = [one for one in run.store.results() if one.state == "failed"]
    assert failed
    assert all(one.reason == "ValueError: right of the middle" for one in failed)
    assert all("objectives.py" in one.traceback for one in failed)


@pytest.mark.parametrize(("key", "value"), [("pruner", "median"), ("trial_seconds", 1.0)])
def test_an_executor_that_cannot_do_what_the_study_asks_is_refused(tmp_path, key, value):
    """Neither a pruner nor a time limit is passed over in silence."""
    asked = {**STUDY, "run": {**STUDY["run"], key: value}}
    with pytest.raises(genesis.GenesisError, match=f"run.{key}: SerialExecutor has no"):
        genesis.optimize(asked, runs_dir=tmp_path, executor=SerialExecutor)


def test_a_cluster_that_cannot_be_reached_is_said(monkeypatch):
    """The address and the line to type, no traceback of the cluster's own."""
    distributed = pytest.importorskip("distributed", reason="type: pip install 'genesis-core[dask]'")

    class Unreachable:
        def __init__(self, address):
            raise OSError(f"Timed out trying to connect to {address} after 30 s")

    monkeypatch.setattr(distributed, "Client", Unreachable)
    with pytest.raises(
        genesis.GenesisError, match=r"'tcp://nowhere:1' cannot be reached .*start it with: dask scheduler"
    ):
        DaskExecutor(None, "tcp://nowhere:1")


def test_a_limit_that_did_not_strike_leaves_nothing_behind() -> None:
    """After a trial within its limit the interpreter has nothing pending: in 3.11 a profiled call would never end."""
    script = (
        "import sys\nfrom genesis.run.dask import _limited\n"
        "with _limited(60.0):\n    sum(range(1000))\n"
        "sys.setprofile(lambda *_: None)\n(lambda: 1)()\nsys.setprofile(None)\nprint('free')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "free"


def test_a_limit_that_strikes_late_is_raised_once_or_not_at_all() -> None:
    """Whether time runs out just before or just after the end, nothing of it comes later."""
    for seconds in (0.0, 0.0005, 0.001, 0.002) * 5:
        with contextlib.suppress(_TooLongError), _limited(seconds):
            time.sleep(0.001)
        for _ in range(1_000):
            pass
