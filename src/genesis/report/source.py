"""One run read from its store: the history as columns, the study, and what the environment was."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genesis.config import StudyConfig, load_study
from genesis.diagnose.findings import Finding
from genesis.diagnose.lookahead import find_lookahead
from genesis.errors import GenesisError
from genesis.report.tables import Axis, Ledger
from genesis.run.evaluate import Evaluator
from genesis.trials.store import STATES, RunStore


@dataclass(frozen=True)
class RunData:
    """Everything that a report reads, loaded at one moment of the run.

    `config` is None with `config_problem` saying why when the stored study cannot be loaded here (a missing file, say).
    `blocked` are bars stopped per gate, summed over trials that did not trade.
    """

    path: Path
    study: dict[str, Any]
    ledger: Ledger
    summary: dict[str, Any]
    holdout: list[dict[str, Any]]
    events: list[dict[str, Any]]
    config: StudyConfig | None
    config_problem: str | None = None
    blocked: Mapping[str, int] = field(default_factory=dict)

    @property
    def space(self) -> Any:
        """The search space; None without a config."""
        return None if self.config is None else self.config.space

    @property
    def settings(self) -> dict[str, Any]:
        """The `run` section as it was decided: seed, sampler, max_trials, max_concurrent, lag."""
        return dict((self.study.get("config") or {}).get("run") or {})

    @property
    def evaluates(self) -> str:
        """The strategy, callable or command of the study."""
        config = self.study.get("config") or {}
        found = config.get("strategy") or config.get("evaluate") or " ".join(config.get("command") or ())
        return str(found)

    @property
    def running(self) -> bool:
        """Whether no stop is recorded (going on, or killed)."""
        return not self.summary or self.summary.get("trials") != len(self.ledger)

    @cached_property
    def looks_ahead(self) -> Finding | None:
        """What proves that an author's strategy knows later bars, with the best trial's parameters; None if nothing."""
        config, best = self.config, self.ledger.best
        if config is None or best is None or config.strategy is None or config.data is None:
            return None
        try:
            loaded = Evaluator(config, window="search").prepare()
            if loaded.bars is None:
                return None
            return find_lookahead(loaded.strategy, loaded.bars, config.space.decode(self.ledger.vectors[best]))
        except Exception:  # noqa: BLE001 - an author's code may raise anything; the trials tell that
            return None


def read_run(run_dir: str | os.PathLike[str]) -> RunData:
    """Read a run that may still be going; raises `StoreError` when there is none."""
    with RunStore.open(run_dir, read_only=True) as store:
        study = store.study
        config, problem = _config(study)
        ledger, blocked = read_ledger(store, config.space.columns if config is not None else None)
        kept = store.meta("holdout")
        return RunData(
            path=Path(run_dir),
            study=study,
            ledger=ledger,
            summary=store.meta("summary") or {},
            holdout=list(kept["finalists"]) if kept else [],
            events=store.events(),
            config=config,
            config_problem=problem,
            blocked=blocked,
        )


def _config(study: Mapping[str, Any]) -> tuple[StudyConfig | None, str | None]:
    try:
        return load_study(dict(study["config"]), env={}), None
    except (GenesisError, KeyError) as error:
        return None, str(error) or type(error).__name__


def read_ledger(store: RunStore, columns: Any) -> tuple[Ledger, dict[str, int]]:
    """The store's trials as columns, and bars blocked per gate over silent trials."""
    history = store.history()
    count = len(history)
    axes = tuple(Axis.of(column) for column in columns or ())
    vectors = history.vectors if history.vectors.shape[1] == len(axes) else np.empty((count, 0))
    metrics: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    hashes: list[str | None] = [None] * count
    broken: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    blocked: Counter[str] = Counter()
    for row, result in zip(range(count), store.results(), strict=False):
        hashes[row] = result.fills_hash
        for name, value in result.metrics.items():
            if name not in metrics:
                metrics[name] = np.full(count, np.nan)
            if value is not None:
                metrics[name][row] = value
        for violation in result.violations:
            broken[violation.name] += 1
        if result.score is None and result.reason:
            reasons[result.reason] += 1
        for stage, spent in result.seconds.items():
            seconds[stage] += spent  # type: ignore[assignment]  # a Counter adds floats as well
        if result.metrics.get("trades") == 0:
            blocked.update({gate: int(bars) for gate, bars in result.blocked.items()})
    ledger = Ledger(
        numbers=history.numbers,
        scores=history.scores,
        states=[STATES[state] for state in history.states],
        violation=history.violation,
        axes=axes if vectors.shape[1] == len(axes) else (),
        vectors=vectors,
        metrics=metrics,
        hashes=hashes,
        origins=history.origins,
        seconds=dict(seconds),
        duplicates=dict(Counter(repeat.cause for repeat in store.duplicates())),
        broken=dict(broken),
        reasons=dict(reasons),
    )
    return ledger, dict(blocked.most_common())
