"""The history as columns: ranking, repeats, compact numbers and the table's limit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis.report.tables import Axis, Ledger, compact, trial_table
from genesis.search.steps import StepGrid

Maker = Callable[..., Ledger]


def test_ranking_puts_feasible_first_then_score_then_age(ledger_of: Maker) -> None:
    """A better score that breaks a constraint ranks below every feasible one; ties go to the earlier trial."""
    ledger = replace(
        ledger_of(5),
        scores=np.array([1.0, 9.0, 2.0, 2.0, np.nan]),
        violation=np.array([0.0, 1.0, 0.0, 0.0, 0.0]),
    )
    assert ledger.ranking.tolist() == [2, 3, 0, 1]
    assert ledger.best == 2


def test_failed_and_pruned_trials_do_not_rank(ledger_of: Maker) -> None:
    """Only complete trials with a score are ranked."""
    ledger = replace(ledger_of(3), states=["failed", "pruned", "complete"], scores=np.array([9.0, 8.0, 1.0]))
    assert ledger.ranking.tolist() == [2]


def test_repeats_of_fills_are_marked_and_left_out(ledger_of: Maker) -> None:
    """The second trial with the same fills is a repeat; the ten best are ten different ones."""
    ledger = replace(ledger_of(4), scores=np.array([1.0, 2.0, 3.0, 4.0]), hashes=["a", "b", "b", None])
    ledger = replace(ledger, violation=np.zeros(4))
    assert ledger.repeats.tolist() == [False, False, True, False]
    assert ledger.best_different.tolist() == [3, 2, 0]


def test_only_trials_that_traded_are_behaviours(ledger_of: Maker) -> None:
    """Equal fills count once; a trial without a trade, failed or pruned counts for nothing; unknown fills for one."""
    ledger = replace(
        ledger_of(7),
        states=["complete"] * 5 + ["failed", "pruned"],
        metrics={"trades": np.array([4.0, 4.0, 0.0, 0.0, 6.0, np.nan, 2.0])},
        hashes=["a", "a", "none", None, None, None, "b"],
        violation=np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    assert ledger.behaviours == 2
    assert ledger.infeasible.sum() == 2
    assert sum(bool(ledger.silent[position]) for position in ledger.best_different) == 1


@given(st.lists(st.floats(), max_size=20))
def test_compact_numbers_are_json_and_close(values: list[float]) -> None:
    """Every number survives JSON to five digits; what JSON cannot say is null."""
    back = json.loads(json.dumps(compact(np.array(values, dtype=float)), allow_nan=False))
    for value, shown in zip(values, back, strict=True):
        if math.isfinite(value):
            assert shown == pytest.approx(value, rel=1e-4, abs=1e-300)
        else:
            assert shown is None


def test_a_large_table_keeps_the_best_and_says_so(ledger_of: Maker) -> None:
    """Beyond the limit the best half stays, the rest is an even sample, and the note gives the numbers."""
    ledger = ledger_of(5_000)
    table = trial_table(ledger, limit=1_000)
    shown = set(table["data"][0])
    assert set(ledger.numbers[ledger.ranking[:500]].tolist()) <= shown
    assert len(shown) <= 1_000
    assert table["note"].startswith(f"{len(shown):,} of 5,000")
    assert {len(column) for column in table["data"]} == {len(shown)}


def test_the_parameters_come_before_the_metrics(ledger_of: Maker) -> None:
    """Trial, score and state, then what was searched, then what came of it; numbers among choices stay numbers."""
    ledger = ledger_of(20)
    axes = (
        ledger.axes[0],
        Axis("fine", "float", 0.0, 1.0, steps=StepGrid(0.0, 1.0, 1e-9)),
        Axis("look", "categorical", 0.0, 2.0, choices=(20, 100, 5.5)),
    )
    vectors = ledger.vectors.copy()
    vectors[0, 1:] = 0.123456789, np.nan
    table = trial_table(replace(ledger, axes=axes, vectors=vectors))
    columns = {column["name"]: (column, values) for column, values in zip(table["columns"], table["data"], strict=True)}
    assert list(columns) == ["trial", "score", "state", "x", "fine", "look", "sharpe", "trades"]
    assert columns["fine"][1][0] == 0.123456789
    assert columns["look"][0]["kind"] == "number"
    assert columns["look"][1][0] is None
    assert set(columns["look"][1][1:]) <= {20, 100, 5.5}
    assert all(type(count) is int for count in columns["trades"][1])


def test_axis_units_and_labels() -> None:
    """Logarithmic axes are even in the logarithm; choices are labelled by name, inactive values by a dash."""
    rate = Axis("rate", "float", 0.01, 1.0, log=True)
    np.testing.assert_allclose(rate.unit(np.array([0.01, 0.1, 1.0])), [0.0, 0.5, 1.0])
    kind = Axis("kind", "categorical", 0.0, 1.0, choices=("ema", "sma"))
    assert [kind.label(1.0), kind.label(math.nan), Axis("n", "int", 1, 9).label(3.0)] == ["sma", "–", "3"]
