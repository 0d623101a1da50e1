"""What a run knows about itself at any moment: counts, the best so far, and where the seconds went."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from genesis.run.events import STAGES, Phase, ProgressEvent, StopReason
from genesis.trials.store import STATES, History, RunStore
from genesis.types import TrialResult

RATE_SECONDS = 5.0
WARM_UP_FAILURES = 50
FAILED_SHARE_AFTER = 100


class Tally:
    """Counts results in the order they are told, so that every number is the same however the run was cut.

    A trial is better than another when it is feasible and the other is not, or else when its score is larger; ties go
    to the earlier trial.
    """

    def __init__(self, run_id: str, total: int | None, workers: int) -> None:
        self.run_id = run_id
        self.total = total
        self.workers = workers
        self.states: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.origins: Counter[str] = Counter()
        self.behaviours: set[str] = set()
        self.zero_trades = 0
        self.infeasible = 0
        self.resumed = 0
        self.best: TrialResult | None = None
        self.best_is_feasible = False
        self.last_failure: TrialResult | None = None
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.started = time.perf_counter()
        self._marks: deque[tuple[float, int]] = deque()

    @property
    def done(self) -> int:
        """Trials kept, whatever their state."""
        return self.states.total()

    def add(self, result: TrialResult, origin: str) -> bool:
        """Count one result; whether it is the new best."""
        self.states[result.state] += 1
        self.origins[origin] += 1
        idle = result.metrics.get("trades") == 0
        if result.fills_hash is not None and not idle:
            self.behaviours.add(result.fills_hash)
        self.zero_trades += idle
        if result.state == "failed":
            self.last_failure = result
        if result.violations:
            self.infeasible += 1
        if result.state != "complete" or result.score is None:
            return False
        if self.best is not None:
            assert self.best.score is not None
            if (result.feasible, result.score) <= (self.best_is_feasible, self.best.score):
                return False
        self.best, self.best_is_feasible = result, result.feasible
        return True

    def add_stored(self, store: RunStore, history: History, count: int) -> None:
        """Count the first `count` stored trials, as `add` would one by one, from their columns."""
        codes, scores = history.states[:count], history.scores[:count]
        self.states.update({STATES[code]: int(n) for code, n in enumerate(np.bincount(codes)) if n})
        self.origins.update(history.origins[:count])
        feasible = history.violation[:count] == 0.0
        self.infeasible += int(count - feasible.sum())
        for fills, idle in store.marks(count):
            if fills is not None and not idle:
                self.behaviours.add(fills)
            self.zero_trades += idle
        failed = np.flatnonzero(codes == STATES.index("failed"))
        if len(failed):
            self.last_failure = store.result(int(history.numbers[failed[-1]]))
        scored = np.flatnonzero((codes == STATES.index("complete")) & ~np.isnan(scores))
        if len(scored):
            best = scored[feasible[scored]] if feasible[scored].any() else scored
            self.best = store.result(int(history.numbers[best[np.argmax(scores[best])]]))
            self.best_is_feasible = self.best.feasible

    def too_many_failures(self, limit: int | None) -> str | None:
        """Why the run should stop, or None.

        `limit` is a number of failed trials. Without one: the first 50 all failed, or, past 100 trials, more than
        half have.
        """
        failed, done = self.states["failed"], self.done
        example = f"; the last: {self.last_failure.reason}" if self.last_failure else ""
        if limit is not None:
            return f"{failed} trials failed and max_failures is {limit}{example}" if failed > limit else None
        if done >= WARM_UP_FAILURES and failed == done:
            return f"all of the first {done} trials failed{example}"
        if done >= FAILED_SHARE_AFTER and failed > done / 2:
            return f"{failed} of {done} trials failed{example}"
        return None

    def event(
        self,
        phase: Phase,
        generation: int,
        *,
        busy: int = 0,
        stop_reason: StopReason | None = None,
        message: str | None = None,
    ) -> ProgressEvent:
        """A snapshot for whoever watches: what earlier sessions kept counts as done before it is taken up again."""
        now = time.perf_counter()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_SECONDS:
            self._marks.popleft()
        then, before = self._marks[0]
        rate = (self.done - before) / (now - then) if now - then > 0.05 and self.done > before else None
        best, done = self.best, max(self.done, self.resumed)
        return ProgressEvent(
            run_id=self.run_id,
            phase=phase,
            done=done,
            total=None if self.total is None else max(self.total, done),
            resumed=self.resumed,
            generation=generation,
            elapsed=now - self.started,
            rate=rate,
            eta=max(self.total - self.done, 0) / rate if rate and self.total is not None else None,
            best_score=best.score if best else None,
            best_number=best.number if best else None,
            best_params=best.params if best else None,
            best_metrics=best.metrics if best else None,
            best_feasible=self.best_is_feasible,
            last_improvement=best.number if best else None,
            duplicates=dict(self.duplicates),
            behaviours=len(self.behaviours) if self.behaviours else None,
            zero_trades=self.zero_trades,
            infeasible=self.infeasible,
            failures=self.states["failed"],
            pruned=self.states["pruned"],
            workers=self.workers,
            workers_busy=busy,
            origins=dict(self.origins),
            seconds=dict(self.seconds),
            stop_reason=stop_reason,
            message=message,
        )

    def stored(self) -> dict[str, Any]:
        """The counts that a later reader of the run needs, as JSON-able values."""
        return {
            "states": dict(self.states),
            "duplicates": dict(self.duplicates),
            "origins": dict(self.origins),
            "behaviours": len(self.behaviours),
            "zero_trades": self.zero_trades,
            "infeasible": self.infeasible,
            "best": self.best.number if self.best else None,
        }

    def add_seconds(self, stages: Mapping[str, float]) -> None:
        """Add a trial's own seconds: `features`, and everything else under `backtest`."""
        for stage, seconds in stages.items():
            self.seconds["features" if stage == "features" else "backtest"] += seconds
