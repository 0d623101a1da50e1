"""Shared values refuse what cannot be meant, by name and with the allowed range."""

from __future__ import annotations

import pytest

from genesis.errors import ConfigError
from genesis.types import Costs, Execution, TrialResult, Violation


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), 5_001.0])
def test_a_cost_outside_its_range_is_refused_by_name(bad: float) -> None:
    with pytest.raises(ConfigError, match=r"costs\.fee_bps"):
        Costs(fee_bps=bad, slippage_bps=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fill", "now"),
        ("units", "half"),
        ("sizing", "all"),
        ("capital", 0.0),
        ("capital", float("nan")),
        ("size", -1.0),
    ],
)
def test_an_execution_that_cannot_be_meant_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"execution\.{field}"):
        Execution(**{field: value})  # type: ignore[arg-type]


def test_a_result_is_feasible_only_when_complete_scored_and_unviolated() -> None:
    base = {"number": 0, "generation": 0, "key": "k", "params": {}, "metrics": {}}
    assert TrialResult(**base, state="complete", score=1.0).feasible
    assert not TrialResult(**base, state="complete", score=None).feasible
    assert not TrialResult(**base, state="pruned", score=1.0).feasible
    broken = (Violation("min_trades", 30, 2, 28.0),)
    assert not TrialResult(**base, state="complete", score=1.0, violations=broken).feasible
