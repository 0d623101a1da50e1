"""Warnings while a run goes: at the thresholds, once each, whatever the batches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genesis.diagnose.warnings import Watcher, diagnose_loading
from genesis.search.space import Space
from genesis.types import TrialResult

SPACE = Space.from_spec({"x": {"type": "int", "low": 1, "high": 100}})
PLAIN = TrialResult(
    number=0, generation=0, key="0" * 64, params={"x": 1}, state="complete", score=1.0, metrics={"trades": 5.0}
)


def _results(count: int, **changes: object) -> list[TrialResult]:
    return [replace(PLAIN, number=i, params={"x": 1 + i % 100}, **changes) for i in range(count)]


def test_a_healthy_run_is_quiet() -> None:
    """No warning without a reason."""
    assert Watcher(SPACE).observe(_results(200)) == []


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_each_warning_once_in_any_batches(batch: int) -> None:
    """60 silent, 40 pruned of 100: two warnings, each said once."""
    results = _results(60, metrics={"trades": 0.0}, blocked={"gate": 3}) + _results(70, state="pruned", metrics={})
    watcher = Watcher(SPACE)
    said = [
        finding.code
        for start in range(0, len(results), batch)
        for finding in watcher.observe(results[start : start + batch])
    ]
    assert sorted(said) == ["pruned", "zero-trades"]


def test_nothing_is_judged_on_few_trials() -> None:
    """Nineteen failures in a row are not yet a verdict; the twentieth makes one."""
    watcher = Watcher(SPACE)
    failed = _results(20, state="failed", score=None, metrics={}, reason="ValueError: no")
    assert watcher.observe(failed[:19]) == []
    (found,) = watcher.observe(failed[19:])
    assert found.code == "failures"
    assert "ValueError: no" in found.what
    assert "--trial 0" in found.edit


def test_duplicates_are_totals() -> None:
    """The counts given are totals so far: telling them twice does not double them."""
    watcher = Watcher(SPACE, concurrency=4, budget=100)
    assert watcher.observe(_results(30), duplicates={"stored": 20}) == []
    assert watcher.observe([], duplicates={"stored": 20}) == []
    (found,) = watcher.observe([], duplicates={"stored": 31})
    assert found.code == "duplicates"


@pytest.mark.parametrize(("trials", "seconds", "slow"), [(100, 0.5, False), (50_000, 2.0, False), (5_000, 2.0, True)])
def test_slow_loading(trials: int, seconds: float, slow: bool) -> None:
    """Loading is slow below 10,000 trials a second, and short loads are never slow."""
    assert (diagnose_loading(trials, seconds) is not None) == slow


def test_repeats_of_earlier_trials_are_weighed_against_earlier_trials() -> None:
    """Totals of a resumed or complete run say nothing until a new trial is seen, and never against zero trials."""
    watcher = Watcher(SPACE)
    assert watcher.observe([], duplicates={"stored": 60}, earlier=100) == []
    assert [finding.code for finding in watcher.observe(_results(1), duplicates={"stored": 60}, earlier=100)] == []
