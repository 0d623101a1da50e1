"""Trials on a Dask cluster: the same answers as on worker processes."""

from __future__ import annotations

import warnings

import pytest

import genesis
from genesis.run.dask import DaskExecutor
from genesis.trials.store import RunStore

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


def test_pruning_on_a_cluster_is_refused(tmp_path, cluster):
    """A pruner needs the built-in workers, and the message says so before anything runs."""
    asked = {**STUDY, "run": {**STUDY["run"], "pruner": "median"}}
    with pytest.raises(genesis.GenesisError, match="built-in workers"):
        genesis.optimize(asked, runs_dir=tmp_path, executor=lambda one: DaskExecutor(one, cluster))
