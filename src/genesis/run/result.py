"""A run as its reader sees it: the best trial, all trials as a table, the holdout, and what the search cost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis.errors import GenesisError, StoreError
from genesis.run.holdout import finalists, stored_holdout
from genesis.search.space import Space
from genesis.trials.store import RunStore
from genesis.types import TrialResult

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A kept run, read from its folder; make one with `optimize` or `open_run`.

    Everything is read when asked for, so an open `Run` of a search that goes on shows what is there at that moment.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        session: Mapping[str, Any] | None = None,
        holdout: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.path = Path(path)
        self._session = dict(session) if session is not None else None
        self._holdout = list(holdout) if holdout is not None else None

    def __repr__(self) -> str:
        return f"<Run {self.run_id}: {self.count:,} trials in {self.path}>"

    @cached_property
    def store(self) -> RunStore:
        """The run's store, open for reading."""
        return RunStore.open(self.path, read_only=True)

    @property
    def run_id(self) -> str:
        """The run's name."""
        return str(self.study.get("run_id", self.path.name))

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study as it was recorded when the run began."""
        return self.store.study

    @cached_property
    def space(self) -> Space:
        """What was searched."""
        config = self.study["config"]
        return Space.from_spec(config["parameters"], rules=config.get("rules", ()))

    @property
    def count(self) -> int:
        """How many trials are kept."""
        return self.store.count

    def __len__(self) -> int:
        return self.count

    @property
    def best(self) -> TrialResult:
        """The best trial: feasible before infeasible, then the largest score, then the earlier.

        It has `.number`, `.params`, `.metrics`, `.score`. Raises `GenesisError` when no trial has a score.
        """
        numbers = finalists(self.store, 1)
        if not numbers:
            raise GenesisError(
                f"{self.path}: none of its {self.count} trials has a score; `genesis show {self.path}` says why"
            )
        return self.store.result(numbers[0])

    def top(self, count: int = 10, *, distinct: bool = False) -> list[TrialResult]:
        """The best trials, best first; fewer when fewer have a score.

        `distinct` skips those whose fills are those of a better one.
        """
        return list(self.store.results(finalists(self.store, count, distinct=distinct)))

    def trials(self) -> pd.DataFrame:
        """One row per trial in trial order: number, state, score, …, `params_<path>` and `metrics_<name>` columns."""
        return self.store.frame()

    def trial(self, number: int) -> TrialResult:
        """One trial, whole. Raises `StoreError` when there is none of this number."""
        return self.store.result(number)

    @property
    def holdout(self) -> list[dict[str, Any]]:
        """The finalists on the holdout: number, params, score, metrics, holdout_score, holdout_metrics; best first."""
        return [dict(row) for row in self._holdout] if self._holdout is not None else stored_holdout(self.store)

    @property
    def summary(self) -> dict[str, Any]:
        """What the last session said at its end: counts, seconds, why it stopped.

        Empty if no end is recorded: the session goes on, or it was killed.
        """
        return self._session if self._session is not None else self._last_session()

    @property
    def ended(self) -> bool:
        """Whether the end of the last session is recorded; without it the run goes on, or was killed."""
        return bool(self.summary)

    def _last_session(self) -> dict[str, Any]:
        summary = dict(self.store.meta("summary") or {})
        return summary if summary.get("trials") == self.count else {}  # an earlier session's counts fewer

    @property
    def imported(self) -> str | None:
        """Where the trials were imported from; None for a run of a study. What was imported cannot be run here."""
        source = self.study.get("signature", {}).get("imported")
        return None if source is None else str(source)

    @property
    def stop_reason(self) -> str | None:
        """Why the last session stopped: trials, seconds, target, plateau, exhausted, interrupted or failures."""
        return self.summary.get("stop_reason")

    @property
    def seconds(self) -> dict[str, float]:
        """Where the last session's time went, summed over processes, by stage; earlier sessions are not in it."""
        return dict(self.summary.get("seconds", {}))

    @cached_property
    def duplicates(self) -> dict[str, int]:
        """Proposals that were not run because the point was known, counted by cause."""
        return dict(Counter(one.cause for one in self.store.duplicates()))

    @cached_property
    def _marks(self) -> list[tuple[str | None, bool]]:
        return list(self.store.marks(self.count))

    @cached_property
    def behaviours(self) -> int | None:
        """How many different things were tried: distinct fills among the trials that traded; None if none has fills."""
        if all(fills is None for fills, _ in self._marks):
            return None
        return len({fills for fills, idle in self._marks if fills is not None and not idle})

    @cached_property
    def traded(self) -> int:
        """How many trials have fills: neither failed nor without a trade."""
        return sum(fills is not None and not idle for fills, idle in self._marks)

    @cached_property
    def without_trades(self) -> int:
        """How many trials made no trade."""
        return sum(idle for _, idle in self._marks)

    @property
    def infeasible(self) -> int:
        """How many trials broke a constraint."""
        return int((self.store.history().violation != 0.0).sum())

    def states(self) -> dict[str, int]:
        """Trials by state."""
        history = self.store.history()
        names = ("complete", "failed", "pruned")
        return {name: int((history.states == code).sum()) for code, name in enumerate(names)}

    @cached_property
    def plot(self) -> Any:
        """The report's figures for a notebook, such as `run.plot.best_so_far()`; see `genesis.report.plots.Plots`."""
        import importlib  # a run (floor 3) may offer the figures (floor 4) but not depend on them

        return importlib.import_module("genesis.report.plots").Plots(self.path)

    def close(self) -> None:
        """Close the store; it opens again when something is read."""
        store = self.__dict__.pop("store", None)
        if store is not None:
            store.close()


def open_run(path: str | os.PathLike[str], *, runs_dir: str | os.PathLike[str] = "runs") -> Run:
    """Open a kept run by its folder, or by its run_id inside `runs_dir`.

    Raises `StoreError` when no run is kept there, naming the runs that are.
    """
    for folder in (Path(path), Path(runs_dir) / path):
        if (folder / "run.db").is_file():
            return Run(folder)
    there = ", ".join(run.path.name for run in list_runs(runs_dir)) or "none"
    raise StoreError(f"{path}: no run is kept there; runs in {runs_dir}: {there}")


def list_runs(runs_dir: str | os.PathLike[str] = "runs") -> list[Run]:
    """Every run kept in a folder, by name."""
    folder = Path(runs_dir)
    return [Run(one.parent) for one in sorted(folder.glob("*/run.db"))] if folder.is_dir() else []
