"""A run's counts are the same however its trials came to be counted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.run.tally import Tally
from genesis.trials.identity import trial_key
from genesis.trials.payload import encode_result, result_marks
from genesis.trials.store import RunStore, Stored
from genesis.types import TrialResult, Violation

TEXTS = st.sampled_from(["", "ok", 'a,"fills_hash":"ab"}', '"trades":0', "fills_hash", "ab12", "ü\\"])
VALUES = st.one_of(st.integers(-2, 2), st.floats(-2, 2), st.just(math.inf), TEXTS)
NAMES = st.sampled_from(["trades", "fills_hash", "sharpe", "seconds"])
METRIC = st.sampled_from([None, 0, 0.0, -0.0, 0.5, 3, 1e-9, math.inf])


@st.composite
def results(draw: st.DrawFn) -> TrialResult:
    return TrialResult(
        number=draw(st.integers(0, 9)),
        generation=0,
        key="00" * 32,
        params=draw(st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=2), max_size=3)),
        state=draw(st.sampled_from(["complete", "failed", "pruned"])),
        score=draw(st.sampled_from([None, 0.0, -0.0, 1.0, 2.0, -math.inf])),
        metrics=draw(st.dictionaries(NAMES, METRIC, max_size=3)),
        violations=tuple(Violation("v", 1.0, 2.0, one) for one in draw(st.lists(st.floats(0.1, 2), max_size=2))),
        reason=draw(st.none() | TEXTS),
        traceback=draw(st.none() | TEXTS),
        fills_hash=draw(st.none() | TEXTS | st.sampled_from(["0f" * 8, "0f" * 200])),
        seconds=draw(st.dictionaries(NAMES, st.floats(0, 1), max_size=2)),
    )


@given(results())
@settings(max_examples=300, deadline=None)
def test_marks_are_those_of_the_whole_result(result: TrialResult) -> None:
    """The hash of the fills and "no trade" are read off the bytes, whatever else is written in them."""
    assert result_marks(0, encode_result(result)) == (result.fills_hash, result.metrics.get("trades") == 0)


@given(st.lists(results(), max_size=30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_stored_trials_are_counted_as_one_by_one(tmp_path_factory, several: list[TrialResult], count: int) -> None:
    """Counts, best, its feasibility and the last failure, from columns or result after result."""
    batch = [replace(one, number=i, key=trial_key({"i": i})) for i, one in enumerate(several)]
    one_by_one, at_once = Tally("t", None, 1), Tally("t", None, 1)
    with RunStore.create(tmp_path_factory.mktemp("run"), {}) as store:
        store.append([Stored(one, np.zeros(1), f"o{i % 3}") for i, one in enumerate(batch)])
        for i, one in enumerate(batch[:count]):
            one_by_one.add(one, f"o{i % 3}")
        at_once.add_stored(store, store.history(), min(count, len(batch)))
    for name in ("states", "origins", "behaviours", "zero_trades", "infeasible", "best_is_feasible", "done"):
        assert getattr(at_once, name) == getattr(one_by_one, name), name
    for name in ("best", "last_failure"):
        ours, theirs = getattr(at_once, name), getattr(one_by_one, name)
        assert (ours and ours.number) == (theirs and theirs.number), name


@pytest.mark.parametrize("score", [1.0, None])
def test_no_trial_is_the_best_of_none(tmp_path, score) -> None:
    """Nothing stored, or nothing scored: there is no best."""
    tally = Tally("t", None, 1)
    with RunStore.create(tmp_path, {}) as store:
        if score is None:
            one = TrialResult(
                number=0, generation=0, key="11" * 32, params={}, state="complete", score=None, metrics={}
            )
            store.append([Stored(one, np.zeros(1), "a")])
        tally.add_stored(store, store.history(), store.count)
    assert tally.best is None
    assert tally.done == (score is None)


def test_a_run_beyond_its_budget_has_nothing_left_to_wait_for(monkeypatch):
    """More trials kept than a smaller budget asks for: no time is left, and never less than none."""
    moments = iter([0.0, 0.0, 1.0])
    monkeypatch.setattr("genesis.run.tally.time.perf_counter", lambda: next(moments))
    tally = Tally("t", 4, 1)
    tally.event("searching", 0)
    tally.states["complete"] += 10
    assert tally.event("searching", 1).eta == 0.0


def test_what_earlier_sessions_kept_is_done_from_the_first_event_on():
    """A resume takes its last trials up one by one, and a budget below what is kept is no total."""
    tally = Tally("t", 100, 1)
    tally.resumed = 192
    first = tally.event("starting", 0)
    assert (first.done, first.total, first.resumed) == (192, 192, 192)
    tally.states["complete"] += 193
    assert tally.event("searching", 1).done == 193
