"""`run.plot`: the figures of the report as Plotly figures, for notebooks."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from genesis.errors import GenesisError, MissingExtraError
from genesis.report import figures, trading
from genesis.report.figures import Figure
from genesis.report.replay import Again, Replay, curve, joined, marks, replay
from genesis.report.source import RunData, read_run


class Plots:
    """Figures of one run; every method gives a `plotly.graph_objects.Figure` whose title and caption are in words.

    The run is read once, when the first figure is asked for; make a new one to see later trials.

    `Run.plot` makes one: `run.plot.best_so_far().show()`.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self._path = Path(run_dir)

    @cached_property
    def _run(self) -> RunData:
        return read_run(self._path)

    @cached_property
    def _played(self) -> Replay:
        played = replay(self._run)
        if not played.trials:
            raise GenesisError(f"{self._path}: {played.problem or 'no trial has a score'}")
        return played

    def _axis(self, path: str) -> int:
        names = [axis.path for axis in self._run.ledger.axes]
        if path not in names:
            raise GenesisError(f"{path!r} is not a searched parameter; there are {', '.join(names)}")
        return names.index(path)

    def _again(self, number: int | None) -> Again:
        for again in self._played.trials:
            if number is None or again.number == number:
                return again
        known = ", ".join(str(again.number) for again in self._played.trials)
        raise GenesisError(f"trial {number} is not among the best different trials; choose one of {known}")

    def best_so_far(self) -> Any:
        """Scores by trial number with the best so far."""
        return _figure(figures.best_so_far(self._run.ledger))

    def distribution(self) -> Any:
        """How scores are spread."""
        return _figure(figures.score_distribution(self._run.ledger))

    def importance(self) -> Any:
        """Which parameters explain the differences between scores."""
        return _figure(figures.importance_figure(figures.importance(self._run.ledger)))

    def slice(self, path: str) -> Any:
        """Scores along one parameter, by dotted path."""
        return _figure(figures.slice_figure(self._run.ledger, self._axis(path)))

    def pair(self, first: str, second: str, *, plateau: bool = False) -> Any:
        """Median score over two parameters; `plateau` pools each cell with its neighbours."""
        both = figures.pair_figures(self._run.ledger, self._axis(first), self._axis(second))
        return _figure(both[1 if plateau else 0])

    def parallel(self) -> Any:
        """Parallel coordinates of the most important parameters."""
        return _figure(figures.parallel(self._run.ledger, figures.importance(self._run.ledger)))

    def equity(self) -> Any:
        """Equity and drawdown of the ten best different trials, in and out of sample."""
        times, _, _, spans = joined(self._played.trials[0], self._played)
        curves = [curve(again, self._played) for again in self._played.trials]
        return _figure(trading.equity_figure(times, curves, spans))

    def monthly(self, number: int | None = None) -> Any:
        """Monthly returns of the best trial, or of one of the ten best by number."""
        again = self._again(number)
        times, _, equity, _ = joined(again, self._played)
        return _figure(trading.monthly_figure(times, equity, name=f"Trial {again.number}"))

    def price(self, number: int | None = None) -> Any:
        """Price with the fills of the best trial, or of one of the ten best by number."""
        again = self._again(number)
        times, close, _, spans = joined(again, self._played)
        found = marks(again, self._played)
        return _figure(trading.price_figure(times, close, found, spans, name=f"trial {again.number}"))

    def time(self) -> Any:
        """Where the time of the last session went."""
        run = self._run
        return _figure(figures.time_budget(run.summary.get("seconds") or run.ledger.seconds))


def _figure(figure: Figure) -> Any:
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise MissingExtraError("figures need plotly: pip install plotly") from error
    layout = figure.layout | {"title": {"text": figure.title, "subtitle": {"text": figure.summary}}}
    return go.Figure({"data": figure.data, "layout": layout | {"height": max(figure.height, 320)}})
