"""Runs side by side, and the figures on a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genesis.errors import ConfigError, GenesisError
from genesis.report.compare import compare
from genesis.run.result import Run
from genesis.run.study import optimize


def test_what_differs_and_what_came_out(run: Run, study: dict[str, Any], tmp_path: Path) -> None:
    """Only differing settings are listed; outcomes have one cell per run, holdout beside."""
    other = study | {
        "costs": {"fee_bps": 50.0, "slippage_bps": 2.0},
        "constraints": {"min_trades": 40},
        "run": study["run"] | {"run_id": "dear"},
    }
    second = optimize(other, workers=0, runs_dir=tmp_path)
    found = compare([run.path, second.path])
    assert found.names == ["small", "dear"]
    rows = dict(found.differences)
    assert rows["costs.fee_bps"] == ["5.0", "50.0"]
    assert "costs.slippage_bps" not in rows
    assert "bars" not in rows
    outcomes = dict(found.outcomes)
    assert outcomes["trials"] == ["80", "80"]
    assert outcomes["failed"] == ["0", "0"]
    assert outcomes["broke a constraint"][0] == "0"
    assert int(outcomes["broke a constraint"][1]) > 0
    assert all(" → " in cell for cell in outcomes["sharpe"])
    assert {len(cells) for cells in outcomes.values()} == {2}


def test_one_run_cannot_be_compared(run: Run) -> None:
    """Two or more are needed."""
    with pytest.raises(ConfigError, match="two or more"):
        compare([run.path])


def test_run_plot_gives_plotly_figures(run: Run) -> None:
    """Every figure of the report is there for a notebook, with its title and caption."""
    plot = run.plot
    made = [
        plot.best_so_far(), plot.distribution(), plot.importance(), plot.slice("fast"), plot.parallel(),
        plot.pair("fast", "slow"), plot.pair("fast", "slow", plateau=True), plot.equity(), plot.monthly(),
        plot.price(), plot.time(),
    ]  # fmt: skip
    assert {type(figure).__name__ for figure in made} == {"Figure"}
    assert all(figure.layout.title.text and figure.layout.title.subtitle.text for figure in made)


def test_unknown_names_are_refused_with_the_known(run: Run) -> None:
    """A parameter or trial that is not there is named beside those that are."""
    with pytest.raises(GenesisError, match="fast, side, slow"):
        run.plot.slice("nope")
    with pytest.raises(GenesisError, match="choose one of"):
        run.plot.price(10**9)
