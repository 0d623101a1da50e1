"""Warnings while a study runs: the guide's thresholds, each said once, with causes and remedies of this study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genesis.diagnose.duplicates import DUPLICATE_WARNING, diagnose_duplicates
from genesis.diagnose.findings import Finding
from genesis.diagnose.zero_trades import ZERO_TRADE_WARNING, diagnose_zero_trades
from genesis.types import FloatArray, Params, TrialResult

PRUNED_WARNING = 0.5
FAILED_WARNING = 0.1
SLOW_LOADING_RATE = 10_000  # trials a second; the guide's loader reached 22,370 files/s
_LEAST_TRIALS = 20


class Watcher:
    """Sees every result in trial order and says each warning at most once.

    `space` is the study's search space, `concurrency` and `budget` those of the study, `bars` how many may trade.
    Nothing is judged before 20 proposals. Looking costs next to nothing until a threshold is passed: only then are the
    parameters seen so far turned into vectors.
    """

    def __init__(self, space: Any, *, concurrency: int = 1, budget: int = 0, bars: int | None = None) -> None:
        self._space, self._concurrency, self._budget, self._bars = space, concurrency, budget, bars
        self._said: set[str] = set()
        self._points: list[FloatArray | Params] = []
        self._trades: list[float] = []
        self._silent = self._counted = 0
        self._blocked: dict[str, int] = {}
        self._states = {"complete": 0, "failed": 0, "pruned": 0}
        self._first_failure: TrialResult | None = None
        self._duplicates: dict[str, int] = {}
        self._earlier = 0

    def observe(
        self,
        results: Sequence[TrialResult],
        *,
        vectors: FloatArray | None = None,
        duplicates: Mapping[str, int] | None = None,
        earlier: int = 0,
    ) -> list[Finding]:
        """Take in finished trials (with their search vectors float64[len, d], if at hand) and give the new warnings.

        `duplicates` are the totals by cause so far, not the increase; `earlier` counts trials kept before this watcher
        looked, which those totals include. Nothing is said until a trial has been seen.
        """
        self._earlier = max(self._earlier, earlier)
        if duplicates is not None:
            self._duplicates = dict(duplicates)
        for index, result in enumerate(results):
            self._states[result.state] += 1
            if result.state == "failed" and self._first_failure is None:
                self._first_failure = result
            count = result.metrics.get("trades") if result.state == "complete" else None
            self._trades.append(np.nan if count is None else float(count))
            self._counted += count is not None
            self._points.append(result.params if vectors is None else vectors[index])
            if count == 0:
                self._silent += 1
                for gate, bars in result.blocked.items():
                    self._blocked[gate] = self._blocked.get(gate, 0) + int(bars)
        found = [finding for finding in self._judge() if finding is not None]
        self._said.update(finding.code for finding in found)
        return found

    def _judge(self) -> list[Finding | None]:
        trials, repeated = sum(self._states.values()), sum(self._duplicates.values())
        if not trials or trials + repeated < _LEAST_TRIALS:
            return []
        found: list[Finding | None] = []
        kept = trials + self._earlier
        if "duplicates" not in self._said and repeated > DUPLICATE_WARNING * (kept + repeated):
            found.append(
                diagnose_duplicates(
                    self._space,
                    self._vectors(),
                    trials=kept,
                    duplicates=self._duplicates,
                    concurrency=self._concurrency,
                    budget=self._budget,
                )
            )
        if "zero-trades" not in self._said and self._silent > ZERO_TRADE_WARNING * max(self._counted, _LEAST_TRIALS):
            blocked = dict(sorted(self._blocked.items(), key=lambda item: -item[1]))
            trades = np.array(self._trades)
            found.append(diagnose_zero_trades(self._space, self._vectors(), trades, blocked, bars=self._bars))
        if "pruned" not in self._said:
            found.append(diagnose_pruned(self._states["pruned"], trials))
        if "failures" not in self._said and self._first_failure is not None:
            first = self._first_failure
            found.append(diagnose_failures(self._states["failed"], trials, first.number, first.reason))
        return found

    def _vectors(self) -> FloatArray:
        rows = [
            point if isinstance(point, np.ndarray) else self._space.encode(point, snap=True) for point in self._points
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), -1)


def diagnose_pruned(pruned: int, trials: int) -> Finding | None:
    """The warning about pruning, or None at or below half of the trials."""
    if not trials or pruned / trials <= PRUNED_WARNING:
        return None
    return Finding(
        "pruned",
        "warning",
        f"{pruned} of {trials} trials ({pruned / trials:.0%}) were pruned before their end",
        "a pruned trial has no final score, so the sampler models the space from the few that ran to the end",
        "raise run.pruner.kwargs.n_startup_trials or n_warmup_steps, or set run.pruner: none",
    )


def diagnose_failures(failed: int, trials: int, example: int | None, reason: str | None) -> Finding | None:
    """The warning about trials that raised, or None at or below a tenth of the trials.

    `example` is the number of a failed trial, `reason` what it said.
    """
    if not trials or failed / trials <= FAILED_WARNING:
        return None
    reason = reason or "no reason was recorded"
    shown = "genesis show RUN" if example is None else f"genesis show RUN --trial {example}"
    return Finding(
        "failures",
        "warning",
        f"{failed} of {trials} trials ({failed / trials:.0%}) failed; the first said: {reason}",
        "a failed trial teaches the search nothing and may hide a fault in the strategy",
        f"read one traceback with `{shown}`, mend the strategy or narrow the parameters that raise",
    )


def diagnose_loading(trials: int, seconds: float) -> Finding | None:
    """The warning about slow loading of stored trials, or None for a fast or short load (under a second)."""
    if seconds < 1.0 or trials / seconds >= SLOW_LOADING_RATE:
        return None
    return Finding(
        "slow-loading",
        "warning",
        f"loading {trials:,} stored trials took {seconds:.1f} s ({trials / seconds:,.0f} a second)",
        f"a local disk gives at least {SLOW_LOADING_RATE:,} a second; resume waits for it every time",
        "move the run to a local SSD, set GENESIS_OPTIMIZER_JSON_CACHE=1 for trial_*.json folders, or archive old ones",
    )


def review_ledger(
    ledger: Any, space: Any, *, blocked: Mapping[str, int], concurrency: int, budget: int
) -> list[Finding]:
    """All warnings of a history given as columns (`genesis.report.tables.Ledger`), as they would be while it ran."""
    trials = len(ledger)
    if trials + sum(ledger.duplicates.values()) < _LEAST_TRIALS:
        return []
    states = list(ledger.states)
    reason = max(ledger.reasons, key=lambda name: ledger.reasons[name]) if ledger.reasons else None
    trades = ledger.metrics.get("trades")
    found = [
        diagnose_duplicates(
            space,
            ledger.vectors,
            trials=trials,
            duplicates=ledger.duplicates,
            concurrency=concurrency,
            budget=budget,
        ),
        None if trades is None else diagnose_zero_trades(space, ledger.vectors, np.asarray(trades), blocked),
        diagnose_pruned(states.count("pruned"), trials),
        diagnose_failures(states.count("failed"), trials, int(ledger.numbers[states.index("failed")]), reason)
        if "failed" in states
        else None,
    ]
    return [finding for finding in found if finding is not None]
