"""`genesis show RUN --why` and `--trial N`: why a run stopped, what came of it, and one trial with its fills."""

from __future__ import annotations

import os
from pathlib import Path

from genesis.diagnose.explain import Explanation, explain_stop, explain_trial
from genesis.diagnose.warnings import review_ledger
from genesis.report.html import weigh
from genesis.report.replay import luck, replay, replay_trial
from genesis.report.source import RunData, read_run
from genesis.report.terminal import number
from genesis.trials.store import RunStore


def explain_run(run_dir: str | os.PathLike[str]) -> Explanation:
    """Why a run stopped, the verdict on what it found, and its warnings; raises StoreError when there is no run."""
    run = read_run(run_dir)
    ledger, summary = run.ledger, run.summary
    best = ledger.best
    if (source := run.study.get("signature", {}).get("imported")) is not None:
        return _explain_imported(run, str(source))
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


def _explain_imported(run: RunData, source: str) -> Explanation:
    """An imported run never ran here: there is no stop, no study and no other data to judge it by."""
    ledger = run.ledger
    found = "no trial has a score"
    if ledger.best is not None:
        number_of = int(ledger.numbers[ledger.best])
        found = f"trial {number_of}, with a score of {number(float(ledger.scores[ledger.best]))}"
    return Explanation(
        f"This run was imported from {source}: there is no study here that ran or could run.",
        (
            ("best", found),
            ("can be", f"shown (genesis show {run.path} --trial N), reported, exported, compared"),
            ("begins", f"a search of your own, with run.warm_start: {run.path} in its study"),
        ),
    )


def explain_one(run_dir: str | os.PathLike[str], trial: int) -> Explanation:
    """One trial with its fills, run again from the stored parameters when that can be done here."""
    with RunStore.open(Path(run_dir), read_only=True) as store:
        result = store.result(trial)
    run = read_run(run_dir)
    judged = next((row for row in run.holdout if row["number"] == trial), None)
    again = replay_trial(run, result) if result.state == "complete" else None
    if again is None:
        return explain_trial(result, holdout=judged)
    explained = explain_trial(result, fills=again.inside.fills, holdout=judged)
    alarms = tuple(("alarm", f"run again, {words}") for words in again.differs)
    return Explanation(explained.headline, alarms + explained.lines)
