"""The zero-trade warning: gates in order, the closed region found, the value that opens it."""

from __future__ import annotations

import numpy as np
import pytest

from genesis.diagnose.zero_trades import closed_regions, diagnose_zero_trades
from genesis.search.space import Space

SPACE = Space.from_spec(
    {
        "entry_conf": {"type": "float", "low": 0.0, "high": 1.0},
        "kind": {"type": "grid", "values": ["a", "b", "c"]},
        "period": {"type": "int", "low": 2, "high": 50},
    }
)


def _drawn(count: int = 300) -> np.ndarray:
    generator = np.random.default_rng(0)
    raw = np.column_stack([generator.random(count), generator.integers(0, 3, count), generator.integers(2, 51, count)])
    return SPACE.snap(raw.astype(float))


def test_finds_the_threshold_of_a_numeric_gate() -> None:
    """Trials above 0.4 never trade: the region and the bound to set are named, and no other parameter is blamed."""
    vectors = _drawn()
    silent = vectors[:, 0] > 0.4
    (region,) = closed_regions(SPACE, vectors, silent)
    assert region.path == "entry_conf"
    assert region.closed == region.inside == silent.sum()
    assert region.outside_closed == 0
    bound = float(region.edit.rpartition(" ")[2])
    assert bound == pytest.approx(vectors[~silent, 0].max(), rel=1e-5)
    assert "high:" in region.edit


def test_finds_the_low_side() -> None:
    """When short periods do not trade the lower bound is raised."""
    vectors = _drawn()
    region = closed_regions(SPACE, vectors, vectors[:, 2] <= 20)[0]
    assert region.words == "period <= 20"
    assert region.edit == "set period: low: 21"


def test_finds_the_choice_that_never_trades() -> None:
    """A silent choice is named and the trading ones are kept."""
    vectors = _drawn()
    region = closed_regions(SPACE, vectors, vectors[:, 1] == 1)[0]
    assert region.words == "kind in {b}"
    assert region.edit == "keep kind: ['a', 'c']"


def test_unrelated_silence_blames_nobody() -> None:
    """Silence drawn by lot has no region."""
    vectors = _drawn(600)
    silent = np.random.default_rng(9).random(600) < 0.7
    assert closed_regions(SPACE, vectors, silent) == []


def test_speaks_above_half_only() -> None:
    """Exactly half is quiet, one more speaks; trials that do not count trades do not count."""
    vectors = _drawn(20)
    trades = np.array([0.0] * 10 + [5.0] * 10)
    assert diagnose_zero_trades(SPACE, vectors, trades, {}) is None
    trades[10] = 0.0
    found = diagnose_zero_trades(SPACE, vectors, trades, {"confidence": 900, "regime": 100})
    assert found is not None
    assert found.what == "11 of 20 trials (55%) made no trade"
    assert found.why.index("confidence") < found.why.index("regime")
    assert "0.25-0.35" in found.edit
    assert diagnose_zero_trades(SPACE, vectors, np.full(20, np.nan), {}) is None


def test_all_silent_says_so_first() -> None:
    """The first words are the cause; without any gate the entry condition is blamed."""
    found = diagnose_zero_trades(SPACE, _drawn(20), np.zeros(20), {})
    assert found is not None
    assert found.what.startswith("No trial traded")
    assert "entry condition" in found.why
    assert "genesis smoke" in found.edit
