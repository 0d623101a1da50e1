"""Figures about trading: what is thinned keeps its extremes, months multiply to the whole."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.report.figures import GREY
from genesis.report.trading import (
    Curve,
    Marks,
    Spans,
    drawdown,
    equity_figure,
    monthly_figure,
    monthly_returns,
    price_figure,
    thin,
)

DAY = 86_400_000_000_000
TIMES = np.arange(3_000, dtype=np.int64) * DAY + 10_000 * DAY
EQUITY = 10_000.0 * np.exp(np.random.default_rng(0).normal(0.0002, 0.01, 3_000).cumsum())


@settings(max_examples=40)
@given(st.integers(1, 4_000), st.integers(8, 500), st.integers(0, 99))
def test_thinning_keeps_ends_and_extremes(count: int, limit: int, seed: int) -> None:
    """First, last, lowest and highest value are drawn, and not more than the limit."""
    values = np.random.default_rng(seed).standard_normal(count)
    kept = thin(values, limit)
    assert len(kept) <= max(limit, count if count <= limit else 0)
    assert {0, count - 1, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_months_multiply_to_the_whole() -> None:
    """The product of all monthly returns is the total return."""
    table = monthly_returns(TIMES, EQUITY).to_numpy()
    whole = np.prod(1.0 + table[~np.isnan(table)])
    np.testing.assert_allclose(whole, EQUITY[-1] / EQUITY[0], rtol=1e-12)


def test_drawdown_is_never_above_zero() -> None:
    """At a new high the drawdown is zero, else below."""
    fall = drawdown(EQUITY)
    assert fall.max() == 0.0
    assert fall[EQUITY.argmax()] == 0.0
    assert fall.min() > -1.0


def test_figures_are_valid_and_compact() -> None:
    """Ten curves over 3,000 bars with a holdout, a price with fills and levels: valid, shaded, small."""
    curves = [Curve(f"trial {i}", EQUITY * (1 + i / 100)) for i in range(10)]
    spans = Spans(0, 2_000)
    found = Marks(
        np.array([5, 900, 2_500]),
        EQUITY[[5, 900, 2_500]],
        np.array([1, -1, 1]),
        {"0.618": np.where(np.arange(3_000) < 100, np.nan, EQUITY)},
    )
    made = [
        equity_figure(TIMES, curves, spans),
        price_figure(TIMES, EQUITY, found, spans, name="trial 3"),
        monthly_figure(TIMES, EQUITY, name="Trial 3"),
    ]
    for figure in made:
        go.Figure({"data": figure.data, "layout": figure.layout})
        assert len(json.dumps(figure.spec(), allow_nan=False)) < 400_000
    assert [note["text"] for note in made[0].layout["annotations"]] == ["in sample", "out of sample"]
    assert "In sample it made" in made[0].summary
    assert "bought 2 times and sold 1 times; levels shown: 0.618" in made[1].summary


def test_intraday_times_keep_their_clock() -> None:
    """Bars within a day are drawn at their minute."""
    times = TIMES[0] + np.arange(10, dtype=np.int64) * 300_000_000_000
    figure = equity_figure(times, [Curve("trial 1", EQUITY[:10])], Spans(0))
    assert figure.data[0]["x"][1].endswith("00:05")


def test_no_trial_no_curve() -> None:
    """Without anything to draw the caption says why."""
    assert "no equity" in equity_figure(TIMES, [], Spans(0)).summary


def test_curves_can_be_told_apart() -> None:
    """Ten curves have ten looks, none of them grey; the best is on top, first in the legend, the thickest and named."""
    figure = equity_figure(TIMES, [Curve(f"trial {i}", EQUITY * (1 + i / 100)) for i in range(10)], Spans(0))
    lines = [trace for trace in figure.data if trace.get("yaxis") != "y2"]
    best = lines[-1]
    assert len({(trace["line"]["color"], trace["line"]["dash"]) for trace in lines}) == 10
    assert GREY not in {trace["line"]["color"] for trace in lines}
    assert best["name"] == "trial 0, the best"
    assert best["legendrank"] == min(trace["legendrank"] for trace in figure.data)
    assert best["line"]["width"] >= 2 * max(trace["line"]["width"] for trace in lines[:-1])
    assert "Click a name" in figure.note
