"""What a run tells whoever watches it: one frozen snapshot a few times a second, and the protocol of a watcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Phase = Literal["starting", "searching", "holdout", "finished"]
StopReason = Literal["trials", "seconds", "target", "plateau", "exhausted", "interrupted", "failures"]

STAGES = ("propose", "claim", "features", "backtest", "keep", "tell", "idle")
"""The stages of a time budget, in the order a trial meets them; seconds are summed over processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """A run at one moment.

    `done` counts trials kept, whatever their state, including those of earlier sessions (`resumed` of them); `rate` is
    trials a second over the last few seconds and None before there is one; `best_score` is larger-is-better and None
    until a trial is scored (feasible trials first, as `best_feasible` says); `last_improvement` is the number of the
    trial that set it. `duplicates` counts proposals that were not run, by cause; `behaviours` is how many different
    sets of fills were seen (None if no trial has fills); `zero_trades` counts trials without a trade. `seconds` maps a
    stage of `STAGES` to seconds spent in this session, summed over processes, `elapsed` is wall-clock seconds of this
    session, and `eta` the seconds that remain at this rate (None if unknown).
    """

    run_id: str
    phase: Phase
    done: int
    total: int | None
    resumed: int
    generation: int
    elapsed: float
    rate: float | None
    eta: float | None
    best_score: float | None
    best_number: int | None
    best_params: Mapping[str, Any] | None
    best_metrics: Mapping[str, float | None] | None
    best_feasible: bool
    last_improvement: int | None
    duplicates: Mapping[str, int] = field(default_factory=dict)
    behaviours: int | None = None
    zero_trades: int = 0
    infeasible: int = 0
    failures: int = 0
    pruned: int = 0
    workers: int = 0
    workers_busy: int = 0
    origins: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    stop_reason: StopReason | None = None
    message: str | None = None

    @property
    def duplicate_share(self) -> float:
        """Proposals that were known already, as a fraction of all proposals of this session and those before it."""
        repeats = sum(self.duplicates.values())
        return repeats / (repeats + self.done) if repeats else 0.0

    @property
    def zero_trade_share(self) -> float:
        """Trials without a trade, as a fraction of those done."""
        return self.zero_trades / self.done if self.done else 0.0


class Progress(Protocol):
    """A watcher: called from the coordinator's own thread, so it must be quick and must not raise."""

    def __call__(self, event: ProgressEvent) -> None:
        """Take one snapshot; the last of a run has `phase == "finished"` and a `stop_reason`."""
