"""The verdict weighs: what holds up is promising, what is luck is doubtful, and each reason is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from genesis.judge.overfit import DeflatedSharpe, Overfitting
from genesis.report.plateau import Plateau
from genesis.report.tables import Ledger
from genesis.report.verdict import Evidence, judge


@pytest.fixture
def evidence(ledger_of: Callable[..., Ledger]) -> Evidence:
    return Evidence(
        ledger=ledger_of(100),
        inside={"sharpe": 1.5, "trades": 80.0, "fees_paid": 12.5, "total_return": 0.5},
        outside={"sharpe": 1.2, "total_return": 0.3},
        objective="sharpe",
        distinct=90,
        independent=30.0,
        plateau=Plateau("plateau", 0.9, 1.5, 20, 1.4, 0.2, 0.1, False),
        deflated=DeflatedSharpe(0.97, 0.1, 0.05, 30.0, 1_000),
        overfitting=Overfitting(0.1, np.zeros(70), -0.1, 64, 8),
    )


def test_all_for_it_is_promising(evidence: Evidence) -> None:
    """In sample, out of sample, trials, costs, luck and plateau are all in the words."""
    found = judge(evidence)
    assert found.standing == "promising"
    for words in (
        "80 trades",
        "12.50 of fees",
        "90 different ways",
        "30 of them independent",
        "0.97",
        "10%",
        "plateau",
    ):
        assert words in found.text()
    assert "In sample its Sharpe ratio was 1.5, out of sample 1.2" in found.text()
    assert "the 0.75 a best of 30" in found.text()


def test_what_was_not_usable_is_said(evidence: Evidence) -> None:
    """Broken constraints stand beside what failed, was pruned or made no trade."""
    ledger = replace(
        evidence.ledger,
        states=["failed"] * 2 + ["pruned"] * 3 + ["complete"] * 95,
        violation=np.array([0.0] * 60 + [1.0] * 40),
        metrics={"trades": np.array([5.0] * 99 + [0.0])},
    )
    words = judge(replace(evidence, ledger=ledger)).text()
    assert "100 trials ran: 40 broke a constraint, 1 made no trade, 3 were pruned, 2 failed. Those that traded" in words
    clean = replace(ledger, states=["complete"] * 100, violation=np.zeros(100), metrics={}, hashes=[None] * 100)
    assert "100 trials ran." in judge(replace(evidence, ledger=clean)).text()


def test_one_against_is_mixed_two_are_doubtful(evidence: Evidence) -> None:
    """A loss out of sample speaks against it; a spike besides makes it doubtful."""
    lost = replace(evidence, outside={"sharpe": -0.4})
    assert judge(lost).standing == "mixed"
    spike = replace(lost, plateau=replace(evidence.plateau, kind="spike", kept=0.0))
    assert judge(spike).standing == "doubtful"
    assert "luck" in judge(spike).headline


def test_nothing_held_out_is_never_promising(evidence: Evidence) -> None:
    """Without a holdout the headline says that other data are unknown."""
    found = judge(replace(evidence, outside=None))
    assert found.standing == "doubtful"
    assert "nothing was held out" in found.headline


def test_few_trades_are_said(evidence: Evidence) -> None:
    """Below thirty trades the count itself is a reason."""
    assert "only 12 trades" in judge(replace(evidence, inside=evidence.inside | {"trades": 12.0})).text()


def test_a_holdout_of_few_trades_is_not_proof(evidence: Evidence) -> None:
    """A good ratio from eleven trades is said to be little, and the verdict is not promising."""
    found = judge(replace(evidence, outside={"sharpe": 2.0, "trades": 11.0}))
    assert found.standing == "mixed"
    assert "from only 11 trades there" in found.text()
