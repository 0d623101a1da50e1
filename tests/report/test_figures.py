"""Figures about the search: they are valid Plotly, compact, and their captions say what they show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from genesis.report import figures
from genesis.report.tables import Axis, Ledger
from genesis.search.steps import StepGrid

Maker = Callable[..., Ledger]


def _all(ledger: Ledger) -> list[figures.Figure]:
    shares = figures.importance(ledger)
    return [
        figures.best_so_far(ledger),
        figures.score_distribution(ledger),
        figures.importance_figure(shares),
        figures.parallel(ledger, shares),
        figures.time_budget({"backtest": 2.0, "idle": 1.0}),
        *(figures.slice_figure(ledger, index) for index in range(len(ledger.axes))),
        *figures.pair_figures(ledger, 0, 2),
    ]


@pytest.mark.parametrize("count", [0, 1, 30, 3_000])
def test_every_figure_is_valid_and_small(ledger_of: Maker, count: int) -> None:
    """From no trial to thousands: Plotly accepts each, JSON has no NaN, none is above 200 kB, each has a caption."""
    for figure in _all(ledger_of(count)):
        go.Figure({"data": figure.data, "layout": figure.layout})
        assert len(json.dumps(figure.spec(), allow_nan=False)) < 200_000
        assert figure.summary.endswith(".")


def test_thinned_figures_say_so(ledger_of: Maker) -> None:
    """What is left out is counted in the note; every improvement is drawn."""
    ledger = ledger_of(20_000)
    figure = figures.best_so_far(ledger)
    assert "of 20,000 trials are drawn" in figure.note
    assert figure.note.endswith(".")
    line = next(trace for trace in figure.data if trace["name"] == "best so far")
    assert max(line["y"]) == pytest.approx(ledger.scores[ledger.feasible].max(), rel=1e-4)


def test_best_so_far_ignores_infeasible(ledger_of: Maker) -> None:
    """A better score that breaks a constraint does not raise the line."""
    ledger = replace(ledger_of(3), scores=np.array([1.0, 9.0, 2.0]), violation=np.array([0.0, 1.0, 0.0]))
    line = next(trace for trace in figures.best_so_far(ledger).data if trace["name"] == "best so far")
    assert max(line["y"]) == 2


def test_distribution_marks_silent_and_repeated(ledger_of: Maker) -> None:
    """Bars add up to the scored trials; silent and repeated ones have their own colour."""
    ledger = ledger_of(200)
    hashes = ["same"] * 50 + [f"h{i}" for i in range(150)]
    figure = figures.score_distribution(replace(ledger, hashes=hashes))
    names = {trace["name"]: sum(trace["y"]) for trace in figure.data}
    assert sum(names.values()) == 200
    assert names["no trades"] == int((ledger.metrics["trades"] == 0).sum())
    assert names["same fills as an earlier trial"] > 0


def test_importance_finds_what_matters(ledger_of: Maker) -> None:
    """The parameter that makes the score comes first; one that does nothing explains next to nothing."""
    shares = dict(figures.importance(ledger_of(2_000)))
    assert next(iter(shares)) == "x"
    assert shares["x"] > 0.7
    assert shares["kind"] < 0.02
    assert shares["rate"] < 0.02


def test_importance_of_chance_is_nothing(ledger_of: Maker) -> None:
    """With few trials and pure noise the chance correction keeps shares near zero on average."""
    drawn = [
        share
        for seed in range(40)
        for _, share in figures.importance(
            replace(ledger_of(40, seed=seed), scores=np.random.default_rng(seed).standard_normal(40))
        )
    ]
    assert np.mean(drawn) < 0.08


def test_a_constant_score_has_no_importance(ledger_of: Maker) -> None:
    """Nothing to explain, nothing explained."""
    assert {share for _, share in figures.importance(replace(ledger_of(50), scores=np.ones(50)))} == {0.0}


def test_visible_range_keeps_the_best() -> None:
    """The axis cuts a long bad tail, never the best."""
    scores = np.concatenate([np.linspace(0.0, 1.0, 100), [-1e6]])
    limits = figures.visible_range(scores)
    assert limits is not None
    assert limits[0] > -10.0
    assert limits[1] >= 1.0
    assert figures.visible_range(np.linspace(0.0, 1.0, 100)) is None


def _stepped(ledger: Ledger) -> Ledger:
    """The ledger on a grid: x in steps of 0.5, n from 1 to 100, and choices in an order of their own."""
    steps = StepGrid(0.0, 10.0, 0.5)
    n = np.random.default_rng(1).integers(1, 101, len(ledger)).astype(float)
    x = steps.values(steps.nearest_many(ledger.vectors[:, 0]))
    axes = (
        Axis("x", "float", 0.0, 10.0, steps=steps),
        Axis("n", "int", 1.0, 100.0),
        Axis("kind", "categorical", 0.0, 2.0, choices=("30", "5", "200")),
    )
    return replace(ledger, axes=axes, vectors=np.column_stack([x, n, ledger.vectors[:, 2]]))


def test_heat_maps_and_slices_name_values_that_can_be_typed(ledger_of: Maker) -> None:
    """No bin centre: grid values where they fit, else the ends of what is joined, in ticks, hovers and captions."""
    ledger = _stepped(ledger_of(600))
    pair, plateau = figures.pair_figures(ledger, 0, 1)
    for figure in (pair, plateau):
        assert figure.data[0]["x"] == [f"{k / 2:g}" for k in range(21)]
        assert figure.data[0]["y"][0] == "1 to 8"
        assert figure.data[0]["y"][-1] == "92 to 100"
    assert " to " in pair.summary.split("n = ")[1]
    medians = figures.slice_figure(ledger, 0).data[1]
    assert set(medians["x"]) <= {k / 2 for k in range(21)}
    along = figures.slice_figure(ledger, 1)
    assert along.data[1]["text"][0].startswith("1 to 8: median of ")
    assert " to " in along.summary


def test_choices_keep_their_order(ledger_of: Maker) -> None:
    """A slice shows choices as the study lists them, not as trials came."""
    figure = figures.slice_figure(_stepped(ledger_of(50)), 2)
    assert figure.layout["xaxis"]["categoryarray"] == ["30", "5", "200"]


def test_counts_are_whole_numbers(ledger_of: Maker) -> None:
    """Trial numbers are never "12.3k", and a bar says how many trials have which scores."""
    ledger = ledger_of(20_000)
    trials = figures.best_so_far(ledger).layout["xaxis"]
    assert (trials["tickformat"], trials["hoverformat"]) == ("d", "d")
    for trace in figures.score_distribution(ledger).data:
        assert all(type(count) is int for count in trace["y"])
        assert trace["hovertemplate"].startswith("%{y:,d} trials")
        assert len(trace["text"]) == len(trace["y"])
    medians = figures.slice_figure(ledger, 2).data[1]
    assert all(" of " in text and "." not in text for text in medians["text"])


def test_equal_medians_are_said(ledger_of: Maker) -> None:
    """The first of several best cells is not shown as if it were the only one."""
    ledger = replace(ledger_of(90), scores=np.zeros(90))
    assert figures.slice_figure(ledger, 2).summary.endswith("kind = a (0), and the same at 2 others.")
