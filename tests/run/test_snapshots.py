"""A sampler's snapshots: a resume that uses one, or cannot, goes on as a run that was never stopped."""

from __future__ import annotations

import numpy as np
import pytest
from tests.run.test_loop import search

from genesis.run import snapshots
from genesis.search.portfolio import PortfolioSampler
from genesis.trials.codec import json_dumps, json_loads
from genesis.trials.store import RunStore


@pytest.fixture
def used(monkeypatch):
    """Snapshots every third generation, and the list of those that were restored."""
    monkeypatch.setattr(snapshots, "EVERY", 3)
    found = []
    restore = PortfolioSampler.restore

    def noted(self, data, *told):
        restore(self, data, *told)
        found.append(len(told[0]))

    monkeypatch.setattr(PortfolioSampler, "restore", noted)
    return found


@pytest.mark.parametrize(("lag", "prompt"), [(0, 0), (1, 0), (2, 0), (1, 13)])
def test_a_run_resumed_from_snapshots_is_one_that_never_stopped(tmp_path, monkeypatch, used, lag, prompt):
    """Stopped at odd moments and resumed from the last snapshot: the same trials, scores and repeats."""
    monkeypatch.setattr("genesis.run.executors.TARGET_CHUNK_SECONDS", 0.0)  # one trial a poll: stops fall anywhere
    whole = search(tmp_path / "whole", 240, sampler="auto", lag=lag, prompt=prompt)
    rng = np.random.default_rng(5)
    reason, rows, repeats = "", [], []
    while reason != "trials":
        reason, rows, repeats, _ = search(
            tmp_path / "cut", 240, sampler="auto", lag=lag, prompt=prompt, stop_after=int(rng.integers(3, 50))
        )
    assert (rows, repeats) == (whole[1], whole[2])
    assert len(used) > 3
    assert used == sorted(used)
    assert used[-1] > 100
    with RunStore.open(tmp_path / "cut", read_only=True) as store:
        assert store.events() == []


def damage(kind, body):
    """A snapshot that must not be used."""
    found = json_loads(body)
    if kind == "version":
        found["version"] = 0
    elif kind == "sampler":
        found["sampler"] = "other"
    elif kind == "trials":
        found["digest"] = "0" * 32
    elif kind == "count":
        found["told"] -= 1
    elif kind == "state":
        found["state"] = found["state"].replace("earned", "burned")
    return b"\x00" if kind == "bytes" else json_dumps(found)


@pytest.mark.parametrize("kind", ["version", "sampler", "trials", "count", "state", "bytes"])
def test_a_snapshot_that_does_not_fit_is_noted_and_not_used(tmp_path, used, kind):
    """Of another version, sampler or history, or no snapshot at all: everything is told again, to the same answer."""
    whole = search(tmp_path / "whole", 160, sampler="auto")
    search(tmp_path / "cut", 90, sampler="auto")
    with RunStore.open(tmp_path / "cut") as store:
        generation, body = store.snapshot()
        store.append([], snapshot=(generation, damage(kind, body)))
    assert search(tmp_path / "cut", 160, sampler="auto")[1:3] == whole[1:3]
    assert used == []
    with RunStore.open(tmp_path / "cut", read_only=True) as store:
        (event,) = store.events()
        assert event["kind"] == "snapshot"
        assert "everything was told again" in event["message"]


def test_a_snapshot_is_kept_only_when_every_resume_can_use_it(tmp_path, used):
    """Whatever the last kept trial is, the stored snapshot knows no more than a resume tells."""
    for budget in range(40, 200, 9):
        search(tmp_path, budget, sampler="auto")
        with RunStore.open(tmp_path, read_only=True) as store:
            last = int(store.history().generations[-1])
            kept = store.snapshot()
            assert kept is None or kept[0] <= last - 2
    assert used


def test_a_state_that_grows_too_large_is_not_kept(tmp_path, monkeypatch, used):
    """Beyond its limit a snapshot is left out, and the resume tells everything again."""
    monkeypatch.setattr(snapshots, "LARGEST", 100)
    whole = search(tmp_path / "whole", 160, sampler="auto")
    search(tmp_path / "cut", 90, sampler="auto")
    with RunStore.open(tmp_path / "cut", read_only=True) as store:
        assert store.snapshot() is None
    assert search(tmp_path / "cut", 160, sampler="auto")[1:3] == whole[1:3]


def test_samplers_that_are_told_at_once_keep_no_snapshot(tmp_path, used):
    """The estimator's whole state is what it was told."""
    search(tmp_path, 120, sampler="tpe")
    with RunStore.open(tmp_path, read_only=True) as store:
        assert store.snapshot() is None
