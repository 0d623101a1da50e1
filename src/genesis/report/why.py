"""`genesis show RUN --why` and `--trial N`: why a run stopped, what came of it, and one trial with its fills."""

from __future__ import annotations

import os
from pathlib import Path

from genesis.diagnose.explain import Explanation, explain_stop, explain_trial
from genesis.diagnose.warnings import review_ledger
from genesis.report.html import weigh
from genesis.report.replay import luck, replay, replay_trial
from genesis.report.source import read_run
from genesis.report.terminal import number
from genesis.trials.store import RunStore


def explain_run(run_dir: str | os.PathLike[str]) -> Explanation:
    """Why a run stopped, the verdict on what it found, and its warnings; raises StoreError when there is no run."""
    run = read_run(run_dir)
    ledger, summary = run.ledger, run.summary
    best = ledger.best
    facts = {
        "trials": len(ledger),
        "size": None if run.space is None else run.space.size,
        "best": "none" if best is None else number(float(ledger.scores[best])),
    }
    reason = None if run.running else summary.get("stop_reason")
    lines = [("said", str(summary["message"]))] if summary.get("message") else []
    played = replay(run, count=1)
    verdict = weigh(run, played, luck(run, played))
    lines += [("alarm", words) for words in played.alarms]
    lines += [("verdict", verdict.headline), *(("", words) for words in verdict.reasons)]
    if run.config is not None:
        budget = run.config.run.max_trials or len(ledger)
        for finding in review_ledger(
            ledger, run.config.space, blocked=run.blocked, concurrency=run.config.concurrency, budget=budget
        ):
            lines += [(finding.severity, finding.what), ("why", finding.why), ("do", finding.edit)]
    return Explanation(explain_stop(reason, facts).headline, tuple(lines))


def explain_one(run_dir: str | os.PathLike[str], trial: int) -> Explanation:
    """One trial with its fills, run again from the stored parameters when that can be done here."""
    with RunStore.open(Path(run_dir), read_only=True) as store:
        result = store.result(trial)
    again = replay_trial(read_run(run_dir), result) if result.state == "complete" else None
    if again is None:
        return explain_trial(result)
    explained = explain_trial(result, fills=again.inside.fills)
    alarms = tuple(("alarm", f"run again, {words}") for words in again.differs)
    return Explanation(explained.headline, alarms + explained.lines)
